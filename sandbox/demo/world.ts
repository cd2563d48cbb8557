/** The platform of the demo: three services on the sandbox's API server, with stand-ins for what costs money. */
import { type ChildProcess, fork } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { startEmbeddedRedis } from "../../src/store/embedded.js";
import { type Alertmanager, startAlertmanager } from "../alertmanager/index.js";
import { type Kubernetes, startKubernetes } from "../kubernetes/kubernetes.js";
import { startPagerDuty } from "../pagerduty/index.js";
import { freePort } from "../processes.js";
import { startPrometheusStandIn } from "../prometheus/index.js";
import { startSlack } from "../slack/index.js";

export const NAMESPACE = "mcp-production";
export const CLUSTER = "mcp-prod-eu-1";
export const NAME = "mcp-typescript-api";
export const CONFIG = "mcp-typescript-config";
export const YOU = "U0YOU";
const READ_TOKEN = "reader";
const HANDS_TOKEN = "hands";
const HANDS_ACCOUNT = "system:serviceaccount:nightshift:nightshift-hands";
const DAY_MS = 86_400_000;

export const IMAGE = {
  good: "ghcr.io/your-org/mcp-typescript-server:v1.4.1",
  bad: "ghcr.io/your-org/mcp-typescript-server:v1.4.2",
};

export type DemoWorld = Awaited<ReturnType<typeof startDemoWorld>>;

export async function startDemoWorld() {
  const dir = mkdtempSync(join(tmpdir(), "nightshift-demo-"));
  const cleanup: (() => Promise<unknown> | unknown)[] = [() => rmSync(dir, { recursive: true, force: true })];
  const stop = async () => {
    for (const close of cleanup.splice(0).reverse()) await Promise.resolve(close()).catch(() => undefined);
  };
  try {
    return await build(dir, cleanup, stop);
  } catch (error) {
    await stop();
    throw error;
  }
}

