import { type Guard, holds, passes } from "../guard.js";

interface Condition {
  type: string;
  status: string;
}

/** G13. No data is unknown, and unknown satisfies nothing; what the target's own status shows is data too. */
export const guard: Guard = {
  name: "no-data",
  order: 8,
  overrule: "one",
  summary: "Holds unless fresh samples, or the target's own status, show the trouble that the plan is for.",
  async evaluate({ at, world, cluster, target, incident }) {
    // Between effects of one run the symptom may have gone already: that is the verification's business.
    if (at === "effect" && (incident.run?.steps.length ?? 0) > 0)
      return passes("the run has begun", "fresh samples before the first effect", "the run has begun");
    const symptom = await world.symptom();
    if (symptom.state === "present") return passes(symptom.says, "fresh samples that show it", "present");
    const live = await cluster.get(target);
    const status = (live?.status ?? {}) as { unavailableReplicas?: number; conditions?: Condition[] };
    const stuck = (status.conditions ?? []).some((c) => c.type === "Progressing" && c.status === "False");
    if ((status.unavailableReplicas ?? 0) > 0 || stuck) {
      const found = stuck ? "its rollout is stuck" : `${status.unavailableReplicas} replicas unavailable`;
      return passes(
        `${symptom.says}; the target's own status shows it: ${found}`,
        "samples or status that show it",
        found,
      );
    }
    const says =
      symptom.state === "gone" ? `the alert fires, but its expression no longer holds: ${symptom.says}` : symptom.says;
    return holds("no-data", says, {
      expected: "fresh samples, or a status, that show the trouble",
      found: symptom.state,
    });
  },
};
