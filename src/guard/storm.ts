/** Many workloads that newly fail at once have one cause, and local fixes feed it: when that is so, and who began. */
import type { GuardSettings } from "../policy/policy.js";
import { seconds } from "./words.js";

/** One workload whose alerts began to fire. `since` is the time at which Nightshift was told, milliseconds. */
export interface StormWorkload {
  cluster: string;
  kind: string;
  namespace: string;
  name: string;
  since: number;
}

/** Workloads whose alerts began to fire of late, over all incidents. */
export interface StormView {
  /** Within the storm's window; while a storm is open, since that window before it opened. */
  newly: StormWorkload[];
  /** Workloads under Nightshift's care; null where too few began to fail for their share to matter, or none could be counted. */
  managed: number | null;
  nodesNotReady: number;
  nodes: number;
  /** Since when the breaker has been open; null when closed. */
  openSince: number | null;
}

/** A workload as the facts keep it: `cluster/kind/namespace/name`. */
export function workloadOf(fact: { workload: string; since: number }): StormWorkload {
  const [cluster = "", kind = "", namespace = "", name = ""] = fact.workload.split("/");
  return { cluster, kind, namespace, name, since: fact.since };
}

/** Began this much before all others: the likely cause. */
const FIRST_BY_MS = 60_000;

/** Why this is a storm now, in words; null where it is none. */
export function trips(view: StormView, storm: GuardSettings["storm"], now: number): string | null {
  if (view.nodes > 0 && view.nodesNotReady >= Math.max(2, Math.ceil(view.nodes * 0.1)))
    return `${view.nodesNotReady} of ${view.nodes} nodes are not ready`;
  const newly = recent(view, storm, now);
  if (newly.length < storm.workloads) return null;
  const namespaces = new Set(newly.map((w) => `${w.cluster}/${w.namespace}`)).size;
  // Where the workloads could not be counted, their share cannot be told, and telling too much costs less than too little.
  const share = view.managed === null ? 1 : newly.length / view.managed;
  if (namespaces < 2 && share < storm.share) return null;
  return `${newly.length} workloads in ${namespaces} namespace${namespaces === 1 ? "" : "s"} began to fail within ${seconds(storm.withinMs)}: one cause is likely`;
}

/** Those that began within the storm's window. */
export function recent(view: Pick<StormView, "newly">, storm: GuardSettings["storm"], now: number): StormWorkload[] {
  return view.newly.filter((one) => one.since > now - storm.withinMs);
}

/** The one workload that began at least a minute before every other; null where there is none. */
export function firstToFail(view: Pick<StormView, "newly">): StormWorkload | null {
  const [first, second] = [...view.newly].sort((a, b) => a.since - b.since);
  if (first === undefined || second === undefined) return null;
  return second.since - first.since >= FIRST_BY_MS ? first : null;
}

export function isWorkload(one: StormWorkload | null, target: Omit<StormWorkload, "since">): boolean {
  return (
    one !== null &&
    one.cluster === target.cluster &&
    one.kind === target.kind &&
    one.namespace === target.namespace &&
    one.name === target.name
  );
}
