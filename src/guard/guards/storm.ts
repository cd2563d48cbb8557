import { type Guard, holds, passes, type StormView } from "../guard.js";
import { seconds } from "../words.js";

/** Began this much before all others: the likely cause. */
const FIRST_BY_MS = 60_000;

/** G08, as the design corrects it: many workloads newly firing at once have one cause, and local fixes feed it. */
export const guard: Guard = {
  name: "storm",
  order: 11,
  overrule: "two",
  summary: "Holds while many workloads begin to fail at once, except for the one that is likely to be the cause.",
  async evaluate({ world, target, settings }) {
    const view = await world.storm();
    const { storm } = settings;
    const found = `${view.newly.length} of ${view.managed ?? "unknown"} workloads`;
    const expected = `less than ${storm.workloads} newly firing in ${seconds(storm.withinMs)}`;
    const cause = suspectedCause(view);
    if (
      cause !== null &&
      cause.namespace === target.namespace &&
      cause.name === target.name &&
      cause.kind === target.kind
    ) {
      return passes("this workload began well before the others: it is the likely cause", expected, found);
    }
    const tripped = why(view, storm);
    if (tripped !== null)
      return holds(
        "storm",
        tripped + (cause === null ? "" : `; ${cause.kind} ${cause.namespace}/${cause.name} began first`),
        { expected, found },
      );
    if (view.openSince !== null)
      return holds("storm", `a storm has been going on; it is over after ${seconds(storm.quietMs)} of quiet`, {
        expected,
        found: "not yet quiet",
      });
    return passes("no storm", expected, found);
  },
};

function why(view: StormView, storm: { workloads: number; share: number; withinMs: number }): string | null {
  const { newly } = view;
  if (view.nodes > 0 && view.nodesNotReady >= Math.max(2, Math.ceil(view.nodes * 0.1)))
    return `${view.nodesNotReady} of ${view.nodes} nodes are not ready`;
  if (newly.length < storm.workloads) return null;
  const namespaces = new Set(newly.map((w) => `${w.cluster}/${w.namespace}`)).size;
  // Where the workloads could not be counted, their share cannot be told, and telling too much costs less than too little.
  const share = view.managed === null ? 1 : newly.length / view.managed;
  if (namespaces < 2 && share < storm.share) return null;
  return `${newly.length} workloads in ${namespaces} namespace${namespaces === 1 ? "" : "s"} began to fail within ${seconds(storm.withinMs)}: one cause is likely`;
}

/** The one workload that began at least a minute before every other; null where there is none. */
export function suspectedCause(view: StormView): StormView["newly"][number] | null {
  const [first, second] = [...view.newly].sort((a, b) => a.since - b.since);
  if (first === undefined) return null;
  if (second === undefined || second.since - first.since >= FIRST_BY_MS) return first;
  return null;
}
