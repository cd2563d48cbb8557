import { nameOf } from "../../cluster.js";
import { type Guard, holds, passes, type Pause } from "../guard.js";

/** G20. The kill switch and the named pauses; unreadable means stopped. Only a person clears them. */
export const guard: Guard = {
  name: "kill-switch",
  order: 1,
  overrule: "fixed",
  summary: "Holds everything while a person has paused it, or while the control ConfigMap cannot be read.",
  async evaluate({ world, target, runbook, now }) {
    const control = await world.control();
    if (control.state === "unreadable")
      return holds("paused", `stopped: ${control.why}`, {
        expected: "a readable control ConfigMap",
        found: control.why,
      });
    const covers = (pause: Pause) =>
      pause.scope === "all" ||
      pause.scope === `cluster:${target.cluster}` ||
      pause.scope === `namespace:${target.namespace}` ||
      pause.scope === `runbook:${runbook.name}`;
    const active = control.pauses.find((pause) => covers(pause) && (pause.until === null || pause.until > now));
    if (active === undefined) return passes("nothing is paused here", "no pause", "none");
    const until = active.until === null ? "until somebody resumes it" : `until ${new Date(active.until).toISOString()}`;
    return holds("paused", `${active.by} paused ${active.scope} ${until}: ${active.why}`, {
      expected: `no pause for ${nameOf(target)}`,
      found: active.scope,
    });
  },
};
