import { type Guard, holds, passes } from "../guard.js";
import { firstToFail, isWorkload, recent, trips } from "../storm.js";
import { seconds } from "../words.js";

/** G08, as the design corrects it: many workloads newly firing at once have one cause, and local fixes feed it. */
export const guard: Guard = {
  name: "storm",
  order: 12,
  overrule: "two",
  summary: "Holds while many workloads begin to fail at once, except for the one that is likely to be the cause.",
  async evaluate({ world, target, settings, now }) {
    const view = await world.storm();
    const { storm } = settings;
    const found = `${recent(view, storm, now).length}${view.managed === null ? "" : ` of ${view.managed}`} workloads`;
    const expected = `less than ${storm.workloads} newly firing in ${seconds(storm.withinMs)}`;
    const cause = firstToFail(view);
    if (isWorkload(cause, target))
      return passes("this workload began well before the others: it is the likely cause", expected, found);
    const tripped = trips(view, storm, now);
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
