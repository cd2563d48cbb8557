import type { Approval } from "../record/incident.js";

export interface ApprovalQuestion {
  by: string;
  /** The policy's sources. */
  from: readonly string[];
  /** Members of a Slack group; null where it cannot be asked. */
  groups(handle: string): Promise<string[] | null>;
  /** PagerDuty users on call; null where it cannot be asked. */
  oncall(): Promise<string[] | null>;
  risk: "A" | "B" | "C";
  requestedBy: string | null;
  already: readonly Approval[];
}

/** Whether this person may say yes to this plan. What cannot be checked is no. */
export async function mayApprove(q: ApprovalQuestion): Promise<{ ok: true } | { ok: false; says: string }> {
  if (q.already.some((approval) => approval.by === q.by))
    return { ok: false, says: "You have already approved this plan; it needs another person." };
  if (q.risk === "C" && q.requestedBy === q.by)
    return { ok: false, says: "You asked for this plan; two others must approve it." };
  const [way = "", who = ""] = split(q.by);
  const unchecked: string[] = [];
  for (const source of q.from) {
    const [kind = "", name = ""] = split(source);
    if (kind === "slack-user" && way === "slack" && name === who) return { ok: true };
    if (kind === "cli" && way === "cli") return { ok: true };
    if (kind === "slack-group" && way === "slack") {
      const members = await q.groups(name);
      if (members === null) unchecked.push(source);
      else if (members.includes(who)) return { ok: true };
    }
    if (kind === "pagerduty" && way === "pagerduty") {
      const users = await q.oncall();
      if (users === null) unchecked.push(source);
      else if (users.includes(who)) return { ok: true };
    }
  }
  if (unchecked.length > 0)
    return {
      ok: false,
      says: `Whether you may approve cannot be checked now (${unchecked.join(", ")}): nothing was done.`,
    };
  return { ok: false, says: `You may not approve this plan: expected one of ${q.from.join(", ")}.` };
}

function split(text: string): [string, string] {
  const at = text.indexOf(":");
  return at < 0 ? [text, ""] : [text.slice(0, at), text.slice(at + 1)];
}
