import { Redis } from "ioredis";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { dedupKeyOf } from "../../src/alert/identity.js";
import { until } from "../harness/processes.js";
import { noSickWorld, type SickWorld, startSickWorld, suite } from "../harness/sick-world.js";
import { postWebhook } from "../harness/webhook.js";

describe.skipIf(noSickWorld !== null)(suite("Redis has no memory left"), () => {
  let s: SickWorld;
  let redis: Redis;
  let passing: (bracket: string) => Promise<void> = async () => undefined;

  beforeAll(async () => {
    s = await startSickWorld({
      namespace: "full",
      services: ["during"],
      app: { at: (bracket) => passing(bracket), redisGraceMs: 500 },
    });
    redis = new Redis({ path: s.world.redis.url.slice("unix://".length) } as object);
  }, 60_000);

  afterAll(async () => {
    redis?.disconnect();
    await s?.stop();
  }, 60_000);

  /** Every command that would need memory is refused from now on, as with a real maxmemory that is reached. */
  const fill = () => redis.config("SET", "maxmemory", "1");
  const makeRoom = () => redis.config("SET", "maxmemory", "0");
  const post = (alertname: string) => postWebhook(s.world.port, { alertname });

  it("in the middle of a run: its effect is made once and the run ends by itself when there is room (H42 I1)", async () => {
    let filled = false;
    passing = async (bracket) => {
      if (bracket !== "effect" || filled) return;
      filled = true;
      await fill();
    };
    await s.sicken("during");
    await until("the effect", async () => s.effects("during") > 0, 30_000);
    await new Promise((done) => setTimeout(done, 4000));
    expect(s.effects("during")).toBe(1);

    await s.mend("during");
    await makeRoom();
    const end = await s.end("during");

    expect(end, JSON.stringify(end.timeline)).toMatchObject({ state: "remediated" });
    expect(s.effects("during")).toBe(1);
  }, 120_000);

  it("refuses webhooks with 503, says so on /readyz and by the pager, and takes the repeat afterwards (H36 H48)", async () => {
    await fill();
    try {
      const answer = await post("Unstored");

      expect(answer.status).toBe(503);
      const ready = await fetch(`http://127.0.0.1:${s.world.port}/readyz`);
      expect([ready.status, await ready.text()]).toEqual([503, expect.stringMatching(/Redis.*OOM/s)]);
      const page = await until(
        "the direct page",
        async () => s.world.pager.alerts.find((a) => a.dedupKey === "nightshift/redis-down") ?? null,
        20_000,
      );
      expect(page.summary).toMatch(/maxmemory/);
      const key = dedupKeyOf("Unstored", "");
      await until("the alert's own page", async () =>
        s.world.pager.alerts.some(
          (a) => a.dedupKey === key && /Unstored fires and could not be stored/.test(a.summary),
        ),
      );
    } finally {
      await makeRoom();
    }
    await until("Redis to take alerts", async () => (await post("Unstored")).status === 202, 20_000);
    await s.world.incident("the alert", (r) => r.alerts[0]?.labels["alertname"] === "Unstored");
    await until("readiness", async () => (await fetch(`http://127.0.0.1:${s.world.port}/readyz`)).ok);
  }, 60_000);
});