async function build(dir: string, cleanup: (() => Promise<unknown> | unknown)[], stop: () => Promise<void>) {
  const redis = await startEmbeddedRedis(dir);
  cleanup.push(() => redis.stop());
  const kubernetes = await startKubernetes({
    identities: [
      { token: READ_TOKEN, user: "system:serviceaccount:nightshift:nightshift", rules: reader },
      { token: HANDS_TOKEN, user: HANDS_ACCOUNT, rules: [...reader, ...own] },
    ],
    namespaces: [NAMESPACE, "nightshift"],
    behaviour: (pod) =>
      pod.spec.containers[0]?.image === IMAGE.bad
        ? {
            kind: "crash",
            exitCode: 1,
            crashAfterMs: 700,
            logs: [
              "mcp-typescript-server v1.4.2",
              "loading configuration",
              "Error: POOL_MODE is not set, password=hunter2 in fallback refused",
            ],
          }
        : { kind: "ready", readyAfterMs: 600, logs: ["listening on 3000"] },
  });
  cleanup.push(() => kubernetes.stop());
  seed(kubernetes);
  const [slack, pager, prometheus] = [
    await startSlack(),
    await startPagerDuty(),
    await startPrometheusStandIn(() => Date.now()),
  ];
  cleanup.push(
    () => slack.stop(),
    () => pager.stop(),
    () => prometheus.stop(),
  );
  prometheus.rules.push({
    name: "HighErrorRate",
    query:
      'sum by (namespace, service) (rate(http_requests_total{code=~"5.."}[5m])) / sum by (namespace, service) (rate(http_requests_total[5m])) > 0.05',
    labels: { severity: "critical" },
  });
  prometheus.answer((expr) =>
    expr.includes("http_requests_total")
      ? [{ metric: { namespace: NAMESPACE, service: NAME }, value: errorShare(kubernetes) }]
      : null,
  );
  const port = await freePort();
  const alertmanager: Alertmanager = await startAlertmanager({
    webhook: `http://127.0.0.1:${port}/webhooks/alertmanager`,
    token: "demo-token",
  });
  cleanup.push(() => alertmanager.stop());
  for (const [file, token] of [
    ["front", READ_TOKEN],
    ["hands", HANDS_TOKEN],
  ] as const)
    writeFileSync(join(dir, `${file}.kubeconfig`), kubernetes.kubeconfig(token), { mode: 0o600 });

  const children = new Set<ChildProcess>();
  cleanup.push(() => Promise.all([...children].map(end)));
  const killFlag = join(dir, "killed");

  /** Starts one process of Nightshift; resolves when it serves. */
  async function startProcess(
    role: "front" | "hands",
    autonomy: "observe" | "approve",
    options: { kill: boolean },
  ): Promise<ChildProcess> {
    const policy = join(dir, `policy-${autonomy}.yaml`);
    writeFileSync(policy, policyFor(autonomy));
    const env: Record<string, string> = {
      PATH: process.env["PATH"] ?? "",
      NIGHTSHIFT_ROLE: role,
      NIGHTSHIFT_POLICY: policy,
      NIGHTSHIFT_HOST: "127.0.0.1",
      NIGHTSHIFT_PORT: role === "front" ? String(port) : "0",
      NIGHTSHIFT_SECRET: "the secret of this demo, and of nothing else",
      NIGHTSHIFT_WEBHOOK_TOKEN: "demo-token",
      NIGHTSHIFT_NAMESPACE: "nightshift",
      NIGHTSHIFT_DATA: dir,
      // Each autonomy has a memory of its own: what was only observed must not keep the alert from being asked about.
      NIGHTSHIFT_REDIS_PREFIX: `{demo-${autonomy}}`,
      REDIS_URL: redis.url,
      KUBECONFIG: join(dir, "front.kubeconfig"),
      KUBECONFIG_HANDS: join(dir, "hands.kubeconfig"),
      PROMETHEUS_URL: prometheus.url,
      ALERTMANAGER_URL: alertmanager.url,
      PAGERDUTY_ROUTING_KEY: "0123456789abcdef0123456789abcdef",
      PAGERDUTY_EVENTS_URL: pager.eventsUrl,
      SLACK_BOT_TOKEN: "xoxb-demo",
      SLACK_APP_TOKEN: "xapp-demo",
      SLACK_CHANNEL: "C0SRE",
      SLACK_API_URL: slack.apiUrl,
      ...(options.kill ? { DEMO_KILL_FLAG: killFlag } : {}),
      ...(process.env["DEMO_LOG"] ? { DEMO_LOG: "1" } : {}),
    };
    const self = fileURLToPath(import.meta.url);
    const worker = fileURLToPath(new URL(self.endsWith(".ts") ? "./worker.ts" : "./worker.js", import.meta.url));
    const child = fork(worker, [], {
      env,
      stdio: ["ignore", "inherit", "inherit", "ipc"],
      execArgv: self.endsWith(".ts") ? ["--import", "tsx"] : [],
    });
    children.add(child);
    child.once("exit", () => children.delete(child));
    await new Promise<void>((resolve, reject) => {
      child.once("message", (message: { ready: boolean; says?: string }) =>
        message.ready ? resolve() : reject(new Error(message.says)),
      );
      child.once("exit", (code, signal) => reject(new Error(`a process of the demo ended with ${signal ?? code}`)));
    });
    return child;
  }

  return {
    dir,
    kubernetes,
    slack,
    pager,
    prometheus,
    alertmanager,
    port,
    stop,
    startProcess,
    end,
    /** The namespace's owner opens it to the writer. */
    grant() {
      const rules = [
        { apiGroups: ["apps"], resources: ["deployments"], verbs: ["get", "patch"] },
        { apiGroups: ["apps"], resources: ["replicasets"], verbs: ["get", "list"] },
        { apiGroups: [""], resources: ["pods"], verbs: ["get", "list"] },
      ];
      kubernetes.seed({
        apiVersion: "rbac.authorization.k8s.io/v1",
        kind: "ClusterRole",
        metadata: { name: "nightshift-class-a" },
        rules,
      });
      kubernetes.seed({
        apiVersion: "rbac.authorization.k8s.io/v1",
        kind: "RoleBinding",
        metadata: { name: "nightshift-hands", namespace: NAMESPACE },
        roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: "nightshift-class-a" },
        subjects: [{ kind: "ServiceAccount", name: "nightshift-hands", namespace: "nightshift" }],
      });
    },
    /** Somebody ships revision 42. */
    async ship(): Promise<void> {
      await asColleague(
        kubernetes,
        `/apis/apps/v1/namespaces/${NAMESPACE}/deployments/${NAME}`,
        { spec: { template: { spec: { containers: [{ name: "api", image: IMAGE.bad }] } } } },
        "application/strategic-merge-patch+json",
      );
    },
    /** A colleague edits the ConfigMap: a key that this workload does not read. */
    async editConfig(value: string): Promise<void> {
      await asColleague(
        kubernetes,
        `/api/v1/namespaces/${NAMESPACE}/configmaps/${CONFIG}`,
        { data: { BANNER: value } },
        "application/merge-patch+json",
      );
    },
    /** What Prometheus would post: four rules see the one cause. */
    async fire(startsAt: string): Promise<void> {
      const pod = kubernetes.list("Pod", NAMESPACE).find((p) => p.spec.containers[0]?.image === IMAGE.bad);
      for (const alert of alertsOf(pod?.metadata.name ?? "unknown"))
        await alertmanager.post({ ...alert, startsAt, endsAt: new Date(Date.now() + 3_600_000).toISOString() });
    },
    async resolve(): Promise<void> {
      const pods = kubernetes.list("Pod", NAMESPACE).map((p) => p.metadata.name);
      for (const alert of alertsOf(pods[0] ?? "unknown"))
        await alertmanager.post({ labels: alert.labels, endsAt: new Date().toISOString() });
    },
    errorShare: () => errorShare(kubernetes),
  };
}

