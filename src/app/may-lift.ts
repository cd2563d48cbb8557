import { mayApprove } from "../approval/approvers.js";
import type { SlackPort } from "../notify/notify.js";
import type { Policy } from "../policy/policy.js";

/** Who may approve by the policy's defaults may lift a pause; who may only stop things may not start them again. */
export function createMayLift(of: {
  policy: Policy;
  slack: SlackPort | null;
  onCall(): Promise<string[] | null>;
}): (by: string) => Promise<boolean> {
  return async (by) => {
    const judged = await mayApprove({
      by,
      from: of.policy.defaults.approval.from,
      groups: (handle) => of.slack?.groupMembers(handle) ?? Promise.resolve(null),
      oncall: of.onCall,
      risk: "A",
      requestedBy: null,
      already: [],
    });
    return judged.ok;
  };
}
