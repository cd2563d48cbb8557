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

export const admin = (kubeconfig: string): Promise<KubernetesClient> =>
  createKubernetes({ kubeconfig, clock: systemClock, fieldManager: "bench" });

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
