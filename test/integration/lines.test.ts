import { Redis } from "ioredis";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { randomHex } from "../../src/clock.js";
import type { IncidentRecord } from "../../src/record/incident.js";
import { periodOf, reportOf } from "../../src/report/figures.js";
import { createLineStore } from "../../src/store/lines.js";
import { createRecordStore } from "../../src/store/records.js";
import { startRedis } from "../harness/processes.js";
import { NOW, scene } from "../harness/guard-scene.js";

/** Lines of incidents in a real Redis: written with the record, left when it goes. */
const WEEK = 7 * 24 * 3600_000;
const PREFIX = "{lines}";

describe("one line per incident", () => {
  let server: Awaited<ReturnType<typeof startRedis>>;
  let redis: Redis;
  beforeAll(async () => {
    server = await startRedis();
    redis = new Redis({ path: server.url.slice("unix://".length) } as object);
  });
  beforeEach(async () => void (await redis.flushall()));
  afterAll(async () => {
    redis?.disconnect();
    await server?.stop();
  });

  const audit = { at: NOW, incident: "", event: "test", from: "", to: "", who: "test", says: "" };
  const stores = () => ({
    records: createRecordStore(redis, PREFIX, randomHex),
    lines: createLineStore(redis, PREFIX),
  });
  function record(id: string, openedAt: number, more: Partial<IncidentRecord> = {}): IncidentRecord {
    const { incident } = scene().context;
    const alerts = incident.alerts.map((alert) => ({ ...alert, identity: `${id}@t`, fingerprint: id }));
    const ended = { state: "held", reason: "denied", endedAt: openedAt + 1000 } as const;
    return { ...incident, id, identity: `${id}@t`, alerts, target: null, openedAt, ...ended, ...more };
  }
  const ids = async (from: number, to: number) => (await stores().lines.between(from, to)).lines.map((one) => one.id);

  it("is written with the record, follows it, and is gone when the record has nothing to report", async () => {
    const { records, lines } = stores();
    await records.create(record("inc-a", NOW, { state: "open", reason: null, endedAt: null }), audit);
    expect((await lines.between(NOW, NOW)).lines).toMatchObject([{ id: "inc-a", state: "open", rule: "bad-deploy" }]);

    const stored = await records.get("inc-a");
    await records.save({ ...stored!, state: "held", reason: "expired" }, audit);
    expect((await lines.between(NOW, NOW)).lines).toMatchObject([{ state: "held", reason: "expired", asked: true }]);
    // Whoever writes on an old version writes no line either.
    expect(await records.save({ ...stored!, state: "remediated", reason: null }, audit)).toBeNull();
    expect((await lines.between(NOW, NOW)).lines).toMatchObject([{ state: "held" }]);

    const again = await records.get("inc-a");
    await records.save({ ...again!, state: "suppressed", reason: "joined" }, audit);
    expect(await ids(NOW, NOW)).toEqual([]);
  });

  it("is none for an alert that another incident holds", async () => {
    const { records } = stores();
    await records.create(record("inc-a", NOW), audit);
    const twin = { ...record("inc-b", NOW), alerts: record("inc-a", NOW).alerts };
    expect(await records.create(twin, audit)).toMatchObject({ created: false });
    expect(await ids(NOW, NOW)).toEqual(["inc-a"]);
  });

  it("is found by when the incident opened, over weeks, and outlives its record by far", async () => {
    const { records } = stores();
    for (const weeks of [0, 1, 2, 20]) await records.create(record(`inc-${weeks}`, NOW - weeks * WEEK), audit);
    for (const key of await redis.keys(`${PREFIX}:inc:*`)) {
      expect(await redis.ttl(key)).toBeLessThanOrEqual(90 * 24 * 3600);
      await redis.del(key);
    }

    expect(await ids(NOW - 2 * WEEK, NOW)).toEqual(["inc-2", "inc-1", "inc-0"]);
    expect(await ids(NOW - 52 * WEEK, NOW)).toEqual(["inc-20", "inc-2", "inc-1", "inc-0"]);
    expect(await redis.ttl(`${PREFIX}:lines:${Math.floor(NOW / WEEK)}`)).toBeGreaterThan(52 * 7 * 24 * 3600);
  });

  it("says since when lines are kept, and of what it cannot read", async () => {
    const { lines, records } = stores();
    const { since } = await lines.between(NOW - WEEK, NOW);
    expect(since).toBeNull();
    await lines.begin(NOW - 2 * WEEK);
    await lines.begin(NOW);
    await records.create(record("inc-a", NOW), audit);
    await redis.hset(`${PREFIX}:lines:${Math.floor(NOW / WEEK)}`, "inc-z", '[2,"of a later version"]');

    const period = periodOf(1, NOW);
    const report = reportOf(period, await lines.between(period.from, period.to));
    expect(report).toMatchObject({ unread: 1, complete: false, incidents: { all: 1 } });

    // Everything is lost, and a new start begins to keep lines.
    await redis.flushall();
    await lines.begin(NOW - 1000);
    expect(reportOf(period, await lines.between(period.from, period.to))).toMatchObject({
      complete: false,
      knownSince: new Date(NOW - 1000).toISOString(),
      incidents: { all: 0 },
    });
  });
});
