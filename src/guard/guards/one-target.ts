import { type ClusterReader, nameOf, type ObjectRef } from "../../cluster.js";
import { isNamespaceName, isObjectName } from "../../policy/names.js";
import type { Target } from "../../target/target.js";
import { type Guard, holds, passes } from "../guard.js";

/** G06. One workload, named in full: an empty, partial or wide set is never "all of them". */
export const guard: Guard = {
  name: "one-target",
  order: 4,
  overrule: "fixed",
  summary:
    "Holds plans that touch anything but the one workload that the alert led to: itself, its autoscaler or one of its pods.",
  async evaluate({ plan, target, runbook, cluster }) {
    const no = (found: string) =>
      holds("too-many-targets", `the plan must change ${nameOf(target)} and nothing else: ${found}`, {
        expected: "one object with its UID",
        found,
      });
    if (!isObjectName(target.name) || !isNamespaceName(target.namespace) || target.uid === "")
      return no("its target is not named in full");
    if (!runbook.kinds.includes(target.kind))
      return holds("unsupported-kind", `${runbook.name} acts on ${runbook.kinds.join(", ")}`, {
        expected: runbook.kinds.join(", "),
        found: target.kind,
      });
    if (plan.target.uid !== target.uid) return no(`the plan is for UID ${plan.target.uid}`);
    if (plan.changes.length === 0 || plan.steps.length === 0) return no("it changes nothing");
    for (const { object } of plan.changes) {
      const same =
        object.uid === target.uid &&
        object.kind === target.kind &&
        object.namespace === target.namespace &&
        object.name === target.name;
      if (!same && !(await belongs(object, target, cluster))) return no(`it also changes ${nameOf(object)}`);
    }
    return passes("one object", "one object", nameOf(target));
  },
};

/** The object is the target's own autoscaler, which names it, or a pod that its selector or its ReplicaSet made. */
async function belongs(object: ObjectRef & { uid: string }, target: Target, cluster: ClusterReader): Promise<boolean> {
  if (object.namespace !== target.namespace) return false;
  const live = await cluster.get(object);
  // A pod that has left already is settled by its eviction's own look; it touches nothing else.
  if (object.kind === "Pod") return live === null || live.metadata.uid !== object.uid || madeBy(live, target, cluster);
  if (live === null || live.metadata.uid !== object.uid) return false;
  if (object.kind !== "HorizontalPodAutoscaler" && object.kind !== "ScaledObject") return false;
  const ref = live.spec?.scaleTargetRef as { kind?: string; name?: string } | undefined;
  return ref?.name === target.name && (ref.kind ?? "Deployment") === target.kind;
}

async function madeBy(
  pod: { metadata: { ownerReferences?: { kind: string; name: string; uid: string }[] } },
  target: Target,
  cluster: ClusterReader,
): Promise<boolean> {
  for (const owner of pod.metadata.ownerReferences ?? []) {
    if (owner.uid === target.uid) return true;
    if (owner.kind !== "ReplicaSet") continue;
    const set = await cluster.get({
      apiVersion: "apps/v1",
      kind: "ReplicaSet",
      namespace: target.namespace,
      name: owner.name,
    });
    if (set?.metadata.uid === owner.uid && (set.metadata.ownerReferences ?? []).some((one) => one.uid === target.uid))
      return true;
  }
  return false;
}
