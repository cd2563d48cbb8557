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
async function createTargets(k: KubernetesClient, targets: readonly TargetRef[]): Promise<void> {
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

/** The product's own client knows no kinds of RBAC but bindings. */
async function allowHands(kubeconfig: string): Promise<void> {
  const auth = await loadAuth({ kubeconfig, clock: systemClock });
  const { agent, headers } = await auth.present();
  const rules = [{ verbs: ["*"], apiGroups: ["*"], resources: ["*"] }];
  const roleRef = { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: HANDS };
  const subjects = [{ kind: "ServiceAccount", namespace: "nightshift", name: HANDS }];
  const role = { apiVersion: RBAC, kind: "ClusterRole", metadata: { name: HANDS }, rules };
  const binding = { apiVersion: RBAC, kind: "ClusterRoleBinding", metadata: { name: HANDS }, roleRef, subjects };
  for (const [plural, object] of [
    ["clusterroles", role],
    ["clusterrolebindings", binding],
  ] as const) {
    const answer = await request(`${auth.server}/apis/${RBAC}/${plural}`, {
      dispatcher: agent,
      method: "POST",
      headers: { ...headers, "content-type": "application/json" },
      body: JSON.stringify(object),
    });
    if (answer.statusCode >= 300) throw new Error(`${object.kind}: ${answer.statusCode} ${await answer.body.text()}`);
    await answer.body.dump();
  }
  await auth.close();
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
