import type { KubeObject } from "../../cluster.js";
import { type Guard, type GuardContext, holds, passes } from "../guard.js";
import { seconds } from "../words.js";

/** A rollout of the suspected revision that is younger than this may be rolled back while it is still under way. */
const YOUNG_MS = 60 * 60_000;
/** Writers that are parts of the cluster or are us. Whoever else writes a spec is taken for a person. */
const MACHINES =
  /^(kube-controller-manager|kube-scheduler|kubelet|nightshift|deployment-controller|horizontal-pod-autoscaler|kwok|argocd|helm-controller|kustomize-controller)/;

/** G12, as the design corrects it: nobody is interrupted, but the very rollout under suspicion may be taken back. */
export const guard: Guard = {
  name: "change-in-flight",
  order: 13,
  overrule: "one",
  summary:
    "Holds while a rollout or a person's change is under way, except to take back the very revision under suspicion.",
  async evaluate(context) {
    const { cluster, target, settings, now, incident, at } = context;
    const live = await cluster.get(target);
    if (live === null)
      return holds("target-not-found", "the target is gone", { expected: "the target", found: "nothing" });
    const asked = live.metadata.annotations?.["nightshift.dev/hold"];
    if (asked !== undefined)
      return holds("change-in-flight", `its annotation nightshift.dev/hold says: ${asked.slice(0, 100)}`, {
        expected: "no hold",
        found: "a hold",
      });
    // Once our own first effect is made, the rollout that is under way is ours.
    if (at === "effect" && (incident.run?.steps.length ?? 0) > 0)
      return passes("the rollout under way is this run's own", "no change by others", "this run's own");
    if (suspect(context, live))
      return passes("the change under way is the one under suspicion", "no other change", "the suspected revision");
    const rolling = rollout(live);
    if (rolling !== null)
      return holds("change-in-flight", `a rollout is under way: ${rolling}`, { expected: "settled", found: rolling });
    const age = now - Date.parse(live.metadata.creationTimestamp ?? "");
    if (age < settings.change.deployAgeMs)
      return holds("change-in-flight", `it was created ${seconds(age)} ago`, {
        expected: `older than ${seconds(settings.change.deployAgeMs)}`,
        found: seconds(age),
      });
    const person = lastHumanWrite(live);
    if (person !== null && now - person.at < settings.change.humanWriteMs) {
      const found = `${person.manager} ${seconds(now - person.at)} ago`;
      return holds("change-in-flight", `somebody is working on it: ${found}`, {
        expected: `no write by a person within ${seconds(settings.change.humanWriteMs)}`,
        found,
      });
    }
    return passes("settled", "settled", "settled");
  },
};

/** Whether this plan takes back the revision that began before the trouble, is young, or has run out of its deadline. */
function suspect({ plan, incident, now }: GuardContext, live: KubeObject): boolean {
  const facts = plan.facts as { fromReplicaSet?: { createdAt?: string } } | null;
  const created = Date.parse(facts?.fromReplicaSet?.createdAt ?? "");
  if (Number.isNaN(created)) return false;
  const onset = Math.min(...incident.alerts.filter((a) => a.status === "firing").map((a) => Date.parse(a.startsAt)));
  const conditions = (live.status?.conditions ?? []) as { type: string; status: string; reason?: string }[];
  const expired = conditions.some((c) => c.type === "Progressing" && c.reason === "ProgressDeadlineExceeded");
  return (created <= onset && now - created < YOUNG_MS) || expired;
}

function rollout(live: KubeObject): string | null {
  const { generation = 0 } = live.metadata;
  const observed = live.status?.observedGeneration ?? 0;
  if (observed < generation) return `generation ${generation}, observed ${observed}`;
  const status = (live.status ?? {}) as Record<string, number | undefined>;
  const daemons = live.kind === "DaemonSet";
  const updated = (daemons ? status["updatedNumberScheduled"] : status["updatedReplicas"]) ?? 0;
  const there = (daemons ? status["desiredNumberScheduled"] : status["replicas"]) ?? 0;
  // A Deployment that surges has all new pods at once, and the old ones until the new are ready.
  const want = live.kind === "Deployment" ? Math.max(live.spec?.replicas ?? 1, there) : there;
  return updated < want ? `${updated} of ${want} pods have the new template` : null;
}

/** The newest write of the spec by something that is no part of the cluster. */
function lastHumanWrite(live: KubeObject): { manager: string; at: number } | null {
  let newest: { manager: string; at: number } | null = null;
  for (const entry of live.metadata.managedFields ?? []) {
    if (
      entry.subresource !== undefined ||
      MACHINES.test(entry.manager ?? "") ||
      entry.fieldsV1?.["f:spec"] === undefined
    )
      continue;
    const at = Date.parse(entry.time ?? "");
    if (!Number.isNaN(at) && (newest === null || at > newest.at)) newest = { manager: entry.manager ?? "somebody", at };
  }
  return newest;
}
