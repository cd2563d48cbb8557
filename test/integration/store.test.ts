import { Redis } from "ioredis";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { randomHex, systemClock } from "../../src/clock.js";
import type { IncidentRecord } from "../../src/record/incident.js";
import { createTransition } from "../../src/record/transition.js";
import { createRecordStore } from "../../src/store/records.js";
import { NOW, scene } from "../harness/guard-scene.js";
import { startRedis } from "../harness/processes.js";

const audit = { at: NOW, incident: "", event: "test", from: "none", to: "open", who: "test", says: "" };
const fresh = (id: string, more: Partial<IncidentRecord> = {}): IncidentRecord => {
  const { incident } = scene().context;
  const [alert] = incident.alerts;
  if (alert === undefined) throw new Error("the scene has no alert");
  const identity = `${id}@2026-11-24T02:59:00Z`;
  return {
    ...incident,
    id,
    identity,
    alerts: [{ ...alert, identity, fingerprint: id }],
    target: null,
    state: "open",
    ...more,
  };
};

describe("records in real Redis", () => {
  let server: Awaited<ReturnType<typeof startRedis>>;
  let redis: Redis;
  let records: ReturnType<typeof createRecordStore>;

  beforeAll(async () => {
    server = await startRedis();
    redis = new Redis({ path: server.url.slice("unix://".length) } as object);
    records = createRecordStore(redis, "{store}", randomHex);
  });
  afterAll(async () => {
    redis.disconnect();
    await server.stop();
  });

  it("are made once, whoever asks how often (I1)", async () => {
    const record = fresh("inc-once");
    const answers = await Promise.all(Array.from({ length: 10 }, () => records.create(record, audit)));

    expect(answers.filter((one) => one.created)).toHaveLength(1);
    expect(await records.byIdentity(record.identity)).toBe("inc-once");
    const other = { ...fresh("inc-other"), alerts: record.alerts, identity: record.identity };
    expect(await records.create(other, audit)).toEqual({ created: false, incident: "inc-once", because: "identity" });
  });

  it("are one per target while it lives (I2)", async () => {
    const { target } = scene().context;
    const first = fresh("inc-first", { target });
    expect(await records.create(first, audit)).toMatchObject({ created: true });
    expect(await records.create(fresh("inc-second", { target }), audit)).toEqual({
      created: false,
      incident: "inc-first",
      because: "target",
    });

    const live = await records.get("inc-first");
    if (live === null) throw new Error("it is gone");
    await records.save({ ...live, state: "held" }, audit);
    expect(await records.create(fresh("inc-third", { target }), audit)).toMatchObject({ created: true });
  });

  it("are never written over by who has read an older one (I4)", async () => {
    await records.create(fresh("inc-race"), audit);
    const read = await records.get("inc-race");
    if (read === null) throw new Error("it is gone");
    const answers = await Promise.all(
      ["held", "suppressed", "remediated"].map((state) =>
        records.save({ ...read, state: state as IncidentRecord["state"] }, audit),
      ),
    );

    expect(answers.filter(Boolean)).toHaveLength(1);
    expect(await records.save({ ...read, state: "open" }, audit)).toBeNull();
  });

  it("take every change of many writers at once (I7)", async () => {
    await records.create(fresh("inc-busy"), audit);
    const [alert] = fresh("inc-busy").alerts;
    if (alert === undefined) throw new Error("no alert");
    const transition = createTransition({
      records,
      clock: systemClock,
      nudge: async () => undefined,
      stored: () => undefined,
    });
    await Promise.all(
      Array.from({ length: 30 }, (_, i) =>
        transition(
          "inc-busy",
          { type: "firing", alert: { ...alert, identity: `other-${i}@t`, fingerprint: `other-${i}` }, rule: null },
          "test",
        ),
      ),
    );

    expect((await records.get("inc-busy"))?.alerts).toHaveLength(31);
  });

  it("of a newer shape are left alone, and say so", async () => {
    await records.create(fresh("inc-newer"), audit);
    const key = "{store}:inc:inc-newer";
    const json = JSON.parse((await redis.hget(key, "json")) ?? "{}") as IncidentRecord;
    await redis.hset(key, "json", JSON.stringify({ ...json, v: 99 }));

    await expect(records.get("inc-newer")).rejects.toThrow(
      /has format 99, this version reads 1: left for the newer one/,
    );
  });
});
