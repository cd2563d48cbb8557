import { nameOf } from "../../cluster.js";
import { type Guard, holds, passes } from "../guard.js";

/** G02. The alert fires now, and the target is still the one that was planned for; both asked live. */
export const guard: Guard = {
  name: "live-precondition",
  order: 7,
  overrule: "one",
  summary:
    "Holds unless an Alertmanager says now that the alert fires, and the target is the very object that was planned for.",
  async evaluate({ incident, world, target, cluster }) {
    let unknown = false;
    let active = false;
    for (const alert of incident.alerts) {
      if (alert.status !== "firing" || active) continue;
      const activity = await world.activity(alert.identity);
      if (activity === "active") active = true;
      if (activity === "unknown") unknown = true;
    }
    if (!active) {
      if (unknown)
        return holds("unavailable", "no Alertmanager could be asked whether it still fires", {
          expected: "active",
          found: "cannot be asked",
        });
      return holds("not-active", "no Alertmanager says that it fires", { expected: "active", found: "not active" });
    }
    const live = await cluster.get(target);
    if (live === null)
      return holds("target-not-found", `${nameOf(target)} is gone`, { expected: target.uid, found: "nothing" });
    if (live.metadata.uid !== target.uid)
      return holds("changed-world", `${nameOf(target)} is another object by now`, {
        expected: target.uid,
        found: live.metadata.uid,
      });
    if (live.metadata.deletionTimestamp !== undefined)
      return holds("changed-world", `${nameOf(target)} is being deleted`, {
        expected: "an object that stays",
        found: "being deleted",
      });
    return passes("the alert fires, the target is the same", "active, same object", "active, same object");
  },
};
