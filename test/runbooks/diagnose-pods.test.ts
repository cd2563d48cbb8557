import { describe, expect, it } from "vitest";
import type { KubeObject } from "../../src/cluster.js";
import { headlineWithLog } from "../../src/notify/headline.js";
import { redact } from "../../src/log.js";
import type { Alert, Diagnosis, Target } from "../../src/runbook.js";
import { runbook } from "../../runbooks/diagnose-pods.js";
import { type MemoryCluster, memoryCluster } from "../harness/memory-cluster.js";
import { ago, API, DAY, MINUTE, NOW, NS, shop, target, template } from "./scene.js";

function alert(startsAt: string): Alert {
  return {
    identity: `f@${startsAt}`,
    fingerprint: "f",
    startsAt,
    endsAt: null,
    status: "firing",
    labels: { alertname: "KubePodCrashLooping" },
    annotations: {},
    generatorURL: "",
    groupKey: null,
    receiver: "nightshift",
    externalURL: "",
    receivedAt: NOW,
  };
}

function diagnose(
  cluster: MemoryCluster,
  more: { alerts?: Alert[]; target?: Target; logLines?: number } = {},
): Promise<Diagnosis> {
  return runbook.diagnose({
    target: more.target ?? target,
    params: {},
    alerts: more.alerts ?? [],
    cluster,
    measure: async () => null,
    now: NOW,
    redact,
    logLines: more.logLines ?? 20,
    probe: async () => ({ ok: false, says: "not asked", ms: 0 }),
  });
}

const POD = `${API}-hash42-2xkqp`;

/** A pod of the Deployment; by default it crash-loops since its revision came 10 min ago. */
function pod(more: { name?: string; status?: object; spec?: object; owner?: object } = {}): Partial<KubeObject> {
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: {
      name: more.name ?? POD,
      namespace: NS,
      uid: `uid-${more.name ?? POD}`,
      labels: { app: "api" },
      ...more.owner,
    } as never,
    spec: {
      nodeName: "node-3",
      containers: [{ name: "api", resources: { limits: { memory: "256Mi" } } }],
      ...more.spec,
    },
    status: more.status ?? {
      phase: "Running",
      containerStatuses: [
        {
          name: "api",
          ready: false,
          restartCount: 6,
          state: { waiting: { reason: "CrashLoopBackOff" } },
          lastState: { terminated: { exitCode: 1, reason: "Error", finishedAt: ago(10 * MINUTE - 12_000) } },
        },
      ],
    },
  };
}

const waiting = (reason: string, more: object = {}) => ({
  phase: "Pending",
  containerStatuses: [{ name: "api", ready: false, restartCount: 0, state: { waiting: { reason } }, ...more }],
});

const event = (name: string, more: object): Partial<KubeObject> => ({
  apiVersion: "v1",
  kind: "Event",
  metadata: { name, namespace: NS } as never,
  type: "Warning",
  reason: "BackOff",
  message: "Back-off restarting failed container",
  involvedObject: { uid: `uid-${POD}` },
  lastTimestamp: ago(MINUTE),
  ...more,
});

function sick(more: Partial<KubeObject>[] = [pod()], reads = {}): MemoryCluster {
  const cluster = shop(
    [
      { number: 41, age: 6 * DAY + 10 * MINUTE, template: template("v1.4.1") },
      { number: 42, age: 10 * MINUTE, template: template("v1.4.2", reads) },
    ],
    more,
  );
  cluster.setLogs(POD, "starting\nError: DATABASE_URL is not set\n", { previous: true });
  return cluster;
}

const details = (diagnosis: Diagnosis, title: string) => diagnosis.details.find((d) => d.title === title)?.lines ?? [];
const reads = { container: { envFrom: [{ configMapRef: { name: "app-config" } }] } };
const config = (more: object = {}): Partial<KubeObject> => ({
  apiVersion: "v1",
  kind: "ConfigMap",
  metadata: { name: "app-config", namespace: NS, creationTimestamp: ago(90 * DAY), ...more } as never,
  data: {},
});

