import { fork, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Kubernetes, startKubernetes } from "../../sandbox/kubernetes/kubernetes.js";
import { type App, startApp } from "../../src/app.js";
import { readConfig } from "../../src/config.js";
import { silentLog } from "../../src/log.js";
import type { IncidentRecord } from "../../src/record/incident.js";
import type { Report } from "../../src/report/figures.js";
import { alertmanagerProgram, until } from "../harness/processes.js";
import { badRelease, deploy, startWorld, testPolicy, type World } from "../harness/world.js";

/** Observe mode beside what people did: a rollback, a scaling, nothing; read on time, late, and by several at once. */
const missing = alertmanagerProgram() === null ? "no Alertmanager on this machine" : null;
const NAMESPACE = "shadow";
const READ_AFTER_MS = 12_000;
const HOSTILE = "<!channel> `rm` *bold* <https://evil.example|ok> \u202etxt";
const RULES = `    autonomy: observe
  - { name: grow, match: ['alertname="Busy"'], runbook: scale-deployment, target: { kind: Deployment, namespace: $labels.namespace, name: $labels.deployment } }`;

describe.skipIf(missing !== null)(`what people did instead${missing === null ? "" : ` (not run: ${missing})`}`, () => {
  let kubernetes: Kubernetes;
  let world: World;
  let twin: App;
  const dir = mkdtempSync(join(tmpdir(), "shadow-"));
  const options = { readAfterMs: READ_AFTER_MS, sweepMs: 250 };
  const ref = (name: string) => ({ apiVersion: "apps/v1", kind: "Deployment", namespace: NAMESPACE, name });
  const fire = (name: string) =>
    world.fire({ alertname: "HighErrorRate", namespace: NAMESPACE, service: `${name}-service`, severity: "warning" });
  const observed = (name: string) =>
    world.incident(`what would be done to ${name}`, (r) => r.target?.name === name && r.reason === "observed");
  const read = (name: string) =>
    world.incident(`what people did to ${name}`, (r) => r.target?.name === name && r.shadow?.reading != null);
  const comparisons = (record: IncidentRecord) => record.timeline.filter((entry) => entry.what === "compared");
  const nightshift = (...args: string[]) =>
    spawnSync(process.execPath, [fileURLToPath(new URL("../../bin/nightshift.js", import.meta.url)), ...args], {
      encoding: "utf8",
      env: { PATH: process.env["PATH"] ?? "", HOME: dir, ...world.env },
    });

  beforeAll(async () => {
    kubernetes = await startKubernetes();
    writeFileSync(join(dir, "kubeconfig"), kubernetes.kubeconfig());
    world = await startWorld({
      kubeconfig: join(dir, "kubeconfig"),
      policy: testPolicy([NAMESPACE], RULES),
      app: options,
    });
    // A second replica: every reading is due at both.
    const env = { ...world.env, NIGHTSHIFT_PORT: "0" };
    for (const name of ["SLACK_BOT_TOKEN", "SLACK_APP_TOKEN"]) delete (env as Record<string, string | undefined>)[name];
    twin = await startApp(readConfig(env, true), { log: silentLog, ...options });
    for (const name of ["back", "grown", "idle", "busy"])
      if (name === "busy") await deploy(world.k, { namespace: NAMESPACE, name, tag: "good" });
      else await badRelease(world.k, { namespace: NAMESPACE, name });
    await until(
      "busy to run",
      async () => kubernetes.get("Deployment", NAMESPACE, "busy")?.status?.availableReplicas === 2,
    );
  }, 90_000);

  afterAll(async () => {
    await twin?.stop();
    await world?.stop();
    await kubernetes?.stop();
    rmSync(dir, { recursive: true, force: true });
  }, 60_000);

  it("agrees, differs or finds nothing, once each, over a restart before it is due", async () => {
    for (const name of ["back", "grown", "idle"]) await fire(name);
    await world.fire({ alertname: "Busy", namespace: NAMESPACE, deployment: "busy", severity: "warning" });
    const [back, grown] = await Promise.all(["back", "grown", "idle", "busy"].map(observed));
    expect(back?.plan?.sentence).toMatch(/^Roll back Deployment shadow\/back/);
    expect(grown?.shadow).toMatchObject({ reading: null });
    expect(back?.shadow?.before?.revisions).toHaveLength(2);

    await deploy(world.k, { namespace: NAMESPACE, name: "back", tag: "good" });
    await world.k.jsonPatch(ref("grown"), [{ op: "replace", path: "/spec/replicas", value: 4 }]);
    await world.k.jsonPatch(ref("busy"), [{ op: "replace", path: "/spec/replicas", value: 5 }]);
    await world.restart();
    const [agree, differ, nothing, busy] = await Promise.all(["back", "grown", "idle", "busy"].map(read));

    expect(agree?.shadow?.reading).toMatchObject({ verdict: "agree" });
    expect(agree?.shadow?.reading?.says).toMatch(/people rolled it back to revision 1 \(kubectl-test\)/);
    expect(differ?.shadow?.reading).toMatchObject({ verdict: "differ" });
    expect(differ?.shadow?.reading?.says).toMatch(/set replicas of Deployment grown from 2 to 4/);
    expect(nothing?.shadow?.reading).toMatchObject({ verdict: "nothing" });
    expect(busy?.shadow?.reading, "another number, the same way").toMatchObject({ verdict: "agree" });
    for (const record of [agree, differ, nothing, busy]) {
      expect(record && comparisons(record)).toHaveLength(1);
      expect(record?.shadow?.before).toBeNull();
      expect((record?.shadow?.reading?.at ?? 0) - (record?.shadow?.dueAt ?? 0)).toBeGreaterThanOrEqual(0);
    }
    expect(kubernetes.writes().filter((write) => write.op !== null && write.namespace === NAMESPACE)).toEqual([]);
  }, 90_000);

  it("reads once, although the process that was reading was killed in the middle of it", async () => {
    await badRelease(world.k, { namespace: NAMESPACE, name: "shot" });
    await fire("shot");
    const shot = await observed("shot");
    await deploy(world.k, { namespace: NAMESPACE, name: "shot", tag: "good" });
    await Promise.all([twin.stop(), world.app.stop()]);
    const worker = fork(fileURLToPath(new URL("../harness/hands.ts", import.meta.url)), [], {
      execArgv: ["--import", "tsx"],
      env: { ...process.env, ...world.env, NIGHTSHIFT_ROLE: "hands", NIGHTSHIFT_PORT: "0" },
      stdio: ["ignore", "inherit", "inherit", "ipc"],
    });
    const ended = new Promise<void>((done) => worker.once("exit", () => done()));
    const fault = kubernetes.faults.add({ verb: "list", resource: "replicasets" }, { do: "hold" }, 1);

    await fault.met();
    expect(Date.now()).toBeGreaterThanOrEqual(shot.shadow?.dueAt ?? 0);
    worker.kill("SIGKILL");
    await ended;
    await fault.release();
    await world.restart();
    const record = await read("shot");

    expect(record.shadow?.reading).toMatchObject({ verdict: "agree" });
    expect(comparisons(record)).toHaveLength(1);
  }, 90_000);

  it("reads what fell due while nobody was there when somebody is, and says that it was late", async () => {
    await badRelease(world.k, { namespace: NAMESPACE, name: "night" });
    await badRelease(world.k, { namespace: NAMESPACE, name: "dawn" });
    await Promise.all([fire("night"), fire("dawn")]);
    const [night] = await Promise.all([observed("night"), observed("dawn")]);
    await world.app.stop();
    await deploy(world.k, { namespace: NAMESPACE, name: "night", tag: "good" });
    const due = (night?.shadow?.dueAt ?? 0) + READ_AFTER_MS / 2;
    await until("the time to pass", async () => Date.now() > due, READ_AFTER_MS * 3);
    // After the time, which the API server's whole seconds show: nobody may take it for an answer to the alert.
    await deploy(world.k, { namespace: NAMESPACE, name: "dawn", tag: "good" });
    await world.restart();
    const [inTime, after] = await Promise.all([read("night"), read("dawn")]);

    expect(inTime.shadow?.reading).toMatchObject({ verdict: "agree", lateMs: expect.any(Number) });
    expect(inTime.shadow?.reading?.lateMs).toBeGreaterThan(0);
    expect(inTime.shadow?.reading?.says).toMatch(/read \d+ s late$/);
    expect(after.shadow?.reading).toMatchObject({ verdict: "unknown" });
    expect(after.shadow?.reading?.says).toMatch(/cannot be told whether in that time/);
    expect(comparisons(inTime)).toHaveLength(1);
  }, 120_000);

  it("is reported on the command line and in Slack, with hostile names inert", async () => {
    await world.fire({ alertname: HOSTILE, namespace: NAMESPACE, severity: "critical" });
    await world.incident("the hostile alert's end", (r) => r.reason === "unmatched");
    const json = nightshift("report", "--weeks", "2", "--json");
    expect(json.stderr).toBe("");
    const report = JSON.parse(json.stdout) as Report;

    expect(report).toMatchObject({ v: 1, weeks: 2, complete: false, incidents: { all: 8, held: 1, suppressed: 7 } });
    expect(Date.parse(report.knownSince ?? "")).toBeGreaterThan(Date.parse(report.from));
    const would = (rule: string) => report.rules.find((one) => one.rule === rule)?.wouldHave;
    expect(would("bad-deploy")).toMatchObject({
      plans: 6,
      agree: 3,
      differ: 1,
      nothing: 1,
      unknown: 1,
      due: 0,
    });
    expect(would("grow")).toMatchObject({ plans: 1, agree: 1 });
    expect(report.withoutRemedy).toMatchObject([{ incidents: 1, planned: 0, reasons: { unmatched: 1 } }]);

    const text = nightshift("report", "--weeks", "2").stdout;
    expect(text).toMatch(/Covers only what came since 20/);
    expect(text).toMatch(/bad-deploy · rollback-deployment: 6 incidents/);
    expect(text).toMatch(/the same 3, something else 1, nothing 1, unknown 1 \([23] read late\)/);
    expect(text).not.toContain("%");
    expect(text).not.toContain("\u202e");
    expect(nightshift("report", "--weeks", "0")).toMatchObject({ status: 1, stderr: expect.stringMatching(/1 to 52/) });

    const answer = JSON.stringify(await world.slack.command("report 2", { user: "U1" }));
    expect(answer).toContain("ephemeral");
    expect(answer).toContain("bad-deploy · rollback-deployment: 6 incidents");
    expect(answer).toContain("&lt;!channel&gt; 'rm'");
    expect(answer).not.toMatch(/<!channel>|<https/);
    expect(answer).not.toContain("\u202e");
    expect(JSON.stringify(await world.slack.command("report soon", { user: "U1" }))).toMatch(/whole number of weeks/);
  }, 60_000);
});
