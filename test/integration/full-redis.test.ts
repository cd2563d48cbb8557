import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Redis } from "ioredis";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Kubernetes, startKubernetes } from "../../sandbox/kubernetes/kubernetes.js";
import { dedupKeyOf } from "../../src/alert/identity.js";
import { alertmanagerProgram, until } from "../harness/processes.js";
import { badRelease, errorRate, startWorld, testPolicy, TOKEN, type World } from "../harness/world.js";

const missing = alertmanagerProgram() === null ? "no Alertmanager on this machine" : null;
const NAMESPACE = "full";

describe.skipIf(missing !== null)(`Redis has no memory left${missing === null ? "" : ` (not run: ${missing})`}`, () => {
  let kubernetes: Kubernetes;
  let world: World;
  let redis: Redis;
  const dir = mkdtempSync(join(tmpdir(), "full-redis-"));
  const sick = new Set(["during"]);
  let passing: (bracket: string) => Promise<void> = async () => undefined;

  beforeAll(async () => {
    kubernetes = await startKubernetes();
    writeFileSync(join(dir, "kubeconfig"), kubernetes.kubeconfig());
    world = await startWorld({
      kubeconfig: join(dir, "kubeconfig"),
      policy: testPolicy([NAMESPACE], "    autonomy: auto"),
      slackMode: "none",
      app: { at: (bracket) => passing(bracket), redisGraceMs: 500 },
    });
    errorRate(world.prometheus, ({ service }) => (sick.has(service) ? 0.4 : 0), [
      { namespace: NAMESPACE, service: "during" },
    ]);
    redis = new Redis({ path: world.redis.url.slice("unix://".length) } as object);
  }, 60_000);

  afterAll(async () => {
    redis?.disconnect();
    await world?.stop();
    await kubernetes?.stop();
    rmSync(dir, { recursive: true, force: true });
  }, 60_000);

  /** Every command that would need memory is refused from now on, as with a real maxmemory that is reached. */
  const fill = () => redis.config("SET", "maxmemory", "1");
  const makeRoom = () => redis.config("SET", "maxmemory", "0");
  const labels = { alertname: "HighErrorRate", namespace: NAMESPACE, service: "during", severity: "critical" };
  const effects = () =>
    kubernetes.writes().filter((w) => w.kind === "Deployment" && w.templateChanged && w.op !== null);
  const post = (alertname: string) =>
    fetch(`http://127.0.0.1:${world.port}/webhooks/alertmanager`, {
      method: "POST",
      headers: { "content-type": "application/json", authorization: `Bearer ${TOKEN}` },
      body: JSON.stringify({
        version: "4",
        groupKey: alertname,
        truncatedAlerts: 0,
        status: "firing",
        receiver: "nightshift",
        groupLabels: {},
        commonLabels: {},
        commonAnnotations: {},
        externalURL: "",
        alerts: [
          {
            status: "firing",
            labels: { alertname, severity: "critical" },
            annotations: {},
            startsAt: new Date().toISOString(),
            endsAt: "0001-01-01T00:00:00Z",
            generatorURL: "",
            fingerprint: "00000000000000ff",
          },
        ],
      }),
    });

  it("in the middle of a run: its effect is made once and the run ends by itself when there is room (H42 I1)", async () => {
    await badRelease(world.k, { namespace: NAMESPACE, name: "during" });
    let filled = false;
    passing = async (bracket) => {
      if (bracket !== "effect" || filled) return;
      filled = true;
      await fill();
    };
    await world.fire(labels);
    await until("the effect", async () => effects().length > 0, 30_000);
    await new Promise((done) => setTimeout(done, 4000));
    expect(effects()).toHaveLength(1);

    sick.clear();
    await world.resolve(labels);
    await makeRoom();
    const end = await world.incident("the end", (r) => r.target?.name === "during" && r.endedAt !== null, 60_000);

    expect(end, JSON.stringify(end.timeline)).toMatchObject({ state: "remediated" });
    expect(effects()).toHaveLength(1);
  }, 120_000);

  it("refuses webhooks with 503, says so on /readyz and by the pager, and takes the repeat afterwards (H36 H48)", async () => {
    await fill();
    try {
      const answer = await post("Unstored");

      expect(answer.status).toBe(503);
      const ready = await fetch(`http://127.0.0.1:${world.port}/readyz`);
      expect([ready.status, await ready.text()]).toEqual([503, expect.stringMatching(/Redis.*OOM/s)]);
      const page = await until(
        "the direct page",
        async () => world.pager.alerts.find((a) => a.dedupKey === "nightshift/redis-down") ?? null,
        20_000,
      );
      expect(page.summary).toMatch(/maxmemory/);
      const key = dedupKeyOf("Unstored", "");
      await until("the alert's own page", async () =>
        world.pager.alerts.some((a) => a.dedupKey === key && /Unstored fires and could not be stored/.test(a.summary)),
      );
    } finally {
      await makeRoom();
    }
    await until("Redis to take alerts", async () => (await post("Unstored")).status === 202, 20_000);
    await world.incident("the alert", (r) => r.alerts[0]?.labels["alertname"] === "Unstored");
    await until("readiness", async () => (await fetch(`http://127.0.0.1:${world.port}/readyz`)).ok);
  }, 60_000);
});
