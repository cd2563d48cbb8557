/** The cluster that the matrix is played on, and the world's own count of what was done to it. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parse, stringify } from "yaml";
import type { Raw } from "../../../sandbox/kubernetes/kinds.js";
import { type Kubernetes, startKubernetes } from "../../../sandbox/kubernetes/kubernetes.js";
import { createKubernetes, type KubernetesClient } from "../../../src/clients/kubernetes.js";
import { systemClock } from "../../../src/clock.js";
import { type Plane, startPlane } from "../../cluster/plane.js";
import { until } from "../../harness/processes.js";
import { rawApi } from "../../harness/raw-api.js";
import { keepSets } from "./sets.js";

export const NAMESPACE = "crashes";
export const HANDS = "system:serviceaccount:nightshift:nightshift-hands";

/** One write of Nightshift's that the API server took; fences and dry runs are none. */
export interface Effect {
  kind: string;
  name: string;
  /** The step that the operation's key on the object names; null for an eviction, which carries none. */
  step: string | null;
}

export interface Stage {
  /** The stand-in itself; null where the cluster is a real one. */
  kubernetes: Kubernetes | null;
  k: KubernetesClient;
  kubeconfig: string;
  handsKubeconfig: string;
  get(kind: string, name: string): Promise<Raw | null>;
  /** Pods whose label `app` is this. */
  pods(app: string): Promise<Raw[]>;
  effects(): Effect[];
  leases(): Promise<Raw[]>;
  /** Tag of an image whose pods can be doomed. */
  doomedTag: string;
  /** Once this many of its pods are ready: those that are made from now on never become so. */
  doom(app: string, ready: number): Promise<void>;
  /** Its rollout says what the controller would say once its progress deadline has passed. */
  giveUp(app: string): Promise<void>;
  stop(): Promise<void>;
}

const apiVersions: Record<string, string> = {
  Deployment: "apps/v1",
  StatefulSet: "apps/v1",
  DaemonSet: "apps/v1",
  HorizontalPodAutoscaler: "autoscaling/v2",
};

export const ref = (kind: string, name: string) => ({
  apiVersion: apiVersions[kind] ?? "v1",
  kind,
  namespace: NAMESPACE,
  name,
});

export async function startStandIn(of: { tickMs?: number } = {}): Promise<Stage> {
  const doomed = new Map<string, Set<string>>();
  const kubernetes: Kubernetes = await startKubernetes({
    ...of,
    nodes: Array.from({ length: 8 }, (_, i) => `node-${i + 1}`),
    namespaces: [NAMESPACE, "nightshift"],
    // What is written is counted by who wrote it; the hands have the rights of their role and no more.
    identities: [{ token: "hands", user: HANDS, rules: handsRules }],
    behaviour: (pod) =>
      doomed.get(pod.metadata.labels?.app ?? "")?.has(pod.metadata.uid) === false ? { kind: "unready" } : null,
  });
  const dir = mkdtempSync(join(tmpdir(), "crash-stage-"));
  const write = (name: string, text: string) => {
    writeFileSync(join(dir, name), text);
    return join(dir, name);
  };
  const kubeconfig = write("kubeconfig", kubernetes.kubeconfig());
  const k = await createKubernetes({ kubeconfig, clock: systemClock, fieldManager: "kubectl-test" });
  const podsOf = (app: string) => kubernetes.list("Pod", NAMESPACE).filter((pod) => pod.metadata.labels?.app === app);
  const sets = keepSets(kubernetes, NAMESPACE);
  return {
    kubernetes,
    k,
    kubeconfig,
    handsKubeconfig: write("hands", kubernetes.kubeconfig("hands")),
    get: async (kind, name) => kubernetes.get(kind, NAMESPACE, name) ?? null,
    pods: async (app) => podsOf(app),
    effects: () =>
      kubernetes
        .writes()
        .filter((entry) => entry.user === HANDS && entry.namespace === NAMESPACE && entry.changed && !entry.fenceOnly)
        .map(({ kind, name, op, subresource }) => ({
          kind,
          name,
          step: subresource === "eviction" || op === null ? null : (JSON.parse(op) as { step: string }).step,
        })),
    leases: async () => kubernetes.list("Lease", "nightshift"),
    doomedTag: "v1",
    async doom(app, ready) {
      const readyNow = () => kubernetes.get("Deployment", NAMESPACE, app)?.status?.readyReplicas;
      await until(`${app} to be ready`, async () => readyNow() === ready);
      doomed.set(app, new Set(podsOf(app).map((pod) => pod.metadata.uid as string)));
    },
    async giveUp(app) {
      const live = kubernetes.get("Deployment", NAMESPACE, app);
      if (live) kubernetes.seed({ ...live, status: { ...live.status, conditions: [GAVE_UP] } });
    },
    async stop() {
      sets.stop();
      await k.close();
      await kubernetes.stop();
      rmSync(dir, { recursive: true, force: true });
    },
  };
}

