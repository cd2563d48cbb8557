import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { until } from "../harness/processes.js";
import { noSickWorld, type SickWorld, startSickWorld, suite } from "../harness/sick-world.js";
import { TOKEN } from "../harness/world.js";

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
  const ask = (path: string, init: RequestInit = {}) =>
    fetch(`http://127.0.0.1:${s.world.port}${path}`, { ...init, signal: AbortSignal.timeout(20_000) });
  const post = (fingerprint: string) =>
    ask("/webhooks/alertmanager", {
      method: "POST",
      headers: { "content-type": "application/json", authorization: `Bearer ${TOKEN}` },
      body: JSON.stringify({
        version: "4",
        groupKey: "hung",
        status: "firing",
        receiver: "nightshift",
        groupLabels: {},
        commonLabels: {},
        commonAnnotations: {},
        externalURL: "",
        alerts: [
          {
            status: "firing",
            labels: { alertname: "WhileItHangs", severity: "critical" },
            annotations: {},
            startsAt: new Date().toISOString(),
            endsAt: "0001-01-01T00:00:00Z",
            generatorURL: "",
            fingerprint,
          },
        ],
      }),
    });

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
      const answer = await post("00000000000000fe");
      expect(answer.status).toBe(503);
      expect((await ask("/readyz")).status).toBe(503);
      await until("the direct page", async () => pages() > before, 30_000);
    } finally {
      thaw();
    }
    await until("it to take alerts again", async () => (await post("00000000000000fe")).status === 202, 30_000);
    await until("readiness", async () => (await ask("/readyz")).ok);
  }, 90_000);
});