const reader = [
  { verbs: ["get", "list", "watch"], groups: ["*"], resources: ["*"] },
  { verbs: ["create"], groups: ["authorization.k8s.io"], resources: ["*"] },
];
const own = [
  {
    verbs: ["*"],
    groups: ["coordination.k8s.io", ""],
    resources: ["leases", "configmaps"],
    namespaces: ["nightshift"],
  },
];

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = new Promise((done) => child.once("exit", done));
  child.kill("SIGTERM");
  const timer = setTimeout(() => child.kill("SIGKILL"), 5000);
  await gone;
  clearTimeout(timer);
}

async function asColleague(kubernetes: Kubernetes, path: string, body: unknown, type: string): Promise<void> {
  const answer = await fetch(`${kubernetes.url}${path}?fieldManager=kubectl-edit`, {
    method: "PATCH",
    headers: { authorization: `Bearer ${kubernetes.adminToken}`, "content-type": type },
    body: JSON.stringify(body),
  });
  if (!answer.ok) throw new Error(`the sandbox refused: ${answer.status} ${await answer.text()}`);
}

/** Failing requests: the share of replicas that cannot answer. */
function errorShare(kubernetes: Kubernetes): number {
  const pods = kubernetes.list("Pod", NAMESPACE).filter((p) => p.metadata.labels?.app === NAME);
  const bad = pods.filter((p) => p.spec.containers[0]?.image === IMAGE.bad).length;
  return pods.length === 0 ? 1 : Math.round((bad / pods.length) * 400) / 1000;
}

