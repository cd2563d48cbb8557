import { describe, expect, it } from "vitest";
import { ClusterError, type ClusterReader } from "../../src/cluster.js";
import { silentLog } from "../../src/log.js";
import type { PipelinePorts } from "../../src/pipeline-ports.js";
import type { IncidentRecord } from "../../src/record/incident.js";
import { apply, needsAttention } from "../../src/record/machine.js";
import { lookAt } from "../../src/shadow/look.js";
import { readShadows } from "../../src/sweep-shadows.js";
import { scene } from "../harness/guard-scene.js";
import { stall } from "../runbooks/shop.js";

const START = Date.parse("2026-11-24T03:00:00Z");
const MINUTE = 60_000;
const HOUR = 60 * MINUTE;

/** One observed incident, and a sweep at a time of the test's choosing. */
async function observing(of: { before?: null } = {}) {
  const { cluster, target } = stall({});
  const { incident } = scene().context;
  const before = of.before === null ? null : await lookAt(target, cluster, START);
  const shadow = { dueAt: START + 30 * MINUTE, before, reading: null };
  const open: IncidentRecord = { ...incident, target, plan: null, state: "open" };
  const ended = apply(open, { type: "suppressed", reason: "observed", says: "", shadow }, START);
  if (!ended.changed) throw new Error(ended.why);
  const state = { record: ended.record, now: START, down: false };
  const reader: ClusterReader = {
    ...cluster,
    async get(ref) {
      if (state.down) throw new ClusterError(null, "Unanswered", "no answer within 10 s");
      return cluster.get(ref);
    },
  };
  const ports = {
    clock: { now: () => state.now, monotonic: () => 0 },
    log: silentLog,
    settings: { readAfterMs: 30 * MINUTE },
    runbooks: new Map(),
    reader,
    records: { attention: async () => [state.record.id], get: async () => structuredClone(state.record) },
    async transition(_id: string, event: Parameters<typeof apply>[1]) {
      const change = apply(state.record, event, state.now);
      if (change.changed) state.record = change.record;
      return change;
    },
  } as unknown as PipelinePorts;
  return {
    state,
    sweepAt: async (ms: number) => {
      state.now = START + ms;
      await readShadows(ports);
      return state.record.shadow?.reading ?? null;
    },
  };
}

describe("the reading of what people did", () => {
  it("waits until it is due, is written once, and leaves the sweep's list", async () => {
    const { state, sweepAt } = await observing();
    expect(needsAttention(state.record)).toBe(true);
    expect(await sweepAt(29 * MINUTE)).toBeNull();

    const first = await sweepAt(31 * MINUTE);
    expect(first).toMatchObject({ verdict: "nothing", lateMs: 0, at: START + 31 * MINUTE });
    expect(needsAttention(state.record)).toBe(false);
    expect(await sweepAt(40 * MINUTE)).toEqual(first);
    expect(
      apply(state.record, { type: "compared", reading: { ...first!, verdict: "agree" } }, state.now),
    ).toMatchObject({
      changed: false,
    });
    expect(state.record.timeline.at(-1)?.says).toMatch(/^nobody did what I would have done: .*nothing was changed/);
  });

  it("says when it was late", async () => {
    const { sweepAt } = await observing();
    expect(await sweepAt(5 * HOUR)).toMatchObject({
      lateMs: 4.5 * HOUR,
      says: expect.stringMatching(/read 5 h late$/),
    });
  });

  it("waits for a cluster that does not answer, and after a day says that it cannot be told", async () => {
    const { state, sweepAt } = await observing();
    state.down = true;
    expect(await sweepAt(31 * MINUTE)).toBeNull();
    state.down = false;
    expect(await sweepAt(32 * MINUTE)).toMatchObject({ verdict: "nothing", lateMs: 0 });

    const dark = await observing();
    dark.state.down = true;
    expect(await dark.sweepAt(20 * HOUR)).toBeNull();
    expect(await dark.sweepAt(25 * HOUR)).toMatchObject({
      verdict: "unknown",
      says: expect.stringMatching(/no answer within 10 s: it was tried for 24 h/),
    });
  });

  it("is unknown where the target could not be read when it was decided", async () => {
    const { sweepAt } = await observing({ before: null });
    expect(await sweepAt(31 * MINUTE)).toMatchObject({ verdict: "unknown" });
  });
});
