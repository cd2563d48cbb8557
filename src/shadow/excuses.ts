/** Whether the cluster itself made a pod leave: a node that went, an eviction of the kubelet's, a preemption. Reads only. */
import { ClusterError, type ClusterReader, type KubeObject } from "../cluster.js";
import type { Excuses, SeenPod } from "./shadow.js";

/** Reasons of events that parts of the cluster write about a pod which they make leave. */
const BY_THE_CLUSTER =
  /^(TaintManagerEviction|Evicted|Preempted|Preempting|NodeNotReady|NodeShutdown|ScaleDown|EvictedByVPA|DeletingNode|Descheduled)$/;

/** For each pod that is gone: why the cluster did it, null where there is no sign of that, "?" where it cannot be told. */
export async function excusesFor(
  gone: readonly SeenPod[],
  of: { namespace: string; cluster: ClusterReader },
): Promise<Excuses> {
  if (gone.length === 0) return {};
  const { cluster, namespace } = of;
  const events = await cluster
    .list({ apiVersion: "v1", kind: "Event", namespace, fieldSelector: "involvedObject.kind=Pod" })
    .catch(forbidden);
  const nodes = await cluster.list({ apiVersion: "v1", kind: "Node", namespace: "" }).catch(forbidden);
  const out: Excuses = {};
  for (const pod of gone) {
    const event = events?.find(
      (one) =>
        (one["involvedObject"] as { uid?: string } | undefined)?.uid === pod.uid &&
        BY_THE_CLUSTER.test(String(one["reason"] ?? "")),
    );
    const node = nodes?.find((one) => one.metadata.name === pod.node);
    if (event !== undefined) out[pod.uid] = `the cluster took it away (${String(event["reason"])})`;
    else if (events === null || nodes === null) out[pod.uid] = "?";
    else if (pod.node !== "" && (node === undefined || !fit(node))) out[pod.uid] = `its node ${pod.node} was going`;
    else out[pod.uid] = null;
  }
  return out;
}

function fit(node: KubeObject): boolean {
  const conditions = (node.status?.conditions ?? []) as { type: string; status: string }[];
  return node.spec?.unschedulable !== true && conditions.some((one) => one.type === "Ready" && one.status === "True");
}

function forbidden(error: unknown): null {
  if (error instanceof ClusterError && error.forbidden) return null;
  throw error;
}
