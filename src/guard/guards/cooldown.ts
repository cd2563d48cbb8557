import { planOpKey } from "../../execution/keys.js";
import { type Guard, holds, passes } from "../guard.js";
import { seconds } from "../words.js";

/** G03 and G07, from the ledger on the cluster: it holds whatever Redis forgot. */
export const guard: Guard = {
  name: "cooldown",
  order: 9,
  overrule: "one",
  summary:
    "Holds when something was already done about this target within the cooldown, or about this very alert ever.",
  async evaluate({ world, incident, plan, settings, now }) {
    const ledger = await world.ledger();
    const window = settings.budget.target.withinMs;
    if (ledger === null) return passes("nothing was ever done here", `nothing within ${seconds(window)}`, "nothing");
    // The present run's own operations carry keys that follow from the alert and its steps; they do not stand in its way.
    const own = new Set([...plan.steps, ...plan.undoSteps].map((step) => planOpKey(incident.identity, plan, step)));
    const mine = ledger.run !== null && incident.run !== null && ledger.run.id === incident.run.id;
    const others = ledger.ops.filter((op) => !(mine && own.has(op.key)));
    const repeated = others.find((op) => own.has(op.key));
    if (repeated)
      return holds("done-before", `this very step was done for this very alert at ${repeated.at}`, {
        expected: "never done",
        found: repeated.at,
      });
    const ended = ledger.ends.findLast((end) => end.identity === incident.identity);
    if (ended)
      return holds("done-before", `a run for this very alert ended as ${ended.outcome} at ${ended.at}`, {
        expected: "no earlier run",
        found: ended.outcome,
      });
    const recent = others.filter((op) => now - Date.parse(op.at) < window).at(-1);
    if (recent) {
      const says = `something was done about this target ${seconds(now - Date.parse(recent.at))} ago, within the cooldown of ${seconds(window)}`;
      return holds("done-before", says, { expected: `nothing within ${seconds(window)}`, found: recent.at });
    }
    return passes("nothing was done here of late", `nothing within ${seconds(window)}`, "nothing");
  },
};
