import {
  budgetsOver,
  type ClusterReader,
  crashLooping,
  defineRemedy,
  digestOf,
  type Effect,
  isLeaving,
  isReady,
  type Json,
  type KubeObject,
  nameOf,
  noUndo,
  ownedBy,
  type PlanContext,
  podsOf,
  quorumLost,
  restartsOf,
  type Skip,
  skip,
  type Target,
  wantedBy,
  wouldNotStart,
  z,
} from "../src/runbook.js";

/**
 * Lets one pod of a workload leave by the Eviction API, which keeps disruption budgets; its controller makes another.
 * Which pod is the one that the alerts name, and it must be the workload's own: never a choice, never more than one.
 */

interface Facts extends Record<string, Json> {
  pod: { name: string; uid: string };
}

export const runbook = defineRemedy<Record<string, never>, Facts>({
  name: "restart-pod",
  version: 1,
  summary: "Evicts the one pod that the alert names; its controller makes another.",
  kinds: ["Deployment", "StatefulSet", "DaemonSet"],
  params: z.strictObject({}),
  risk: "B",
  needs: [
    { verb: "create", group: "", resource: "pods", subresource: "eviction" },
    { verb: "get", group: "", resource: "pods" },
    { verb: "list", group: "", resource: "pods" },
    { verb: "list", group: "policy", resource: "poddisruptionbudgets" },
  ],
  diagnosis: "diagnose-pods",
  giveUpAfterMs: 5 * 60_000,
  onFailed: "stop",
  undo: noUndo("an evicted pod does not come back: its controller makes another in its place"),

  async plan(context) {
    const { target, cluster } = context;
    const name = nameOf(target);
    const live = await cluster.get(target);
    if (live === null) return skip("target-not-found", `${name} is gone`);
    const pods = await podsOf(target, live, cluster);
    const found = named(context, pods);
    if ("skip" in found) return found;
    const { pod } = found;
    const refused = unfit(name, pod, { live, pods }) ?? (await couldNotStart(target, { pod, pods, cluster }));
    if (refused !== null) return refused;

    const ref = refTo(target, { name: pod.metadata.name, uid: pod.metadata.uid });
    const budgets = await budgetsOver(target.namespace, pod.metadata.labels ?? {}, cluster);
    const others = pods.filter((one) => one.metadata.uid !== pod.metadata.uid && isReady(one)).length;
    return {
      sentence: `Restart Pod ${target.namespace}/${pod.metadata.name} of ${name} by eviction`,
      verb: "restart pod",
      changes: [
        {
          object: ref,
          field: "/metadata/deletionTimestamp",
          from: `${isReady(pod) ? "ready" : "not ready"}, ${restartsOf(pod)} restarts`,
          to: "leaves; its controller makes another",
          fromDigest: digestOf(pod.metadata.uid),
          toDigest: digestOf(null),
        },
      ],
      loses: `what the pod holds in memory${live.kind === "StatefulSet" ? ", and its membership until it is back" : ""}`,
      takes: "about 1 min",
      undo: "not possible",
      steps: ["evict"],
      undoSteps: [],
      facts: { pod: { name: pod.metadata.name, uid: pod.metadata.uid } },
      evidence: [
        `${others} other pods of ${wantedBy(live)} are ready`,
        budgets.length === 0
          ? "no disruption budget covers it"
          : `disruption budgets: ${budgets.map((budget) => `${budget.name} allows ${budget.allowed}`).join(", ")}; the API server decides`,
      ],
    };
  },

  async execute({ target, plan, step }) {
    await step(
      "evict",
      async (): Promise<Effect> => ({
        object: refTo(target, plan.facts.pod),
        evict: true,
        changed: () => null,
      }),
    );
  },

  async verify({ target, plan, cluster, symptom }) {
    const live = await cluster.get(target);
    if (live === null || live.metadata.uid !== target.uid)
      return { world: "bad", symptom: "unknown", says: `${nameOf(target)} is gone` };
    const pods = await podsOf(target, live, cluster);
    const still = pods.some((pod) => pod.metadata.uid === plan.facts.pod.uid);
    const ready = pods.filter((pod) => isReady(pod) && !isLeaving(pod)).length;
    const want = wantedBy(live);
    const seen = await symptom();
    return {
      world: !still && ready >= want ? "good" : "waiting",
      symptom: seen.state,
      says: `${still ? `Pod ${plan.facts.pod.name} is still leaving` : "the pod has left"}, ${ready} of ${want} pods ready; ${seen.says}`,
    };
  },
});

