/** The workloads of one seed: sick in the way that their runbook mends, and the question whether they still are. */
import type { Raw } from "../../../sandbox/kubernetes/kinds.js";
import type { Kubernetes } from "../../../sandbox/kubernetes/kubernetes.js";
import { until } from "../../harness/processes.js";
import type { RawApi } from "../../harness/raw-api.js";
import type { Step } from "../story/nemeses.js";

export const REPLICAS = 3;
/** Ready pods that a person would insist on. */
export const FLOOR = 2;
const HOUR_MS = 3600_000;
const RESTARTED = "kubectl.kubernetes.io/restartedAt";

export interface WorkloadOf {
  namespace: string;
  name: string;
  step: Step;
}

export interface Workload extends WorkloadOf {
  uid: string;
  /** The pod that the alert names. */
  pod: { name: string; uid: string };
}

/** What can be looked at without asking. */
export type Seen = Pick<Kubernetes, "get" | "list">;

const ago = (ms: number) => `${new Date(Date.now() - ms).toISOString().slice(0, 19)}Z`;

function templateOf(name: string, tag: string): Raw {
  return {
    metadata: { labels: { app: name } },
    spec: {
      containers: [{ name: "main", image: `registry.example/${name}:${tag}`, env: [{ name: "RELEASE", value: tag }] }],
    },
  };
}

function serviceOf({ namespace, name }: WorkloadOf): Raw {
  const spec = { selector: { app: name }, ports: [{ port: 80 }] };
  return { apiVersion: "v1", kind: "Service", metadata: { namespace, name }, spec };
}

function deploymentOf({ namespace, name }: WorkloadOf): Raw {
  return {
    apiVersion: "apps/v1",
    kind: "Deployment",
    metadata: { namespace, name },
    spec: {
      replicas: REPLICAS,
      progressDeadlineSeconds: 600,
      selector: { matchLabels: { app: name } },
      template: templateOf(name, "good"),
    },
  };
}

/** The pod that the alert names. */
function podOf(k: Seen, { namespace, name }: WorkloadOf): Workload["pod"] {
  const [pod] = k.list("Pod", namespace).filter((one) => one.metadata.labels?.app === name);
  return { name: pod?.metadata.name ?? "", uid: pod?.metadata.uid ?? "" };
}

/** Sick an hour after it was made, all at once: on the stand-in alone. */
export async function seedWorkload(k: Kubernetes, of: WorkloadOf): Promise<Workload> {
  const { namespace, name, step } = of;
  k.seed(serviceOf(of));
  const made = deploymentOf(of);
  const created = k.seed({ ...made, metadata: { ...made.metadata, creationTimestamp: ago(HOUR_MS) } });
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
  return { ...of, uid: created.metadata.uid, pod: podOf(k, of) };
}

/** The same on a real API server, by requests. Errors: Error with the answer. */
export async function createWorkload(admin: RawApi, k: Seen, of: WorkloadOf): Promise<Workload> {
  const { namespace, name, step } = of;
  const path = `/apis/apps/v1/namespaces/${namespace}/deployments`;
  for (const [at, object] of [
    [`/api/v1/namespaces/${namespace}/services`, serviceOf(of)],
    [path, deploymentOf(of)],
  ] as const) {
    const answer = await admin.ask("POST", at, object);
    if (answer.status !== 201) throw new Error(`${object.kind} ${name}: ${answer.status} ${answer.body?.message}`);
  }
  const status = () => k.get("Deployment", namespace, name)?.status;
  await until(`${name} to be ready`, async () => status()?.readyReplicas === REPLICAS, 60_000);
  if (step === "roll-back") {
    // Creation times have whole seconds: the bad release must be younger by one.
    await new Promise((done) => setTimeout(done, 1100));
    await admin.mergePatch(`${path}/${name}`, { spec: { template: templateOf(name, "crash") } });
    await until(`the bad release of ${name}`, async () => (status()?.unavailableReplicas ?? 0) > 0, 60_000);
  }
  const live = k.get("Deployment", namespace, name) as Raw;
  return { ...of, uid: live.metadata.uid, pod: podOf(k, of) };
}

/** Whether what its alert complains about is still so. */
export function isSick(k: Seen, of: Workload): boolean {
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
export function isSettled(k: Seen, of: Workload): boolean {
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
