import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { until } from "../harness/processes.js";
import { noSickWorld, type SickWorld, startSickWorld, suite } from "../harness/sick-world.js";
import { postWebhook } from "../harness/webhook.js";

/** Its connections stand, and nothing is answered: what a Redis does whose disk or host stands still. */
describe.skipIf(noSickWorld !== null)(suite("Redis hangs"), () => {
  let s: SickWorld;
  let passing: (bracket: string) => void = () => undefined;

  beforeAll(async () => {
    s = await startSickWorld({
      namespace: "hangs",
      services: ["before", "after"],
      app: { redisGraceMs: 500, at: async (bracket) => passing(bracket) },
    });
  }, 60_000);

  afterAll(async () => {
    thaw();
    await s?.stop();
  }, 60_000);

  const freeze = () => process.kill(s.world.redis.pid, "SIGSTOP");
  const thaw = () => void (s && process.kill(s.world.redis.pid, "SIGCONT"));
  const soon = () => AbortSignal.timeout(20_000);
  const readyz = () => fetch(`http://127.0.0.1:${s.world.port}/readyz`, { signal: soon() });
  const post = () => postWebhook(s.world.port, { alertname: "WhileItHangs", signal: soon() });

  it.each([
    ["before", "intent"],
    ["after", "answer"],
  ])(
    "%s an effect, at its %s: the effect is made once, and the run ends by itself when Redis answers again (H42 I1)",
    async (name, at) => {
      let hung = false;
      passing = (bracket) => {
        if (bracket !== at || hung) return;
        hung = true;
        freeze();
      };
      await s.sicken(name);
      await until("Redis to hang", async () => hung, 30_000);
      await new Promise((done) => setTimeout(done, 8000));
      expect(s.effects(name)).toBeLessThanOrEqual(1);
      thaw();
      await s.underWay(name);
      await s.mend(name);
      const end = await s.end(name);

      expect(end, JSON.stringify(end.timeline)).toMatchObject({ state: "remediated" });
      expect(s.effects(name)).toBe(1);
    },
    120_000,
  );

  it("a webhook is refused in time, readiness says no, and a person is paged by a way that needs no Redis (H36 H42 H48)", async () => {
    const pages = () =>
      s.world.pager.calls.filter(({ body }) => JSON.stringify(body).includes("nightshift/redis-down")).length;
    const before = pages();
    freeze();
    try {
      const answer = await post();
      expect(answer.status).toBe(503);
      expect((await readyz()).status).toBe(503);
      await until("the direct page", async () => pages() > before, 30_000);
    } finally {
      thaw();
    }
    await until("it to take alerts again", async () => (await post()).status === 202, 30_000);
    await until("readiness", async () => (await readyz()).ok);
  }, 90_000);
});