describe("diagnose-pods", () => {
  it("tells a crash loop after a release in four lines, the change first (H20)", async () => {
    const found = await diagnose(sick([pod(), config()], reads));

    expect(found.headline.join()).not.toContain("DATABASE_URL");
    expect(headlineWithLog(found)).toEqual([
      "began 12 s after revision 42 was rolled out (registry.example/api:v1.4.2)",
      "CrashLoopBackOff, exit code 1; last log line: Error: DATABASE_URL is not set",
      "revision 41 (registry.example/api:v1.4.1) ran for 6 d, until 10 min ago",
      `configuration unchanged since ${ago(90 * DAY).slice(0, 16)}Z (app-config)`,
    ]);
    expect(found.logs).toEqual(["starting", "Error: DATABASE_URL is not set"]);
  });

  it("shows the ConfigMap that changed 8 min ago, not the rollout alone (H20)", async () => {
    const changed = config({
      managedFields: [{ manager: "kubectl", time: ago(8 * MINUTE), fieldsV1: { "f:data": { "f:X": {} } } }],
    });

    const { headline } = await diagnose(sick([pod(), changed], reads));

    expect(headline).toContain("ConfigMap app-config changed 2 min after the last rollout");
    expect(headline.join()).not.toContain("configuration unchanged");
  });

  it("says that a ConfigMap which is named is missing (H18)", async () => {
    expect((await diagnose(sick([pod()], reads))).headline.join()).toContain("ConfigMap app-config is missing");
  });

  it("takes the earliest of alerts and terminations for the beginning", async () => {
    const beginning = async (starts: string[], pods: Partial<KubeObject>[]) =>
      (await diagnose(sick(pods), { alerts: starts.map(alert) })).headline[0];

    expect(await beginning([ago(5 * MINUTE), ago(7 * MINUTE)], [])).toMatch(/^began 3 min after revision 42/);
    expect(await beginning([ago(5 * MINUTE)], [pod()])).toMatch(/^began 12 s after revision 42/);
    expect(await beginning([ago(2 * DAY)], [])).toBe("began 2 d ago; the last rollout (revision 41) was 4 d before");
    expect(await beginning([], [])).not.toMatch(/began/);
  });

  it("does not blame a release that came after the trouble had begun", async () => {
    const { headline } = await diagnose(sick([]), { alerts: [alert(ago(30 * MINUTE))] });

    expect(headline[0]).toMatch(/^began 30 min ago; the last rollout \(revision 41\) was 6 d before/);
  });

  it.each([
    { reason: "ImagePullBackOff", status: waiting("ImagePullBackOff"), says: /^ImagePullBackOff/ },
    {
      reason: "CreateContainerConfigError",
      status: waiting("CreateContainerConfigError"),
      says: /^CreateContainerConfig/,
    },
    {
      reason: "OOMKilled, though it waits in CrashLoopBackOff",
      status: waiting("CrashLoopBackOff", {
        restartCount: 3,
        lastState: { terminated: { exitCode: 137, reason: "OOMKilled", finishedAt: ago(MINUTE) } },
      }),
      says: /^OOMKilled, exit code 137/,
    },
    {
      reason: "an init container that fails",
      status: {
        phase: "Pending",
        initContainerStatuses: [
          { name: "migrate", ready: false, restartCount: 4, state: { waiting: { reason: "CrashLoopBackOff" } } },
        ],
        containerStatuses: [{ name: "api", ready: true, state: { waiting: { reason: "PodInitializing" } } }],
      },
      says: /^CrashLoopBackOff/,
    },
    {
      reason: "a pod that no node takes",
      status: {
        phase: "Pending",
        conditions: [
          { type: "PodScheduled", status: "False", message: "0/3 nodes are available: Insufficient memory" },
        ],
      },
      says: /^Pending: 0\/3 nodes are available: Insufficient memory/,
    },
  ])("names $reason", async ({ status, says }) => {
    const { headline } = await diagnose(sick([pod({ status })]));

    expect(headline.some((line) => says.test(line))).toBe(true);
  });

  it("sets the memory limit and the node beside an OOM kill", async () => {
    const status = waiting("CrashLoopBackOff", {
      restartCount: 3,
      lastState: { terminated: { exitCode: 137, reason: "OOMKilled", finishedAt: ago(MINUTE) } },
    });

    const [line] = details(await diagnose(sick([pod({ status })])), "Pods");

    expect(line).toBe(
      `${POD} on node-3: OOMKilled, exit code 137, 3 restarts, last ended 60 s ago, memory limit 256Mi`,
    );
  });

  it("says that nothing is failing when nothing is, and makes up no log line", async () => {
    const status = {
      phase: "Running",
      conditions: [{ type: "Ready", status: "True" }],
      containerStatuses: [{ name: "api", ready: true, restartCount: 0, state: { running: {} } }],
    };

    const { headline, logs } = await diagnose(sick([pod({ status })]));

    expect(headline).toContain("no container is failing: 1 of 2 pods are ready");
    expect(logs).toEqual([]);
  });

  it("shows the pod that restarted most, and pods of no other workload", async () => {
    const worse = pod({
      name: "worse",
      status: waiting("CrashLoopBackOff", { restartCount: 99, lastState: { terminated: { exitCode: 3 } } }),
    });
    const foreign = pod({ name: "foreign", status: waiting("ImagePullBackOff", { restartCount: 500 }) });
    (foreign.metadata as { labels: object }).labels = { app: "other" };

    const diagnosis = await diagnose(sick([pod(), worse, foreign]));

    expect(diagnosis.headline.join()).toContain("CrashLoopBackOff, exit code 3");
    expect(details(diagnosis, "Pods").join()).not.toContain("foreign");
  });

  it("reads the log of the run that is going on where there was none before", async () => {
    const cluster = sick([pod({ status: waiting("CreateContainerError") })]);
    cluster.setLogs(POD, "still here");

    expect((await diagnose(cluster)).logs).toEqual(["still here"]);
  });

  it("reads no logs when told so, and never more lines than told", async () => {
    const cluster = sick();
    cluster.setLogs(POD, Array.from({ length: 50 }, (_, i) => `line ${i}`).join("\n"), { previous: true });

    expect((await diagnose(cluster, { logLines: 0 })).logs).toEqual([]);
    expect((await diagnose(cluster, { logLines: 3 })).logs).toEqual(["line 47", "line 48", "line 49"]);
  });

  it("hides secrets in the workload's words, everywhere", async () => {
    const cluster = sick([pod(), event("e1", { message: "probe failed: postgres://app:hunter2@db/app refused" })]);
    cluster.setLogs(POD, "login with password=hunter2\nAuthorization: Bearer hunter2hunter2", { previous: true });

    const all = JSON.stringify(await diagnose(cluster));

    expect(all).not.toContain("hunter2");
    expect(all).toContain("[redacted]");
  });

  it("takes colours and control characters out of the workload's words, and shortens them", async () => {
    const cluster = sick();
    cluster.setLogs(POD, `\u001b[31mred\u001b[0m\u0000\u0007 ring\r\n\n${"x".repeat(5000)}`, { previous: true });

    const { logs } = await diagnose(cluster);

    expect(logs[0]).toBe("red   ring");
    expect(logs[1]).toBe("x".repeat(300));
    expect(logs).toHaveLength(2);
  });

  it("folds events that say the same of several pods, newest first, Normal ones left out", async () => {
    const lines = details(
      await diagnose(
        sick([
          pod(),
          event("old", { lastTimestamp: ago(9 * MINUTE), count: 40 }),
          event("same", { lastTimestamp: ago(2 * MINUTE), count: 7 }),
          event("pull", { reason: "Failed", message: "no such image", lastTimestamp: ago(5 * MINUTE) }),
          event("normal", { type: "Normal", message: "Scheduled" }),
          event("foreign", { involvedObject: { uid: "someone-else" }, message: "not ours" }),
        ]),
      ),
      "Events",
    );

    expect(lines).toEqual([
      "BackOff ×7 2 min ago: Back-off restarting failed container",
      "Failed 5 min ago: no such image",
    ]);
  });

  it.each([
    { kind: "Log", note: /logs of .*forbidden/ },
    { kind: "Event", note: /events: .*forbidden/ },
    { kind: "ConfigMap", note: /ConfigMap app-config: .*forbidden/ },
  ])("works without the right to read $kind, and says what it did not see", async ({ kind, note }) => {
    const cluster = sick([pod(), config()], reads);
    cluster.forbid(kind);

    const diagnosis = await diagnose(cluster);

    expect(diagnosis.headline[0]).toMatch(/^began 12 s after revision 42/);
    expect(diagnosis.headline.join()).toContain("CrashLoopBackOff, exit code 1");
    expect(details(diagnosis, "Not seen").join()).toMatch(note);
  });

  it("says so when the workload is gone, and when its pods are", async () => {
    const empty = memoryCluster([]);
    expect((await diagnose(empty)).headline).toEqual([`Deployment ${NS}/${API} is gone`]);

    const { headline } = await diagnose(sick([]));
    expect(headline).toContain("no container is failing: 0 of 2 pods are ready");
  });

  it.each(["StatefulSet", "DaemonSet", "ReplicaSet", "Job"])(
    "looks at the pods of a %s by selector or owner",
    async (kind) => {
      const apiVersion = kind === "Job" ? "batch/v1" : "apps/v1";
      const owned = pod({
        name: "owned",
        owner: { labels: {}, ownerReferences: [{ apiVersion, kind, name: "w", uid: "w1", controller: true }] },
      });
      const cluster = memoryCluster([
        { apiVersion, kind, metadata: { name: "w", namespace: NS, uid: "w1" } as never, spec: { replicas: 1 } },
        owned,
      ]);

      const diagnosis = await diagnose(cluster, {
        target: { cluster: "c", apiVersion, kind, namespace: NS, name: "w", uid: "w1" },
      });

      expect(diagnosis.headline.join()).toContain("CrashLoopBackOff, exit code 1");
      expect(details(diagnosis, "Pods")).toHaveLength(1);
    },
  );

  it("looks at one pod alone when that is the target", async () => {
    const diagnosis = await diagnose(sick([pod(), pod({ name: "another" })]), {
      target: { cluster: "c", apiVersion: "v1", kind: "Pod", namespace: NS, name: POD, uid: `uid-${POD}` },
    });

    expect(details(diagnosis, "Pods")).toHaveLength(1);
    expect(diagnosis.headline.join()).toContain("CrashLoopBackOff");
  });

  it("reads only, and stays within its bounds in a big workload", async () => {
    const cluster = sick([
      ...Array.from({ length: 40 }, (_, i) => pod({ name: `p-${i}` })),
      ...Array.from({ length: 40 }, (_, i) =>
        event(`e-${i}`, { message: `cause number ${i}`, involvedObject: { uid: `uid-p-${i}` } }),
      ),
    ]);
    const before = cluster.world();

    const diagnosis = await diagnose(cluster);

    expect(cluster.world()).toEqual(before);
    expect(diagnosis.headline.length).toBeLessThanOrEqual(4);
    expect(details(diagnosis, "Pods")).toHaveLength(15);
    expect(details(diagnosis, "Events")).toHaveLength(10);
    expect(details(diagnosis, "Rollouts").length).toBeLessThanOrEqual(5);
  });

  it("offers no log line to the groups that PagerDuty is sent", async () => {
    const diagnosis = await diagnose(sick());

    expect(JSON.stringify(diagnosis.details)).not.toContain("DATABASE_URL");
  });

  it("knows no hour but the one it is given", async () => {
    const one = await diagnose(sick());
    const other = await diagnose(sick());

    expect(other).toEqual(one);
  });
});
