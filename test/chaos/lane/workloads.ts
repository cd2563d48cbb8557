/** The workloads of one seed: sick in the way that their runbook mends, and the question whether they still are. */
import type { Raw } from "../../../sandbox/kubernetes/kinds.js";
import type { Kubernetes } from "../../../sandbox/kubernetes/kubernetes.js";
import { until } from "../../harness/processes.js";
import type { Step } from "../story/nemeses.js";

export const REPLICAS = 3;
/** Ready pods that a person would insist on. */
export const FLOOR = 2;
const HOUR_MS = 3600_000;
const RESTARTED = "kubectl.kubernetes.io/restartedAt";

export interface Workload {
  namespace: string;
  name: string;
  step: Step;
  uid: string;
  /** The pod that the alert names. */
  pod: { name: string; uid: string };
}

const ago = (ms: number) => `${new Date(Date.now() - ms).toISOString().slice(0, 19)}Z`;

function templateOf(name: string, tag: string): Raw {
  return {
    metadata: { labels: { app: name } },
    spec: {
      containers: [{ name: "main", image: `registry.example/${name}:${tag}`, env: [{ name: "RELEASE", value: tag }] }],
    },
  };
}

export async function seedWorkload(
  k: Kubernetes,
  of: { namespace: string; name: string; step: Step },
): Promise<Workload> {
  const { namespace, name, step } = of;
  const labels = { app: name };
  k.seed({
    apiVersion: "v1",
    kind: "Service",
    metadata: { namespace, name },
    spec: { selector: labels, ports: [{ port: 80 }] },
  });
  const spec = { replicas: REPLICAS, progressDeadlineSeconds: 600, selector: { matchLabels: labels } };
  const created = k.seed({
    apiVersion: "apps/v1",
    kind: "Deployment",
    metadata: { namespace, name, creationTimestamp: ago(HOUR_MS) },
    spec: { ...spec, template: templateOf(name, "good") },
  });
  const live = () => k.get("Deployment", namespace, name) as Raw;
  await until(`${name} to be ready`, async () => live().status?.readyReplicas === REPLICAS, 10_000);
  for (const set of k.list("ReplicaSet", namespace))
    if (set.metadata.labels?.app === name)
      k.seed({ ...set, metadata: { ...set.metadata, creationTimestamp: ago(HOUR_MS) } });
  if (step === "roll-back") {
    const now = live();
    const generation = (now.metadata.generation as number) + 1;
    k.seed({
      ...now,
      metadata: { ...now.metadata, generation },
      spec: { ...now.spec, template: templateOf(name, "crash") },
    });
    await until(`the bad release of ${name}`, async () => (live().status?.unavailableReplicas ?? 0) > 0, 10_000);
  }
  const [pod] = k.list("Pod", namespace).filter((one) => one.metadata.labels?.app === name);
  return {
    namespace,
    name,
    step,
    uid: created.metadata.uid,
    pod: { name: pod?.metadata.name ?? "", uid: pod?.metadata.uid ?? "" },
  };
}

/** Whether what its alert complains about is still so. */
export function isSick(k: Kubernetes, of: Workload): boolean {
  const live = k.get("Deployment", of.namespace, of.name);
  const template = live?.spec?.template;
  switch (of.step) {
    case "roll-back":
      return !String(template?.spec.containers[0].image).endsWith(":good");
    case "restart":
      return template?.metadata.annotations?.[RESTARTED] === undefined;
    case "scale":
      return (live?.spec?.replicas ?? 0) <= REPLICAS;
    case "evict":
      return k.list("Pod", of.namespace).some((pod) => pod.metadata.uid === of.pod.uid);
  }
}

/** Whether the controllers have done what the spec says; a crashing release never settles. */
export function isSettled(k: Kubernetes, of: Workload): boolean {
  const { metadata, spec, status } = k.get("Deployment", of.namespace, of.name) as Raw;
  return (
    status?.observedGeneration === metadata.generation &&
    status?.updatedReplicas === spec.replicas &&
    status?.readyReplicas === spec.replicas &&
    status?.replicas === spec.replicas
  );
}

/** What a person would write who changes the very thing that the plan depends on. */
export function humanEdit(of: Workload): Record<string, unknown> {
  // They mend it by hand: whoever scales then would scale from another number.
  if (of.step === "scale") return { spec: { replicas: REPLICAS + 1 } };
  const main = of.step === "roll-back" ? "crash" : "good";
  const env = [{ name: "RELEASE", value: "edited-by-hand" }];
  const containers = [{ name: "main", image: `registry.example/${of.name}:${main}`, env }];
  return { spec: { template: { spec: { containers } } } };
}

/** What a person would write who takes our change back, annotations and all. */
export function humanRevert(of: Workload): Record<string, unknown> {
  const annotations = { "nightshift.dev/last-op": null, "nightshift.dev/fence": null };
  if (of.step === "scale") return { metadata: { annotations }, spec: { replicas: REPLICAS } };
  if (of.step === "restart")
    return { metadata: { annotations }, spec: { template: { metadata: { annotations: { [RESTARTED]: null } } } } };
  const env = [{ name: "RELEASE", value: "crash" }];
  const containers = [{ name: "main", image: `registry.example/${of.name}:crash`, env }];
  return { metadata: { annotations }, spec: { template: { spec: { containers } } } };
}
