/** Deployments, StatefulSets and DaemonSets alike: their pods, how many they want, how their rollout stands. For runbooks. */
import type { ClusterReader, KubeObject } from "../cluster.js";
import type { Json, Look } from "../runbook.js";
import type { Target } from "../target/target.js";

interface Status {
  observedGeneration?: number;
  replicas?: number;
  updatedReplicas?: number;
  readyReplicas?: number;
  availableReplicas?: number;
  currentRevision?: string;
  updateRevision?: string;
  desiredNumberScheduled?: number;
  currentNumberScheduled?: number;
  updatedNumberScheduled?: number;
  numberAvailable?: number;
  conditions?: { type: string; status?: string; reason?: string }[];
}

/** How many pods it wants. */
export function wantedBy(live: KubeObject): number {
  if (live.kind === "DaemonSet") return (live.status as Status | undefined)?.desiredNumberScheduled ?? 0;
  return (live.spec as { replicas?: number } | undefined)?.replicas ?? 1;
}

/** The workload's pods by its own selector or by ownership; a pod alone is its own. */
export async function podsOf(target: Target, live: KubeObject, cluster: ClusterReader): Promise<KubeObject[]> {
  if (target.kind === "Pod") return [live];
  const all = await podsBy(target, selectorText(live), cluster);
  return all.filter((pod) => selects(live, pod) || ownedBy(pod, target.uid));
}

/** Pods of the target's namespace that a label selector picks; all of them where it is null. */
export function podsBy(
  target: Pick<Target, "namespace">,
  labelSelector: string | null,
  cluster: ClusterReader,
): Promise<KubeObject[]> {
  const { namespace } = target;
  return cluster.list({
    apiVersion: "v1",
    kind: "Pod",
    namespace,
    ...(labelSelector === null ? {} : { labelSelector }),
  });
}

/**
 * The workload's own selector as a query, so that a namespace of thousands is not read for three pods; null where it has
 * expressions or nothing, and all must be looked at. What a workload owns has these labels: its controller lets go of the rest.
 */
export function selectorText(workload: KubeObject): string | null {
  const selector = (workload.spec?.selector ?? {}) as Selector;
  const pairs = Object.entries(selector.matchLabels ?? {});
  if ((selector.matchExpressions ?? []).length > 0 || pairs.length === 0) return null;
  return pairs.map(([key, value]) => `${key}=${value}`).join(",");
}

interface Selector {
  matchLabels?: Record<string, string>;
  matchExpressions?: unknown[];
}

export function ownedBy(object: KubeObject, uid: string): boolean {
  return (object.metadata.ownerReferences ?? []).some((owner) => owner.uid === uid);
}

/** Whether the workload's own selector picks the pod; a selector with expressions picks nothing here, ownership decides. */
function selects(workload: KubeObject, pod: KubeObject): boolean {
  const selector = (workload.spec?.selector ?? {}) as Selector;
  if ((selector.matchExpressions ?? []).length > 0) return false;
  return includesAll(pod.metadata.labels ?? {}, selector.matchLabels ?? {});
}

/** Whether `labels` has every pair of `wanted`; an empty wish picks nothing. */
export function includesAll(labels: Record<string, string>, wanted: Record<string, string>): boolean {
  const pairs = Object.entries(wanted);
  return pairs.length > 0 && pairs.every(([key, value]) => labels[key] === value);
}

export function isReady(pod: KubeObject): boolean {
  return condition(pod, "Ready")?.status === "True";
}

export function isLeaving(pod: KubeObject): boolean {
  return pod.metadata.deletionTimestamp !== undefined;
}

export interface PodCondition {
  type: string;
  status: string;
  reason?: string;
  message?: string;
  lastTransitionTime?: string;
}

export function condition(object: KubeObject, type: string): PodCondition | undefined {
  return ((object.status?.conditions ?? []) as PodCondition[]).find((one) => one.type === type);
}

interface ContainerStatus {
  name: string;
  restartCount?: number;
  state?: { waiting?: { reason?: string } };
  lastState?: { terminated?: { exitCode?: number } };
}

/** Of all its containers, those that prepare it and sidecars among them. */
function statusesOf(pod: KubeObject): ContainerStatus[] {
  return [...(pod.status?.initContainerStatuses ?? []), ...(pod.status?.containerStatuses ?? [])] as ContainerStatus[];
}

/** A container of the pod that dies by itself again and again. */
export function crashLooping(pod: KubeObject): { container: string; exitCode: number | null } | null {
  for (const one of statusesOf(pod))
    if (one.state?.waiting?.reason === "CrashLoopBackOff")
      return { container: one.name, exitCode: one.lastState?.terminated?.exitCode ?? null };
  return null;
}

/**
 * The rollout as `kubectl rollout status` judges it, and no new restarts since the last look. A passed deadline counts from
 * the second look on: taking up an older ReplicaSet again leaves the former rollout's verdict standing until a pod moves.
 */
export async function rolloutState(
  target: Target,
  live: KubeObject,
  cluster: ClusterReader,
  memo: Json,
): Promise<{ state: Look["world"]; says: string; memo: Json }> {
  const want = wantedBy(live);
  const s = (live.status ?? {}) as Status;
  const restarts = (await podsOf(target, live, cluster)).reduce((sum, pod) => sum + restartsOf(pod), 0);
  const { restarts: before, overdue: wasOverdue } = (memo ?? {}) as { restarts?: number; overdue?: boolean };
  const available = (live.kind === "DaemonSet" ? s.numberAvailable : s.availableReplicas) ?? 0;
  const says = `rollout ${available}/${want}`;
  const overdue = (s.conditions ?? []).some((c) => c.type === "Progressing" && c.reason === "ProgressDeadlineExceeded");
  const next = { restarts, overdue };
  if ((s.observedGeneration ?? 0) < (live.metadata.generation ?? 0))
    return { state: "waiting", says: `${says}, not yet seen by the controller`, memo: next };
  if (overdue)
    return {
      state: wasOverdue === true ? "bad" : "waiting",
      says: `${says}, its progress deadline has passed`,
      memo: next,
    };
  if (!complete(live.kind, s, want)) return { state: "waiting", says, memo: next };
  if (before !== undefined && restarts > before)
    return { state: "waiting", says: `${says}, ${restarts - before} new restarts`, memo: next };
  return { state: "good", says: `${says}, no new restarts`, memo: next };
}

function complete(kind: string, s: Status, want: number): boolean {
  if (kind === "DaemonSet") return (s.updatedNumberScheduled ?? 0) === want && (s.numberAvailable ?? 0) === want;
  const all = (s.updatedReplicas ?? 0) === want && (s.replicas ?? 0) === want && (s.availableReplicas ?? 0) === want;
  return kind === "StatefulSet" ? all && s.currentRevision === s.updateRevision : all;
}

export function restartsOf(pod: KubeObject): number {
  return statusesOf(pod).reduce((sum, one) => sum + (one.restartCount ?? 0), 0);
}
