import { nameOf } from "../../cluster.js";
import { isNamespaceName, isObjectName } from "../../policy/names.js";
import { type Guard, holds, passes } from "../guard.js";

/** G06. One workload, named in full: an empty, partial or wide set is never "all of them". */
export const guard: Guard = {
  name: "one-target",
  order: 3,
  overrule: "fixed",
  summary: "Holds plans that touch anything but exactly the one object that the alert led to.",
  async evaluate({ plan, target, runbook }) {
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
      if (!same) return no(`it also changes ${nameOf(object)}`);
    }
    return passes("one object", "one object", nameOf(target));
  },
};
