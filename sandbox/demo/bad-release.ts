/** A release of the platform's API whose pods crash: what several stories begin with. */
import { messageOf } from "../../src/errors.js";
import type { Raw } from "../kubernetes/kinds.js";
import { SERVICES, seedDeployment, type Workload } from "./platform.js";
import { NAME } from "./release.js";
import type { DemoAlert, Stage } from "./stage.js";

const CRASH_LOG = [
  "mcp-typescript-server v1.4.2",
  "loading configuration",
  "Error: POOL_MODE is not set, password=hunter2 in fallback refused",
];

const STUCK = new Set(["CrashLoopBackOff", "ImagePullBackOff", "ErrImagePull"]);

/** The platform with its services running well, as the sandbox has it. */
export function seedPlatform(stage: Stage, api: Partial<Workload> = {}): void {
  const { kubernetes, behave, release } = stage.sandbox();
  behave((pod) =>
    pod.spec.containers[0]?.image === release.bad
      ? { kind: "crash", exitCode: 1, crashAfterMs: 700, logs: CRASH_LOG }
      : { kind: "ready", readyAfterMs: 600, logs: ["listening on 3000"] },
  );
  for (const service of SERVICES) seedDeployment(kubernetes, service.name === NAME ? { ...service, ...api } : service);
}

/** All three replicas run, and a Prometheus sees how many requests fail. */
export async function platformBefore(stage: Stage): Promise<void> {
  const { ground } = stage;
  stage.prometheus.rules.push({
    name: "HighErrorRate",
    query:
      'sum by (namespace, service) (rate(http_requests_total{code=~"5.."}[5m])) / sum by (namespace, service) (rate(http_requests_total[5m])) > 0.05',
    labels: { severity: "critical" },
  });
  stage.prometheus.answer(async (expr) =>
    expr.includes("http_requests_total")
      ? [{ metric: { namespace: ground.namespace, service: NAME }, value: await errorShare(stage) }]
      : null,
  );
  const running = async () => (await ground.get("Deployment", NAME))?.status?.availableReplicas === 3;
  await stage.until(`${NAME} to run`, running, 15_000 * ground.patience).catch(async (error: unknown) => {
    if (!ground.real) throw error;
    const states = new Set((await podsOf(stage)).map(whyNotRunning));
    const found = [...states].join("; ") || "no pods: a quota or an admission policy refuses them (kubectl get events)";
    throw new Error(
      `${messageOf(error)}: expected 3 pods of ${ground.release.good}, found ${found}. Give an image that the nodes can pull and that has \`sh\`: --image`,
    );
  });
}

function whyNotRunning(pod: Raw): string {
  const waiting = pod.status?.containerStatuses?.[0]?.state?.waiting;
  const unplaced = (pod.status?.conditions ?? []).find(
    (c: { type: string; status: string; message?: string }) => c.type === "PodScheduled" && c.status === "False",
  );
  const says = waiting === undefined ? unplaced?.message : `${waiting.reason}: ${waiting.message ?? ""}`;
  return String(says ?? pod.status?.phase ?? "unknown").slice(0, 200);
}

/** Somebody ships it; resolves with the name of a pod that does not come up. */
export async function shipBadRelease(stage: Stage, by?: string): Promise<string> {
  const { ground } = stage;
  await ground.setImage({ name: NAME, image: ground.release.bad, ...(by === undefined ? {} : { by }) });
  const failing = await stage.until(
    "pods of the bad release to fail",
    async () => (await podsOf(stage)).find((p) => STUCK.has(p.status?.containerStatuses?.[0]?.state?.waiting?.reason)),
    15_000 * ground.patience,
  );
  return failing.metadata.name as string;
}

/** Whether the release before is back on all three replicas. */
export async function rolledOut(stage: Stage): Promise<boolean> {
  const { spec, status } = (await stage.ground.get("Deployment", NAME)) ?? {};
  const good = spec?.template.spec.containers[0].image === stage.ground.release.good;
  return good && status?.availableReplicas === 3 && status.updatedReplicas === 3;
}

/** Failing requests, as the stand-in for Prometheus tells it: four in ten of those that the bad release's pods get. */
export async function errorShare(stage: Stage): Promise<number> {
  const all = await podsOf(stage);
  const bad = all.filter((p) => p.spec.containers[0]?.image === stage.ground.release.bad).length;
  return all.length === 0 ? 1 : Math.round((bad / all.length) * 400) / 1000;
}

async function podsOf(stage: Stage): Promise<Raw[]> {
  const all = await stage.ground.list("Pod");
  return all.filter((p) => p.metadata.labels?.app === NAME && p.metadata.deletionTimestamp === undefined);
}

/** Four rules see the one cause: the error rate first, critical; three of kube-state-metrics, warnings. */
export function alertsOfRelease(stage: Stage, pod: string): DemoAlert[] {
  const base = { cluster: stage.ground.cluster, namespace: stage.ground.namespace };
  const ksm = { ...base, job: "kube-state-metrics", severity: "warning" };
  const stable = pod.replace(/-[a-z0-9]+$/, "");
  return [
    {
      labels: { alertname: "HighErrorRate", ...base, service: NAME, severity: "critical" },
      annotations: { summary: `40% of requests to ${NAME} fail` },
    },
    {
      labels: { alertname: "KubeDeploymentReplicasMismatch", ...ksm, deployment: NAME },
      annotations: { summary: "Deployment has not matched the expected number of replicas." },
    },
    {
      labels: { alertname: "KubeDeploymentRolloutStuck", ...ksm, deployment: NAME },
      annotations: { summary: "Deployment rollout is not progressing." },
    },
    {
      labels: { alertname: "KubeContainerWaiting", ...ksm, deployment: NAME, reason: "CrashLoopBackOff" },
      annotations: { summary: `A container of ${stable} waits longer than it should.` },
    },
  ];
}

/** The rules that see it: two that may take it back, one that looks. */
export function rulesOfRelease(autonomy: "observe" | "approve" | "auto"): string {
  const target = "target: { kind: Deployment, namespace: $labels.namespace, name: $labels.deployment }";
  return `  - name: bad-deploy
    match: ['alertname="HighErrorRate"']
    runbook: rollback-deployment
    autonomy: ${autonomy}
    target: { from: service, namespace: $labels.namespace, name: $labels.service }
  - name: stuck-rollout
    match: ['alertname="KubeDeploymentRolloutStuck"']
    runbook: rollback-deployment
    autonomy: ${autonomy}
    ${target}
  - name: replicas
    match: ['alertname=~"KubeDeploymentReplicasMismatch|KubeContainerWaiting"']
    runbook: diagnose-pods
    ${target}`;
}
