/**
 * For every remedy the world in which the matrix plays it: what is there, what fires, when it is mended, and what a person
 * would do who takes the effect back. A new runbook needs an entry here: the matrix says so.
 */
import { until } from "../../harness/processes.js";
import { deploy } from "../../harness/world.js";
import { NAMESPACE, ref, type Stage } from "./stage.js";

export interface CrashWorld {
  runbook: string;
  /** One word for names and rows: lower case, digits and dashes. */
  name: string;
  alertname: string;
  kind: "Deployment" | "StatefulSet" | "DaemonSet";
  /** Lines of the rule beside match, runbook and target. */
  autonomy: "auto" | "approve";
  step: string;
  /** A world in which the change does not help, and the step that takes it back. */
  undo?: string;
  /** Its object's generation never moves: once another has written it, it cannot be told what became of an intent. */
  uncounted?: true;
  /** Labels beside alertname, namespace, severity and name. */
  labels?(stage: Stage, name: string): Promise<Record<string, string>>;
  build(stage: Stage, name: string): Promise<void>;
  /** Whether the effect has done its work; in a world in which it does not help, whether it is seen that it does not. */
  worked(stage: Stage, name: string): Promise<boolean>;
  /** Whether an effect that the world counted is this incident's. */
  mine(effect: { kind: string; name: string }, name: string): boolean;
  /** What a person does who takes the effect back; absent where nobody can. */
  takeBack?(stage: Stage, name: string): Promise<void>;
}

const exactly = (kind: string) => (effect: { kind: string; name: string }, name: string) =>
  effect.name === name && (effect.kind === kind || effect.kind === "Deployment");
const image = (object: { spec?: { template: { spec: { containers: { image: string }[] } } } } | null) =>
  object?.spec?.template.spec.containers[0]?.image ?? "";

const rollback: CrashWorld = {
  runbook: "rollback-deployment",
  name: "rollback",
  alertname: "BadDeploy",
  kind: "Deployment",
  autonomy: "auto",
  step: "roll-back",
  async build(stage, name) {
    const of = { namespace: NAMESPACE, name };
    await deploy(stage.k, { ...of, tag: "good" });
    await available(stage, name, 2);
    // Creation times have whole seconds: the bad release must be younger by one.
    await new Promise((done) => setTimeout(done, 1100));
    await deploy(stage.k, { ...of, tag: "crash" });
    await until(
      "the bad release",
      async () => ((await stage.get("Deployment", name))?.status?.unavailableReplicas ?? 0) > 0,
    );
  },
  worked: async (stage, name) =>
    image(await stage.get("Deployment", name)).endsWith(":good") &&
    (await stage.get("Deployment", name))?.status?.availableReplicas === 2,
  mine: exactly("Deployment"),
  async takeBack(stage, name) {
    // What `kubectl rollout undo` sends: the other revision's template, and the annotations as they were then.
    const live = await stage.k.get(ref("Deployment", name));
    const { "nightshift.dev/last-op": _op, "nightshift.dev/fence": _fence, ...kept } = live?.metadata.annotations ?? {};
    const template = structuredClone(live?.spec?.template);
    template.spec.containers[0].image = image(live as never).replace(/:good$/, ":crash");
    template.spec.containers[0].env = [{ name: "RELEASE", value: "crash" }];
    await stage.k.jsonPatch(ref("Deployment", name), [
      { op: "replace", path: "/spec/template", value: template },
      { op: "replace", path: "/metadata/annotations", value: kept },
    ]);
  },
};

function restart(kind: CrashWorld["kind"]): CrashWorld {
  return {
    runbook: "restart-workload",
    name: `restart-${kind.toLowerCase()}`,
    alertname: `Stuck${kind}`,
    kind,
    autonomy: kind === "StatefulSet" ? "approve" : "auto",
    step: "restart",
    build: (stage, name) => workload(stage, { kind, name, replicas: 3 }),
    async worked(stage, name) {
      const live = await stage.get(kind, name);
      return (
        live?.spec.template.metadata?.annotations?.["kubectl.kubernetes.io/restartedAt"] !== undefined &&
        live.status?.observedGeneration === live.metadata.generation
      );
    },
    mine: exactly(kind),
    async takeBack(stage, name) {
      await stage.k.jsonPatch(ref(kind, name), [
        { op: "remove", path: "/spec/template/metadata/annotations" },
        { op: "remove", path: "/metadata/annotations/nightshift.dev~1last-op" },
      ]);
    },
  };
}

const evicted = new Map<string, string>();
const eviction: CrashWorld = {
  runbook: "restart-pod",
  name: "evict",
  alertname: "SickPod",
  kind: "Deployment",
  autonomy: "approve",
  step: "evict",
  build: (stage, name) => workload(stage, { kind: "Deployment", name, replicas: 3 }),
  async labels(stage, name) {
    const [pod] = await stage.pods(name);
    evicted.set(name, pod?.metadata.uid);
    return { pod: pod?.metadata.name };
  },
  worked: async (stage, name) => {
    const pods = await stage.pods(name);
    return pods.length === 3 && !pods.some((pod) => pod.metadata.uid === evicted.get(name));
  },
  // Any pod of the workload: another one than the alert's would be just as wrong.
  mine: (effect, name) =>
    effect.kind === "Pod" &&
    effect.name.startsWith(`${name}-`) &&
    /^[a-z0-9]+-[a-z0-9]{5}$/.test(effect.name.slice(name.length + 1)),
};

