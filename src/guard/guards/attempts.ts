import { fingerprintIn } from "../../alert/identity.js";
import { type Guard, holds, passes } from "../guard.js";
import { seconds } from "../words.js";

/** G17. One automatic attempt per fingerprint, then a person; an alert that comes and goes is not a fresh one each time. */
export const guard: Guard = {
  name: "attempts",
  order: 11,
  overrule: "one",
  summary:
    "Holds a second automatic attempt for the same alert, and anything for an alert that keeps coming and going.",
  async evaluate({ world, incident, plan, settings, now, at }) {
    const fingerprint = fingerprintIn(incident.identity);
    const history = await world.history(fingerprint);
    const { automatic, flaps } = settings.attempts;
    const begun = at === "effect" && (incident.run?.steps.length ?? 0) > 0;
    const attempts = history.attempts.filter((time) => now - time < automatic.withinMs).length;
    if (plan.autonomy === "auto" && !begun && attempts >= automatic.count) {
      const says = `${attempts} automatic attempt${attempts === 1 ? "" : "s"} for this alert within ${seconds(automatic.withinMs)}: a person is next`;
      return holds("done-before", says, {
        expected: `less than ${automatic.count} in ${seconds(automatic.withinMs)}`,
        found: String(attempts),
      });
    }
    // A flap is a change beyond the first firing of an episode.
    const changes = Math.max(0, history.changes.filter((time) => now - time < flaps.withinMs).length - 1);
    if (changes >= flaps.count) {
      const says = `it changed state ${changes} times within ${seconds(flaps.withinMs)}: it is flapping`;
      return holds("flapping", says, {
        expected: `less than ${flaps.count} in ${seconds(flaps.withinMs)}`,
        found: String(changes),
      });
    }
    return passes("not flapping, not tried before", `less than ${flaps.count} changes`, String(changes));
  },
};