/** The one pod that the alerts name, if it is this workload's. */
function named(context: PlanContext<unknown>, pods: readonly KubeObject[]): { pod: KubeObject } | Skip {
  const name = nameOf(context.target);
  const names = new Set(
    context.alerts.map((alert) => alert.labels["pod"]).filter((pod) => pod !== undefined && pod !== ""),
  );
  if (names.size === 0)
    return skip("missing-label", `${name}: expected a label \`pod\` that says which pod, found none`);
  if (names.size > 1)
    return skip(
      "too-many-targets",
      `${name}: the alerts name ${names.size} pods, expected one: more than one sick pod is the workload's trouble, not a pod's`,
    );
  const [wanted] = names;
  const pod = pods.find((one) => one.metadata.name === wanted);
  if (pod === undefined)
    return skip("nothing-to-do", `${name} has no pod of the alert's name any more: its controller has replaced it`);
  // A StatefulSet gives its members' names to their successors.
  const made = pod.metadata.creationTimestamp ?? "";
  const naming = context.alerts.filter((alert) => alert.labels["pod"] === wanted);
  const began = naming.map((alert) => Date.parse(alert.startsAt)).filter((time) => !Number.isNaN(time));
  if (Date.parse(made) > Math.min(...began))
    return skip(
      "nothing-to-do",
      `Pod ${wanted} was made at ${made}, after the alert began: the pod that the alert was about is replaced already, and that did not help`,
    );
  return { pod };
}

function unfit(name: string, pod: KubeObject, of: { live: KubeObject; pods: readonly KubeObject[] }): Skip | null {
  const which = `Pod ${pod.metadata.namespace ?? ""}/${pod.metadata.name}`;
  if (isLeaving(pod)) return skip("nothing-to-do", `${which} is leaving already`);
  if (pod.metadata.annotations?.["kubernetes.io/config.mirror"] !== undefined)
    return skip("unsupported-kind", `${which} is a static pod of its node: the kubelet alone restarts it`);
  if (
    !(pod.metadata.ownerReferences ?? []).some((owner) => owner.controller === true) &&
    !ownedBy(pod, of.live.metadata.uid)
  )
    return skip("unsupported-kind", `${which} has no controller: nothing would make another`);
  const loop = crashLooping(pod);
  if (loop !== null)
    return skip(
      "crash-loop",
      `${which}: container ${loop.container} already restarts by itself and dies${loop.exitCode === null ? "" : ` with exit code ${loop.exitCode}`}: the diagnosis shows what changed and its last log lines`,
    );
  const others = of.pods.filter((one) => one.metadata.uid !== pod.metadata.uid && isReady(one)).length;
  const quorum = quorumLost(of.live, others);
  if (quorum !== null) return skip("quorum", `${name}: without ${pod.metadata.name}, ${quorum}`);
  if (isReady(pod) && others === 0 && wantedBy(of.live) > 1)
    return skip("disrupted", `${which} is the only ready pod of ${name}: expected another one that serves meanwhile`);
  return null;
}

async function couldNotStart(
  target: Target,
  of: { pod: KubeObject; pods: readonly KubeObject[]; cluster: ClusterReader },
): Promise<Skip | null> {
  const { pod, pods, cluster } = of;
  const says = await wouldNotStart({ namespace: target.namespace, template: { spec: pod.spec }, pods, cluster });
  return says === null
    ? null
    : skip("would-not-start", `${nameOf(target)}: ${says}: what is stopped now would not come back`);
}

function refTo(target: Target, pod: { name: string; uid: string }) {
  return { apiVersion: "v1", kind: "Pod", namespace: target.namespace, name: pod.name, uid: pod.uid };
}