const GAVE_UP = { type: "Progressing", status: "False", reason: "ProgressDeadlineExceeded", message: "timed out" };

const rule = (verbs: string, groups: string[], resources: string[], namespaces?: string[]) => ({
  verbs: verbs.split(" "),
  groups,
  resources,
  ...(namespaces === undefined ? {} : { namespaces }),
});

const handsRules = [
  rule("get list watch", ["*"], ["*"]),
  rule("patch", ["apps"], ["deployments", "statefulsets", "daemonsets"], [NAMESPACE]),
  rule("patch", ["autoscaling"], ["horizontalpodautoscalers"], [NAMESPACE]),
  rule("create", [""], ["pods/eviction"], [NAMESPACE]),
  rule("get list create update", ["coordination.k8s.io"], ["leases"], ["nightshift"]),
  rule("get create update", [""], ["configmaps"], ["nightshift"]),
];

/** The real API server of test/cluster; its audit log counts. */
export async function startReal(): Promise<Stage> {
  const plane: Plane = await startPlane();
  const k = await createKubernetes({ kubeconfig: plane.kubeconfig, clock: systemClock, fieldManager: "kubectl-test" });
  await k.create({ apiVersion: "v1", kind: "Namespace", metadata: { name: NAMESPACE } }).catch(() => undefined);
  const dir = mkdtempSync(join(tmpdir(), "crash-stage-"));
  const handsKubeconfig = join(dir, "hands");
  const admin = rawApi(plane.kubeconfig);
  const podsOf = async (app: string) =>
    (await k.list({ apiVersion: "v1", kind: "Pod", namespace: NAMESPACE, labelSelector: `app=${app}` })) as Raw[];
  async function patchStatus(path: string, status: Raw): Promise<void> {
    const answer = await admin.mergePatch(`${path}/status`, { status });
    if (answer !== 200) throw new Error(`${path}/status was answered with ${answer}`);
  }
  writeFileSync(handsKubeconfig, asHands(plane.kubeconfig));
  return {
    kubernetes: null,
    k,
    kubeconfig: plane.kubeconfig,
    handsKubeconfig,
    get: (kind, name) => k.get(ref(kind, name)) as Promise<Raw | null>,
    pods: podsOf,
    effects: () =>
      plane.auditLog().flatMap((line): Effect[] => {
        const { resource = "", name = "", namespace, subresource } = line.objectRef ?? {};
        const kind = kinds[resource];
        const took = (line.responseStatus?.code ?? 500) < 300 && line.userAgent === "nightshift";
        const body = JSON.stringify(line.requestObject ?? null);
        const dry = line.requestURI.includes("dryRun") || body.includes("dryRun");
        if (kind === undefined || namespace !== NAMESPACE || !took || dry) return [];
        if (line.verb === "create" && subresource === "eviction") return [{ kind, name, step: null }];
        // A fence is a merge patch; an effect is a list of operations that stamps its step on the object.
        const step = /\\"step\\":\\"([a-z:-]+)\\"/.exec(body)?.[1];
        return line.verb === "patch" && step !== undefined ? [{ kind, name, step }] : [];
      }),
    leases: async () =>
      (await k.list({
        apiVersion: "coordination.k8s.io/v1",
        kind: "Lease",
        namespace: "nightshift",
      })) as Raw[],
    // Its pods run and never become ready by themselves: the first ones are made so by hand.
    doomedTag: "unready",
    async doom(app, ready) {
      const pods = await until(`the pods of ${app}`, async () => {
        const all = await podsOf(app);
        return all.length === ready && all.every((pod) => pod.status?.phase === "Running") && all;
      });
      for (const pod of pods)
        await patchStatus(`/api/v1/namespaces/${NAMESPACE}/pods/${pod.metadata.name}`, readied(pod));
    },
    async giveUp(app) {
      const live = await k.get(ref("Deployment", app));
      const conditions = ((live?.status as Raw | undefined)?.["conditions"] ?? []) as Raw[];
      const said = conditions.find((one) => one["type"] === GAVE_UP.type);
      if (live === null || said?.["reason"] === GAVE_UP.reason) return;
      const others = conditions.filter((one) => one !== said);
      const now = { lastUpdateTime: new Date().toISOString(), lastTransitionTime: new Date().toISOString() };
      await patchStatus(`/apis/apps/v1/namespaces/${NAMESPACE}/deployments/${app}`, {
        conditions: [...others, { ...GAVE_UP, ...now }],
      });
    },
    async stop() {
      await admin.close();
      await k.close();
      await plane.stop();
      rmSync(dir, { recursive: true, force: true });
    },
  };
}

