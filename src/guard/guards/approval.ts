import { planDigest } from "../../plan/plan.js";
import { type Guard, holds, passes } from "../guard.js";

/** G15. An approval is for one plan: its digest, its nonce, by people whose yes carries our seal. */
export const guard: Guard = {
  name: "approval",
  order: 14,
  overrule: "fixed",
  summary: "Holds, before every effect, unless enough sealed approvals are for exactly this plan.",
  async evaluate({ at, plan, rule, world, incident }) {
    if (at === "plan") return passes("asked next", rule.autonomy, rule.autonomy);
    const no = (says: string, values: { expected: string; found: string }) => holds("not-approved", says, values);
    const digest = planDigest(plan);
    if (digest !== plan.digest)
      return no("the plan is not the one that its digest names", {
        expected: plan.digest.slice(0, 8),
        found: digest.slice(0, 8),
      });
    if (plan.autonomy === "auto" && rule.autonomy !== "auto")
      return no("the policy no longer lets this rule act without asking", { expected: "auto", found: rule.autonomy });
    if (rule.autonomy === "observe" || rule.autonomy === "propose")
      return no(`the policy has this rule at ${rule.autonomy} by now`, {
        expected: "approve or auto",
        found: rule.autonomy,
      });
    const { valid, needed, says } = world.approvals(plan);
    if (valid < needed || needed < 1) return no(says, { expected: String(Math.max(needed, 1)), found: String(valid) });
    const late = incident.approvals.find((approval) => approval.at > plan.expiresAt);
    if (late && plan.autonomy !== "auto")
      return no("an approval came after the ask had expired", {
        expected: new Date(plan.expiresAt).toISOString(),
        found: new Date(late.at).toISOString(),
      });
    return passes(says, String(needed), String(valid));
  },
};