function alertsOf(pod: string) {
  const base = { cluster: CLUSTER, namespace: NAMESPACE };
  const ksm = { ...base, job: "kube-state-metrics", severity: "warning" };
  const stable = pod.replace(/-[a-z0-9]+$/, "");
  return [
    {
      labels: { alertname: "HighErrorRate", ...base, service: NAME, severity: "critical" },
      annotations: { summary: "40% of requests to mcp-typescript-api fail" },
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

function policyFor(autonomy: "observe" | "approve"): string {
  const target = "target: { kind: Deployment, namespace: $labels.namespace, name: $labels.deployment }";
  return `apiVersion: nightshift.dev/v1
clusters: [{ name: ${CLUSTER}, namespaces: [${NAMESPACE}] }]
protected: [kube-system, monitoring]
defaults: { approval: { from: ["slack-user:${YOU}"], expires: 10m } }
verify: { samples: 4, every: 1s, bake: 0s }
rules:
  - name: bad-deploy
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
    ${target}
`;
}

/** Three services as the platform guide has them; revision 41 has run for six days. */
function seed(kubernetes: Kubernetes): void {
  const old = new Date(Date.now() - 6 * DAY_MS).toISOString().replace(/\.\d+Z$/, "Z");
  kubernetes.seed({
    apiVersion: "v1",
    kind: "ConfigMap",
    metadata: { name: CONFIG, namespace: NAMESPACE, creationTimestamp: old },
    data: { LOG_LEVEL: "info", DATABASE_HOST: "postgres" },
  });
  const services = [
    { name: NAME, image: IMAGE.good, replicas: 3, port: 3000 },
    { name: "mcp-learning-system", image: "ghcr.io/your-org/mcp-learning-system:v1.0.0", replicas: 2, port: 8001 },
    { name: "mcp-rust-server", image: "ghcr.io/your-org/mcp-rust-server:v1.0.0", replicas: 3, port: 8002 },
  ];
  for (const service of services) {
    const labels = { app: service.name };
    const env =
      service.name === NAME
        ? {
            env: ["LOG_LEVEL", "DATABASE_HOST"].map((key) => ({
              name: key,
              valueFrom: { configMapKeyRef: { name: CONFIG, key } },
            })),
          }
        : {};
    const template = {
      metadata: { labels },
      spec: { containers: [{ name: "api", image: service.image, ports: [{ containerPort: service.port }], ...env }] },
    };
    const deployment = kubernetes.seed({
      apiVersion: "apps/v1",
      kind: "Deployment",
      metadata: {
        name: service.name,
        namespace: NAMESPACE,
        creationTimestamp: old,
        labels,
        annotations: { "deployment.kubernetes.io/revision": "41" },
      },
      spec: {
        replicas: service.replicas,
        progressDeadlineSeconds: 600,
        revisionHistoryLimit: 10,
        selector: { matchLabels: labels },
        template,
        strategy: { type: "RollingUpdate", rollingUpdate: { maxUnavailable: 1, maxSurge: 1 } },
      },
    });
    const hash = "6f9c8d7b54";
    const owner = {
      apiVersion: "apps/v1",
      kind: "Deployment",
      name: service.name,
      uid: deployment.metadata.uid,
      controller: true,
      blockOwnerDeletion: true,
    };
    const hashed = { ...labels, "pod-template-hash": hash };
    kubernetes.seed({
      apiVersion: "apps/v1",
      kind: "ReplicaSet",
      metadata: {
        name: `${service.name}-${hash}`,
        namespace: NAMESPACE,
        creationTimestamp: old,
        labels: hashed,
        annotations: { "deployment.kubernetes.io/revision": "41" },
        ownerReferences: [owner],
      },
      spec: {
        replicas: service.replicas,
        selector: { matchLabels: hashed },
        template: { ...deployment.spec.template, metadata: { ...deployment.spec.template.metadata, labels: hashed } },
      },
    });
    kubernetes.seed({
      apiVersion: "v1",
      kind: "Service",
      metadata: { name: `${service.name}-service`, namespace: NAMESPACE },
      spec: { selector: labels, ports: [{ port: service.port }] },
    });
  }
}
