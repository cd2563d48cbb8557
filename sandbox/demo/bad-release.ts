/** A release of the platform's API whose pods crash: what several stories begin with. */
import type { Raw } from "../kubernetes/kinds.js";
import { IMAGE, NAME, SERVICES, seedDeployment, type Workload } from "./platform.js";
import type { DemoAlert, Stage } from "./stage.js";

const CRASH_LOG = [
  "mcp-typescript-server v1.4.2",
  "loading configuration",
  "Error: POOL_MODE is not set, password=hunter2 in fallback refused",
];

/** The platform with its services running well, and a Prometheus that sees how many requests fail. */
export async function platformBefore(stage: Stage, api: Partial<Workload> = {}): Promise<void> {
  const { kubernetes, behave } = stage.sandbox();
  behave((pod) =>
    pod.spec.containers[0]?.image === IMAGE.bad
      ? { kind: "crash", exitCode: 1, crashAfterMs: 700, logs: CRASH_LOG }
      : { kind: "ready", readyAfterMs: 600, logs: ["listening on 3000"] },
  );
  for (const service of SERVICES) seedDeployment(kubernetes, service.name === NAME ? { ...service, ...api } : service);
  stage.prometheus.rules.push({
    name: "HighErrorRate",
    query:
      'sum by (namespace, service) (rate(http_requests_total{code=~"5.."}[5m])) / sum by (namespace, service) (rate(http_requests_total[5m])) > 0.05',
    labels: { severity: "critical" },
  });
  stage.prometheus.answer((expr) =>
    expr.includes("http_requests_total")
      ? [{ metric: { namespace: stage.ground.namespace, service: NAME }, value: errorShare(stage) }]
      : null,
  );
  await stage.until("the platform to run", async () => (await apiOf(stage))?.status?.availableReplicas === 3, 15_000);
}

const apiOf = (stage: Stage) => stage.ground.get("Deployment", NAME);

/** Somebody ships it; resolves with the name of a pod that crashes. */
export async function shipBadRelease(stage: Stage, by?: string): Promise<string> {
  const template = { spec: { containers: [{ name: "api", image: IMAGE.bad }] } };
  await stage.ground.patch({
    kind: "Deployment",
    name: NAME,
    body: { spec: { template } },
    ...(by === undefined ? {} : { by }),
  });
  const crashed = await stage.until(
    "pods to crash",
    async () =>
      podsOf(stage).find((p) => p.status?.containerStatuses?.[0]?.state?.waiting?.reason === "CrashLoopBackOff"),
    15_000,
  );
  return crashed.metadata.name as string;
}

/** Whether the release before is back on all three replicas. */
export async function rolledOut(stage: Stage): Promise<boolean> {
  const { spec, status } = (await apiOf(stage)) ?? {};
  const { availableReplicas, updatedReplicas } = status ?? {};
  return spec?.template.spec.containers[0].image === IMAGE.good && availableReplicas === 3 && updatedReplicas === 3;
}

/** Failing requests: the share of replicas that cannot answer. */
export function errorShare(stage: Stage): number {
  const all = podsOf(stage);
  const bad = all.filter((p) => p.spec.containers[0]?.image === IMAGE.bad).length;
  return all.length === 0 ? 1 : Math.round((bad / all.length) * 400) / 1000;
}

function podsOf(stage: Stage): Raw[] {
  const all = stage.sandbox().kubernetes.list("Pod", stage.ground.namespace);
  return all.filter((p) => p.metadata.labels?.app === NAME);
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
