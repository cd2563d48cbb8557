import { describe, expect, it } from "vitest";
import { createNudge } from "../../src/app/nudge.js";
import { type Clock, systemClock } from "../../src/clock.js";
import { leaseName } from "../../src/execution/keys.js";
import { silentLog } from "../../src/log.js";
import type { Job } from "../../src/queue/jobs.js";
import type { IncidentRecord } from "../../src/record/incident.js";
import { NOW, scene } from "../harness/guard-scene.js";

const record: IncidentRecord = { ...scene("effect").context.incident, page: "none", pageResolve: "none" };

function nudging(options: { slack?: boolean; fails?: () => boolean } = {}) {
  const added: [kind: string, delayMs: number][] = [];
  const jobs: Job[] = [];
  let at = 0;
  const clock: Clock = { ...systemClock, now: () => NOW, monotonic: () => at };
  const nudge = createNudge({
    slack: options.slack ?? true,
    clock,
    log: silentLog,
    async add(job, delayMs) {
      if (options.fails?.()) throw new Error("Redis is away");
      added.push([job.kind, delayMs]);
      jobs.push(job);
    },
  });
  return { nudge, added, jobs, after: (ms: number) => (at += ms) };
}

describe("what follows on a change", () => {
  it("is one message for all that a run reports within a quarter of a second, and another one for what comes later", async () => {
    const n = nudging();
    for (const ms of [0, 100, 90, 30]) {
      n.after(ms);
      await n.nudge(record.id, "tell", record);
    }
    expect(n.added).toEqual([
      ["tell", 250],
      ["tell", 250],
    ]);
    await n.nudge("inc-other", "tell", record);
    expect(n.added).toHaveLength(3);
  });

  it("is told at once when a run has ended, whatever is due", async () => {
    const n = nudging();
    await n.nudge(record.id, "tell", record);
    await n.nudge(record.id, "tell", { ...record, state: "remediated" });

    expect(n.added).toEqual([
      ["tell", 250],
      ["tell", 0],
    ]);
  });

  it("is asked for again where the first was not taken (I7)", async () => {
    let away = true;
    const n = nudging({ fails: () => away });
    await n.nudge(record.id, "tell", record);
    away = false;
    await n.nudge(record.id, "tell", record);

    expect(n.added).toEqual([["tell", 250]]);
  });

  it("is no message where nobody has a Slack, unless PagerDuty is to be told or a storm goes on (I7)", async () => {
    const n = nudging({ slack: false });
    await n.nudge(record.id, "tell", record);
    await n.nudge(record.id, "tell", { ...record, state: "remediated" });
    expect(n.added).toEqual([]);

    await n.nudge(record.id, "tell", { ...record, state: "held", page: "wanted" });
    await n.nudge(record.id, "tell", { ...record, state: "remediated", pageResolve: "wanted" });
    const storm = { tripped: "", cause: null, evidence: [], quietMs: 0, overAt: null };
    await n.nudge(record.id, "tell", { ...record, state: "held", storm });
    expect(n.added).toHaveLength(3);
  });

  it("names the Lease that the run will ask for, and waits for an ask's end", async () => {
    const n = nudging();
    await n.nudge(record.id, "carryOut", record);
    await n.nudge(record.id, "expire", record);

    expect(n.jobs[0]).toMatchObject({ lease: leaseName(record.cluster, record.target?.uid ?? "") });
    expect(n.added[1]).toEqual(["expire", (record.plan?.expiresAt ?? 0) - NOW]);
  });
});
