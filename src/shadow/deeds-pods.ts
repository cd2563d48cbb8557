/** Pods that left between two looks although their workload stayed as it was. Pure. */
import type { Between, Deed } from "./deed.js";

/** Events are kept for an hour, as a rule: after this long nothing says any more why a pod left. */
const EVENTS_MS = 50 * 60_000;

export interface Around {
  /** A rollout or a scaling of people's own inside the time took them. */
  explained: boolean;
  /** So many the autoscaler took. */
  fewer: number;
  /** Something else was replacing pods. */
  restless: boolean;
}

/**
 * Pods leave by rollouts and scaling too: where those explain it, nothing more is said. Who deleted a pod is written
 * nowhere; that no part of the cluster did it is what the excuses tell.
 */
export function podDeeds(q: Between, of: Around): { deed: Deed | null; doubts: string[] } {
  const { before, after, excuses, window } = q;
  if (of.explained) return { deed: null, doubts: [] };
  if (before.pods === null || after.pods === null)
    return { deed: null, doubts: ["its pods were too many to keep, or could not be listed"] };
  const now = new Set(after.pods.map((pod) => pod.uid));
  const gone = before.pods.filter((pod) => !now.has(pod.uid));
  const unexplained = gone.filter((pod) => typeof excuses[pod.uid] !== "string" || excuses[pod.uid] === "?");
  if (unexplained.length <= of.fewer) return { deed: null, doubts: [] };
  const [first] = unexplained;
  const which = `Pod ${first?.name}${unexplained.length === 1 ? "" : ` and ${unexplained.length - 1} more`}`;
  if (of.restless)
    return { deed: null, doubts: [`${which} left while a rollout or its autoscaler replaced pods as well`] };
  if (window.late || after.at - before.at > EVENTS_MS)
    return { deed: null, doubts: [`${which} left, and when and by whom is no longer written anywhere`] };
  if (unexplained.some((pod) => excuses[pod.uid] !== null))
    return { deed: null, doubts: [`${which} left; no right to list events or nodes, which would say why`] };
  return {
    deed: {
      what: "pods",
      by: "",
      names: unexplained.map((pod) => pod.name),
      uids: unexplained.map((pod) => pod.uid),
      all: unexplained.length === before.pods.length,
    },
    doubts: [],
  };
}
