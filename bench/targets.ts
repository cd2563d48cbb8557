/** Deployments to act on, and when the first write reached each: seen by a watch, as a bystander would. */
import { request } from "undici";
import { createKubernetes, type KubernetesClient } from "../src/clients/kubernetes.js";
import { loadAuth } from "../src/clients/kubernetes-auth.js";
import { systemClock } from "../src/clock.js";
import { until } from "../sandbox/processes.js";

export const NAMESPACES = ["shop-0", "shop-1", "shop-2", "shop-3", "shop-4", "shop-5"];
const LAST_OP = "nightshift.dev/last-op";

export interface TargetRef {
  namespace: string;
  name: string;
}

export function targetsOf(prefix: string, count: number): TargetRef[] {
  return Array.from({ length: count }, (_, i) => ({
    namespace: NAMESPACES[i % NAMESPACES.length] ?? "",
    name: `${prefix}-${i}`,
  }));
}

/** Creates them, one ready pod each, and waits until the cluster has settled. */
export async function createTargets(k: KubernetesClient, targets: readonly TargetRef[]): Promise<void> {
  for (const name of NAMESPACES)
    await k.create({ apiVersion: "v1", kind: "Namespace", metadata: { name } }).catch(() => undefined);
  for (const { namespace, name } of targets) {
    const labels = { app: name };
    const containers = [{ name: "main", image: `registry.example/${name}:v1` }];
    await k.create({
      apiVersion: "apps/v1",
      kind: "Deployment",
      metadata: { namespace, name },
      spec: {
        replicas: 1,
        selector: { matchLabels: labels },
        template: { metadata: { labels }, spec: { containers } },
      },
    });
  }
  const names = new Set(targets.map((target) => target.name));
  await until(
    "the targets to settle",
    async () => {
      const all = (
        await Promise.all(
          NAMESPACES.map((namespace) => k.list({ apiVersion: "apps/v1", kind: "Deployment", namespace })),
        )
      ).flat();
      return all.filter((d) => names.has(d.metadata.name) && d.status?.availableReplicas === 1).length === names.size;
    },
    120_000,
  );
}

const admin = (kubeconfig: string): Promise<KubernetesClient> =>
  createKubernetes({ kubeconfig, clock: systemClock, fieldManager: "bench" });

const RBAC = "rbac.authorization.k8s.io/v1";
const HANDS = "nightshift-hands";

/** The namespace of the Leases, rights for the hands where they run apart, and the targets, ready. The caller closes the client. */
export async function prepare(kubeconfig: string, targets: readonly TargetRef[]): Promise<KubernetesClient> {
  const k = await admin(kubeconfig);
  await k.create({ apiVersion: "v1", kind: "Namespace", metadata: { name: "nightshift" } }).catch(() => undefined);
  await allowHands(kubeconfig);
  await createTargets(k, targets);
  return k;
}

/** What the product's own client does not do: kinds of RBAC but bindings, and deleting anything. */
async function asAdmin(
  kubeconfig: string,
  calls: readonly { method: "POST" | "DELETE"; path: string; body?: object }[],
): Promise<void> {
  const auth = await loadAuth({ kubeconfig, clock: systemClock });
  const { agent, headers } = await auth.present();
  for (const { method, path, body } of calls) {
    const answer = await request(auth.server + path, {
      dispatcher: agent,
      method,
      headers: { ...headers, "content-type": "application/json" },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const text = await answer.body.text();
    if (answer.statusCode >= 300) throw new Error(`${method} ${path}: ${answer.statusCode} ${text}`);
  }
  await auth.close();
}

export async function removeTargets(kubeconfig: string, targets: readonly TargetRef[]): Promise<void> {
  await asAdmin(
    kubeconfig,
    targets.map(({ namespace, name }) => ({
      method: "DELETE" as const,
      path: `/apis/apps/v1/namespaces/${namespace}/deployments/${name}?propagationPolicy=Background`,
    })),
  );
}

/** What was done is kept in the budgets for a day, and read with every run. */
export async function forgetBudgets(kubeconfig: string): Promise<void> {
  const path = "/apis/coordination.k8s.io/v1/namespaces/nightshift/leases/nightshift-budget";
  await asAdmin(kubeconfig, [{ method: "DELETE", path }]);
}

async function allowHands(kubeconfig: string): Promise<void> {
  const rules = [{ verbs: ["*"], apiGroups: ["*"], resources: ["*"] }];
  const roleRef = { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: HANDS };
  const subjects = [{ kind: "ServiceAccount", namespace: "nightshift", name: HANDS }];
  const role = { apiVersion: RBAC, kind: "ClusterRole", metadata: { name: HANDS }, rules };
  const binding = { apiVersion: RBAC, kind: "ClusterRoleBinding", metadata: { name: HANDS }, roleRef, subjects };
  await asAdmin(kubeconfig, [
    { method: "POST", path: `/apis/${RBAC}/clusterroles`, body: role },
    { method: "POST", path: `/apis/${RBAC}/clusterrolebindings`, body: binding },
  ]);
}

export interface FirstWrites {
  /** Milliseconds of performance.now(), by `namespace/name`. */
  seen: ReadonlyMap<string, number>;
  stop(): Promise<void>;
}

/** Watches every Deployment; the first version that carries an operation's key is the first write. */
export async function watchFirstWrites(kubeconfig: string): Promise<FirstWrites> {
  const auth = await loadAuth({ kubeconfig, clock: systemClock });
  const { agent, headers } = await auth.present();
  const halt = new AbortController();
  const path = "/apis/apps/v1/deployments";
  const list = await request(`${auth.server}${path}?limit=1`, { dispatcher: agent, headers });
  const { metadata } = (await list.body.json()) as { metadata: { resourceVersion: string } };
  const seen = new Map<string, number>();
  const answer = await request(`${auth.server}${path}?watch=1&resourceVersion=${metadata.resourceVersion}`, {
    dispatcher: agent,
    headers,
    signal: halt.signal,
    bodyTimeout: 0,
  });
  const read = async () => {
    let rest = "";
    for await (const chunk of answer.body as AsyncIterable<Buffer>) {
      const at = performance.now();
      const lines = (rest + chunk.toString()).split("\n");
      rest = lines.pop() ?? "";
      for (const line of lines) {
        if (!line.includes(LAST_OP)) continue;
        const { object } = JSON.parse(line) as { object: { metadata: TargetRef & { annotations?: object } } };
        const key = `${object.metadata.namespace}/${object.metadata.name}`;
        if (LAST_OP in (object.metadata.annotations ?? {}) && !seen.has(key)) seen.set(key, at);
      }
    }
  };
  const reading = read().catch(() => undefined);
  return {
    seen,
    async stop() {
      halt.abort();
      await reading;
      await auth.close();
    },
  };
}
