import type { Rate } from "../../policy/policy.js";
import { type BudgetEntry, type Guard, holds, passes } from "../guard.js";
import { seconds } from "../words.js";

/** G07. Velocity: per target, namespace and cluster, and how many at once; kept in a Lease, so a restart forgets nothing. */
export const guard: Guard = {
  name: "budget",
  order: 10,
  overrule: "two",
  summary: "Holds when the target, its namespace or the cluster has had its share of actions, or others are under way.",
  async evaluate({ world, target, settings, incident, now }) {
    const mine = incident.run?.id ?? "";
    const entries = (await world.budget()).filter((entry) => entry.run !== mine && entry.cluster === target.cluster);
    const { budget } = settings;
    const limits: [what: string, rate: Rate, of: (entry: BudgetEntry) => boolean][] = [
      ["this target", budget.target, (e) => e.target === target.uid],
      ["this target", budget.targetDay, (e) => e.target === target.uid],
      [`namespace ${target.namespace}`, budget.namespace, (e) => e.namespace === target.namespace],
      [`cluster ${target.cluster}`, budget.cluster, () => true],
    ];
    for (const [what, rate, of] of limits) {
      const used = entries.filter((entry) => of(entry) && now - entry.at < rate.withinMs).length;
      if (used < rate.count) continue;
      const expected = `less than ${rate.count} in ${seconds(rate.withinMs)}`;
      return holds(
        "budget",
        `${what} has had ${used} action${used === 1 ? "" : "s"} in ${seconds(rate.withinMs)}, its share is ${rate.count}`,
        { expected, found: String(used) },
      );
    }
    const open = entries.filter((entry) => entry.open).length;
    if (open >= budget.atOnce)
      return holds("at-once", `${open} actions are under way, at most ${budget.atOnce} may be`, {
        expected: `less than ${budget.atOnce} under way`,
        found: String(open),
      });
    return passes(
      "within the budget",
      `less than ${budget.cluster.count} in ${seconds(budget.cluster.withinMs)}`,
      String(entries.length),
    );
  },
};