/** The kubeconfig of the writer's ServiceAccount, with the rights of its role and no more: made as an administrator would. */
function asHands(admin: string): string {
  const roles = { apiVersion: "rbac.authorization.k8s.io/v1", kind: "ClusterRole", metadata: { name: "crash-hands" } };
  const rules = handsRules.map(({ verbs, groups, resources }) => ({ verbs, apiGroups: groups, resources }));
  const subjects = [{ kind: "ServiceAccount", name: "nightshift-hands", namespace: "nightshift" }];
  const items = [
    { apiVersion: "v1", kind: "Namespace", metadata: { name: "nightshift" } },
    { apiVersion: "v1", kind: "ServiceAccount", metadata: { name: "nightshift-hands", namespace: "nightshift" } },
    { ...roles, rules },
    {
      ...roles,
      kind: "ClusterRoleBinding",
      roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: "crash-hands" },
      subjects,
    },
  ];
  kubectl(admin, ["apply", "-f", "-"], JSON.stringify({ apiVersion: "v1", kind: "List", items }));
  const token = kubectl(admin, ["create", "token", "nightshift-hands", "-n", "nightshift"]).trim();
  const config = parse(readFileSync(admin, "utf8")) as { users: { user: Record<string, string> }[] };
  for (const one of config.users) one.user = { token };
  return stringify(config);
}

function kubectl(kubeconfig: string, args: string[], input?: string): string {
  const ran = spawnSync("kubectl", ["--kubeconfig", kubeconfig, ...args], { input, encoding: "utf8" });
  if (ran.status !== 0) throw new Error(`kubectl ${args.join(" ")} ended with ${ran.status}: ${ran.stderr}`);
  return ran.stdout;
}

const kinds: Record<string, string> = {
  deployments: "Deployment",
  statefulsets: "StatefulSet",
  daemonsets: "DaemonSet",
  horizontalpodautoscalers: "HorizontalPodAutoscaler",
  pods: "Pod",
};

/** What the kubelet would say of a pod whose containers are all ready. */
function readied(pod: Raw): Raw {
  const lastTransitionTime = `${new Date().toISOString().slice(0, 19)}Z`;
  const conditions = ["PodScheduled", "Initialized", "ContainersReady", "Ready"].map((type) => {
    return { type, status: "True", lastTransitionTime };
  });
  const containerStatuses = ((pod.status?.containerStatuses ?? []) as Raw[]).map((one) => ({ ...one, ready: true }));
  return { conditions, containerStatuses };
}
