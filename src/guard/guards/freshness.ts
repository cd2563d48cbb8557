import { type Guard, holds, passes } from "../guard.js";
import { seconds } from "../words.js";

/** A clock that runs ahead of ours by more than this cannot be compared with. */
const SKEW_MS = 15_000;

/** G01. Old truth is not acted on: past the deadline a fresh look, or a person, is needed. */
export const guard: Guard = {
  name: "freshness",
  order: 6,
  overrule: "one",
  summary: "Holds what was heard or approved too long ago.",
  async evaluate({ at, incident, plan, settings, now }) {
    const firing = incident.alerts.filter((alert) => alert.status === "firing");
    const heard = Math.max(...firing.map((alert) => Math.max(alert.lastSeen, alert.receivedAt)), incident.openedAt);
    const approved = at === "effect" && plan.autonomy !== "auto";
    const since = approved ? Math.max(...incident.approvals.map((approval) => approval.at), 0) : heard;
    const limit = approved ? settings.freshness.approvedMs : settings.freshness.autoMs;
    const what = approved ? "approved" : "heard";
    const age = now - since;
    const values = { expected: `${what} at most ${seconds(limit)} ago`, found: `${seconds(age)} ago` };
    if (age < -SKEW_MS) return holds("stale", `${what} ${seconds(-age)} in the future: the clocks disagree`, values);
    const ahead = firing.find((alert) => Date.parse(alert.startsAt) - now > SKEW_MS);
    if (ahead)
      return holds("stale", `the alert starts in the future (${ahead.startsAt}): the clocks disagree`, {
        expected: "a start in the past",
        found: ahead.startsAt,
      });
    if (age > limit) return holds("stale", `${what} ${seconds(age)} ago, more than ${seconds(limit)}`, values);
    return passes("fresh", values.expected, values.found);
  },
};
