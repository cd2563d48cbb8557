import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Kubernetes, startKubernetes } from "../../sandbox/kubernetes/kubernetes.js";
import { systemClock } from "../../src/clock.js";
import { alertmanagerProgram } from "../harness/processes.js";
import { badRelease, errorRate, startWorld, testPolicy, type World } from "../harness/world.js";

const missing = alertmanagerProgram() === null ? "no Alertmanager on this machine" : null;
const NAMESPACE = "clocks";
const HOUR = 3600_000;

describe.skipIf(missing !== null)(`the clock jumps${missing === null ? "" : ` (not run: ${missing})`}`, () => {
  let kubernetes: Kubernetes;
  let world: World;
  let offset = 0;
  const dir = mkdtempSync(join(tmpdir(), "clocks-"));
  const sick = new Set<string>();

  beforeAll(async () => {
    kubernetes = await startKubernetes();
    writeFileSync(join(dir, "kubeconfig"), kubernetes.kubeconfig());
    world = await startWorld({
      kubeconfig: join(dir, "kubeconfig"),
      policy: testPolicy([NAMESPACE], "    autonomy: auto"),
      slackMode: "none",
      app: { clock: { ...systemClock, now: () => systemClock.now() + offset } },
    });
    errorRate(
      world.prometheus,
      ({ service }) => (sick.has(service) ? 0.4 : 0),
      ["back", "forth", "behind", "ahead"].map((service) => ({ namespace: NAMESPACE, service })),
    );
  }, 60_000);

  afterAll(async () => {
    await world?.stop();
    await kubernetes?.stop();
    rmSync(dir, { recursive: true, force: true });
  }, 60_000);

  const labels = (service: string) => ({
    alertname: "HighErrorRate",
    namespace: NAMESPACE,
    service,
    severity: "critical",
  });
  const effects = (name: string) =>
    kubernetes.writes().filter((w) => w.kind === "Deployment" && w.name === name && w.templateChanged && w.op !== null);

  it.each([
    ["back", -HOUR],
    ["forth", HOUR],
  ])(
    "an hour %s in the middle of a run: its effect was made once, and it ends (H50 I1)",
    async (name, jump) => {
      sick.add(name);
      await badRelease(world.k, { namespace: NAMESPACE, name });
      const startsAt = new Date().toISOString();
      await world.fire(labels(name), startsAt);
      await world.incident("the effect", (r) => r.target?.name === name && (r.run?.looks.length ?? 0) > 0);
      offset = jump;
      try {
        sick.delete(name);
        await world.resolve(labels(name));
        const end = await world.incident("the end", (r) => r.target?.name === name && r.endedAt !== null, 60_000);

        expect(["remediated", "held"], JSON.stringify(end.timeline)).toContain(end.state);
        expect(end.page === "none", JSON.stringify(end.timeline)).toBe(end.state === "remediated");
        await world.fire(labels(name), startsAt);
        await new Promise((done) => setTimeout(done, 3000));
        expect(effects(name)).toHaveLength(1);
      } finally {
        offset = 0;
        await world.resolve(labels(name));
      }
    },
    120_000,
  );

  it.each([
    ["behind", -HOUR, "ahead of"],
    ["ahead", HOUR, "behind"],
  ])(
    "is an hour %s everybody else's: nothing is begun, and a person is told by how much (H50 G27)",
    async (name, jump, theirs) => {
      offset = jump;
      try {
        sick.add(name);
        await badRelease(world.k, { namespace: NAMESPACE, name });
        await world.fire(labels(name));
        const end = await world.incident("the hold", (r) => r.target?.name === name && r.endedAt !== null, 60_000);

        expect(end).toMatchObject({ state: "held", reason: "clock", page: expect.stringMatching(/wanted|sent/) });
        expect(end.says).toMatch(
          new RegExp(`clock is wrong: the API server is 3[56]\\d\\d(\\.\\d)? s ${theirs} this process, Redis is 3[56]`),
        );
        expect(effects(name)).toHaveLength(0);
      } finally {
        offset = 0;
        await world.resolve(labels(name));
      }
    },
    90_000,
  );

  it("is measured: one gauge for each of the others", async () => {
    const text = await (await fetch(`http://127.0.0.1:${world.port}/metrics`)).text();
    for (const source of ["the API server", "Redis"])
      expect(text).toMatch(new RegExp(`^nightshift_clock_off_seconds\\{source="${source}"\\} -?\\d`, "m"));
  });
});
