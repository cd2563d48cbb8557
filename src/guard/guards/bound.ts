import { type Guard, holds, passes } from "../guard.js";

/** G19. A namespace is open when its owner has given Nightshift's writer the rights that the runbook needs. */
export const guard: Guard = {
  name: "bound",
  order: 5,
  overrule: "fixed",
  summary: "Holds plans where the namespace's owner has not given the writer the rights that the runbook needs.",
  async evaluate({ world, target }) {
    const { ok, missing } = await world.bound();
    if (ok) return passes("the writer has every right that it needs", "every right", "every right");
    const says = `the writer may not ${missing}: the owner of ${target.namespace} opens it with a RoleBinding to nightshift-hands`;
    return holds("not-bound", says, {
      expected: "every right that the runbook needs",
      found: `no right to ${missing}`,
    });
  },
};
