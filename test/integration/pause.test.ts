import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Kubernetes, startKubernetes } from "../../sandbox/kubernetes/kubernetes.js";
import { systemClock } from "../../src/clock.js";
import { createControl } from "../../src/execution/control.js";
import { alertmanagerProgram, until } from "../harness/processes.js";
import { badRelease, errorRate, OWN, startWorld, testPolicy, type World } from "../harness/world.js";

const missing = alertmanagerProgram() === null ? "no Alertmanager on this machine" : null;
const NAMESPACE = "pauses";
const RULE = "    autonomy: approve\n    approval: { from: ['slack-user:U1'], count: 1, expires: 5m }";
/** One service whose ask expires while the test looks on. */
const QUICK = `rules:
  - name: quick
    match: ['alertname="HighErrorRate"', 'service="expired"']
    runbook: rollback-deployment
    target: { from: service, namespace: $labels.namespace, name: $labels.service }
    autonomy: approve
    approval: { from: ['slack-user:U1'], count: 1, expires: 10s }`;

describe.skipIf(missing !== null)(`stopping it${missing === null ? "" : ` (not run: ${missing})`}`, () => {
  let kubernetes: Kubernetes;
  let world: World;
  const dir = mkdtempSync(join(tmpdir(), "pause-"));

  beforeAll(async () => {
    kubernetes = await startKubernetes();
    writeFileSync(join(dir, "kubeconfig"), kubernetes.kubeconfig());
    world = await startWorld({
      kubeconfig: join(dir, "kubeconfig"),
      policy: testPolicy([NAMESPACE], RULE).replace("rules:", () => QUICK),
    });
    errorRate(
      world.prometheus,
      () => 0.4,
      ["paused", "stopped", "expired"].map((service) => ({ namespace: NAMESPACE, service })),
    );
  }, 60_000);

  afterAll(async () => {
    await world?.stop();
    await kubernetes?.stop();
    rmSync(dir, { recursive: true, force: true });
  }, 60_000);

  const effects = () =>
    kubernetes.writes().filter((w) => w.kind === "Deployment" && w.templateChanged && w.op !== null);
  const control = () => createControl(world.k, OWN);

  async function asked(name: string) {
    await badRelease(world.k, { namespace: NAMESPACE, name });
    await world.fire({ alertname: "HighErrorRate", namespace: NAMESPACE, service: name, severity: "critical" });
    return world.incident("the ask", (r) => r.target?.name === name && r.state === "waiting" && r.slack !== null);
  }
  const press = async (ts: string | undefined, action: string) => {
    const message = world.slack.messages.find((m) => m.ts === ts);
    if (!message) throw new Error("no message");
    await world.slack.press(message, action, { user: "U1" });
  };

  it("writes nothing after a pause, although the plan is approved; resuming does not act by itself (I6 H46)", async () => {
    const ask = await asked("paused");
    await control().pause({ scope: `namespace:${NAMESPACE}`, by: "ann", why: "drill", until: null });

    await press(ask.slack?.ts, "approve");
    const held = await world.incident("the hold", (r) => r.id === ask.id && r.state === "held");

    expect(held).toMatchObject({ reason: "paused" });
    expect(held.says).toMatch(/ann paused namespace:pauses until somebody resumes it: drill/);
    expect(await control().resume(`namespace:${NAMESPACE}`)).toBe(true);
    await systemClock.sleep(1500);
    expect(effects()).toHaveLength(0);
  }, 60_000);

  it("is for anybody in Slack, and lifting it for who may approve (I6)", async () => {
    const said = async (text: string, user: string) => JSON.stringify(await world.slack.command(text, { user }));
    const paused = async () => {
      const found = await control().read();
      return found.state === "readable" ? found.pauses.map((pause) => pause.scope) : [found.state];
    };

    expect(await said("pause drill", "U_STRANGER")).toMatch(/Everything is paused: drill/);
    expect(await said("resume", "U_STRANGER")).toMatch(/Only who may approve .* lifts a pause/);
    expect(await paused()).toEqual(["all"]);
    expect(await said("resume", "U1")).toMatch(/The pause is lifted/);
    expect(await paused()).toEqual([]);
  });

  it("counts a control ConfigMap that is gone as stopped", async () => {
    const ask = await asked("stopped");
    const before = kubernetes.get("ConfigMap", OWN, "nightshift-control");
    kubernetes.remove("ConfigMap", OWN, "nightshift-control");

    await press(ask.slack?.ts, "approve");
    const held = await world.incident("the hold", (r) => r.id === ask.id && r.state === "held");

    expect(held).toMatchObject({ reason: "paused" });
    expect((await fetch(`http://127.0.0.1:${world.port}/readyz`)).status).toBe(503);
    expect(effects()).toHaveLength(0);
    if (before) kubernetes.seed(before);
  }, 60_000);

  it("holds and pages an ask that nobody answers, and offers a new plan with one press (H45)", async () => {
    const ask = await asked("expired");
    const held = await world.incident("the expiry", (r) => r.id === ask.id && r.state === "held", 30_000);

    expect(held).toMatchObject({ reason: "expired" });
    await until("the page", async () =>
      world.pager.alerts.some((a) => a.dedupKey === held.dedupKey && /nobody answered in time/.test(a.summary)),
    );
    await until("the new button", async () =>
      JSON.stringify(world.slack.messages.find((m) => m.ts === held.slack?.ts)?.blocks).includes("New plan"),
    );
    await press(held.slack?.ts, "replan");
    const again = await world.incident("the new plan", (r) => r.id === ask.id && r.state === "waiting");
    expect(again.plan?.nonce).not.toBe(ask.plan?.nonce);
    expect(effects()).toHaveLength(0);
  }, 60_000);
});