const scale = (undoes: boolean): CrashWorld => ({
  runbook: "scale-deployment",
  name: undoes ? "scale-undone" : "scale",
  alertname: undoes ? "SlowStays" : "Slow",
  kind: "Deployment",
  autonomy: "auto",
  step: "scale",
  ...(undoes ? { undo: "undo:scale" } : {}),
  async build(stage, name) {
    await workload(stage, { kind: "Deployment", name, replicas: 2, doomed: undoes });
  },
  worked: (stage, name) => grown(stage, name, undoes),
  mine: exactly("Deployment"),
  takeBack: async (stage, name) => void (await stage.k.mergePatch(ref("Deployment", name), { spec: { replicas: 2 } })),
});

const autoscaled = (undoes: boolean): CrashWorld => ({
  ...scale(undoes),
  name: undoes ? "hpa-undone" : "hpa",
  alertname: undoes ? "BusyStays" : "Busy",
  uncounted: true,
  async build(stage, name) {
    await scale(undoes).build(stage, name);
    await stage.k.create({
      apiVersion: "autoscaling/v2",
      kind: "HorizontalPodAutoscaler",
      metadata: { name, namespace: NAMESPACE },
      spec: {
        minReplicas: 1,
        maxReplicas: 2,
        scaleTargetRef: { apiVersion: "apps/v1", kind: "Deployment", name },
        metrics: [
          { type: "Resource", resource: { name: "cpu", target: { type: "Utilization", averageUtilization: 70 } } },
        ],
      },
    });
  },
  async worked(stage, name) {
    if ((await stage.get("HorizontalPodAutoscaler", name))?.spec.maxReplicas !== 3) return false;
    const live = await stage.get("Deployment", name);
    // No autoscaler runs here: what it would do now is done for it.
    if (live?.spec.replicas !== 3) await stage.k.mergePatch(ref("Deployment", name), { spec: { replicas: 3 } });
    return grown(stage, name, undoes);
  },
  mine: exactly("HorizontalPodAutoscaler"),
  takeBack: async (stage, name) =>
    void (await stage.k.mergePatch(ref("HorizontalPodAutoscaler", name), { spec: { maxReplicas: 2 } })),
});

/** Three pods serve; or, where it does not help, the third is there and never will. */
async function grown(stage: Stage, name: string, undoes: boolean): Promise<boolean> {
  const live = await stage.get("Deployment", name);
  if (live?.spec.replicas !== 3) return false;
  if (!undoes) return live.status?.availableReplicas === 3;
  if (live.status?.replicas !== 3) return false;
  await stage.giveUp(name);
  return true;
}

export const worlds: readonly CrashWorld[] = [
  rollback,
  restart("Deployment"),
  restart("StatefulSet"),
  restart("DaemonSet"),
  eviction,
  scale(false),
  autoscaled(false),
  scale(true),
  autoscaled(true),
];

/** `doomed`: whatever pod comes after the first ones never becomes ready. */
async function workload(
  stage: Stage,
  of: { kind: CrashWorld["kind"]; name: string; replicas: number; doomed?: boolean },
): Promise<void> {
  const labels = { app: of.name };
  const image = `registry.example/${of.name}:${of.doomed === true ? stage.doomedTag : "v1"}`;
  const containers = [{ name: "main", image, resources: { requests: { cpu: "10m" } } }];
  await stage.k.create({
    apiVersion: "apps/v1",
    kind: of.kind,
    metadata: { name: of.name, namespace: NAMESPACE },
    spec: {
      selector: { matchLabels: labels },
      template: { metadata: { labels }, spec: { containers, terminationGracePeriodSeconds: 1 } },
      ...(of.kind === "DaemonSet" ? {} : { replicas: of.replicas }),
      ...(of.kind === "StatefulSet" ? { serviceName: of.name, podManagementPolicy: "Parallel" } : {}),
    },
  });
  if (of.doomed === true) await stage.doom(of.name, of.replicas);
  if (of.kind !== "DaemonSet") return available(stage, of.name, of.replicas, of.kind);
  await until(`${of.kind} ${of.name}`, async () => {
    const status = (await stage.get(of.kind, of.name))?.status;
    return status?.numberAvailable > 0 && status.numberAvailable === status.desiredNumberScheduled;
  });
}

async function available(stage: Stage, name: string, replicas: number, kind = "Deployment"): Promise<void> {
  await until(`${kind} ${name}`, async () => (await stage.get(kind, name))?.status?.availableReplicas === replicas);
}
