/** Whether more pods of a kind fit: quota and nodes, without anybody being pushed out. For runbooks. */
import { ClusterError, type ClusterReader, type KubeObject } from "../cluster.js";
import { type Amounts, asks, quantity } from "./quantities.js";
import { condition, includesAll } from "./workload.js";

/** Room is wanted for this much more than is added. */
const HEADROOM = 1.2;

export interface RoomQuestion {
  namespace: string;
  /** A pod as it would be made: a running one of the workload shows what admission added. */
  podSpec: KubeObject["spec"];
  added: number;
  cluster: ClusterReader;
}

/** Why there is no room, as a sentence with expected and found; null where there is. Errors: ClusterError. */
export async function noRoom(q: RoomQuestion): Promise<{ reason: "no-capacity" | "no-data"; says: string } | null> {
  try {
    const says = (await quotaSays(q)) ?? (await nodesSay(q));
    return says === null ? null : { reason: "no-capacity", says };
  } catch (error) {
    if (!(error instanceof ClusterError) || !error.forbidden) throw error;
    return { reason: "no-data", says: `whether there is room cannot be told: ${error.message}` };
  }
}

/** Every hard limit of every quota of the namespace; one with scopes is taken to count, which errs towards no. */
async function quotaSays(q: RoomQuestion): Promise<string | null> {
  const requests = asks(q.podSpec, "requests");
  const limits = asks(q.podSpec, "limits");
  const each: Amounts = { pods: 1, "count/pods": 1 };
  for (const name of ["cpu", "memory", "ephemeral-storage"]) {
    each[name] = requests[name] ?? 0;
    each[`requests.${name}`] = requests[name] ?? 0;
    each[`limits.${name}`] = limits[name] ?? 0;
  }
  for (const quota of await q.cluster.list({ apiVersion: "v1", kind: "ResourceQuota", namespace: q.namespace })) {
    const hard = (quota.status?.hard ?? quota.spec?.hard ?? {}) as Record<string, string>;
    const used = (quota.status?.used ?? {}) as Record<string, string>;
    for (const [name, limit] of Object.entries(hard)) {
      const more = (each[name] ?? 0) * q.added;
      if (more === 0) continue;
      const left = quantity(limit) - quantity(used[name] ?? "0");
      if (!(more <= left))
        return `ResourceQuota ${q.namespace}/${quota.metadata.name}: ${q.added} more pods need ${round(more)} of ${name}, ${round(Math.max(0, left))} of ${limit} are left`;
    }
  }
  return null;
}

/** Pods that fit into what nodes have free by requests, as the scheduler counts, so that none is preempted. */
async function nodesSay(q: RoomQuestion): Promise<string | null> {
  const [nodes, pods] = await Promise.all([
    q.cluster.list({ apiVersion: "v1", kind: "Node", namespace: "" }),
    q.cluster.list({ apiVersion: "v1", kind: "Pod", namespace: "" }),
  ]);
  const each: Amounts = { ...asks(q.podSpec), pods: 1 };
  const usable = nodes.filter((node) => takes(node, q.podSpec));
  let fit = 0;
  for (const node of usable) {
    const free = freeOn(node, pods);
    const counts = Object.entries(each)
      .filter(([, amount]) => amount > 0)
      .map(([name, amount]) => Math.floor((free[name] ?? 0) / amount + 1e-9));
    fit += Math.max(0, Math.min(...counts));
  }
  const wanted = Math.ceil(q.added * HEADROOM);
  if (fit >= wanted) return null;
  return `${usable.length} of ${nodes.length} nodes take such pods and have room for ${fit} of them: expected room for ${wanted} (${q.added} and a fifth)`;
}

function freeOn(node: KubeObject, pods: readonly KubeObject[]): Amounts {
  const free: Amounts = {};
  for (const [name, text] of Object.entries((node.status?.allocatable ?? {}) as Record<string, string>))
    free[name] = quantity(text);
  for (const pod of pods) {
    if (pod.spec?.nodeName !== node.metadata.name) continue;
    if (pod.status?.phase === "Succeeded" || pod.status?.phase === "Failed") continue;
    for (const [name, amount] of Object.entries({ ...asks(pod.spec), pods: 1 }))
      free[name] = (free[name] ?? 0) - amount;
  }
  return free;
}

interface Taint {
  key: string;
  value?: string;
  effect: string;
}

interface Toleration {
  key?: string;
  operator?: string;
  value?: string;
  effect?: string;
}

/** Ready, schedulable, of the labels that the pod selects, and without a taint that it does not tolerate. Affinity is not judged. */
function takes(node: KubeObject, podSpec: KubeObject["spec"]): boolean {
  if (condition(node, "Ready")?.status !== "True" || node.spec?.unschedulable === true) return false;
  const wanted = (podSpec?.nodeSelector ?? {}) as Record<string, string>;
  if (Object.keys(wanted).length > 0 && !includesAll(node.metadata.labels ?? {}, wanted)) return false;
  const tolerations = (podSpec?.tolerations ?? []) as Toleration[];
  return ((node.spec?.taints ?? []) as Taint[])
    .filter((taint) => taint.effect !== "PreferNoSchedule")
    .every((taint) => tolerations.some((one) => tolerates(one, taint)));
}

function tolerates(one: Toleration, taint: Taint): boolean {
  if (one.effect !== undefined && one.effect !== "" && one.effect !== taint.effect) return false;
  if (one.key === undefined || one.key === "") return one.operator === "Exists";
  return one.key === taint.key && (one.operator === "Exists" || (one.value ?? "") === (taint.value ?? ""));
}

function round(amount: number): string {
  return amount >= 2 ** 20 ? `${Math.round(amount / 2 ** 20)}Mi` : String(Math.round(amount * 1000) / 1000);
}
