/** What a plan says beside what people did. Pure. */
import type { Change, PlanDraft } from "../runbook.js";
import type { Deed, Deeds } from "./deed.js";
import { short, type ShadowVerdict, type Sight } from "./shadow.js";

const NUMBERS = /^\/spec\/(replicas|minReplicas|maxReplicas|minReplicaCount|maxReplicaCount)$/;
const RESTARTED = "/spec/template/metadata/annotations/kubectl.kubernetes.io~1restartedAt";
/** Deeds that are named one by one. */
const MOST_TOLD = 4;

export interface Comparison {
  plan: PlanDraft | null;
  before: Sight;
  deeds: Deeds;
  /** A runbook's own answer; see Remedy.alike. */
  alike?: ((plan: PlanDraft, deed: Deed) => boolean | null) | undefined;
}

/** Errors: none; what no rule covers is "unknown". */
export function compare(q: Comparison): { verdict: ShadowVerdict; says: string } {
  const { deeds, doubts } = q.deeds;
  const done = deeds.length === 0 ? "" : `people ${told(deeds)}`;
  const doubt =
    doubts.length === 0 ? "" : `it cannot be told for certain: ${[...new Set(doubts)].slice(0, 3).join("; ")}`;
  const says = [done, doubt].filter((part) => part !== "").join("; ") || "nothing was changed on the target";
  const { plan } = q;
  if (plan === null) return { verdict: doubts.length > 0 ? "unknown" : deeds.length > 0 ? "acted" : "nothing", says };
  const answers = plan.changes.map((change) => deeds.map((deed) => judged(q, plan, { change, deed })));
  if (answers.length > 0 && answers.every((row) => row.includes(true))) return { verdict: "agree", says };
  if (doubts.length > 0) return { verdict: "unknown", says };
  if (deeds.length === 0) return { verdict: "nothing", says };
  if (answers.length === 0 || answers.some((row) => row.includes(null) && !row.includes(true)))
    return { verdict: "unknown", says: `${says}; no rule says whether that is what the plan says` };
  return { verdict: "differ", says };
}

function judged(q: Comparison, plan: PlanDraft, of: { change: Change; deed: Deed }): boolean | null {
  return q.alike === undefined ? alikeByField(of.change, of.deed, q.before) : q.alike(plan, of.deed);
}

/**
 * Whether the deed is what the change says, by the field that it changes; null where no rule covers the field. A number
 * counts as alike when it moved the same way on the same object: how far is said in words.
 */
export function alikeByField(change: Change, deed: Deed, before: Sight): boolean | null {
  const { field, object } = change;
  if (field === "/spec/template") {
    if (deed.what !== "rollback" && deed.what !== "release") return false;
    const wanted = short(change.toDigest);
    if (deed.template === wanted) return true;
    // Taken back by other means (a pipeline, Git) the template may differ in annotations: the images tell.
    const images = before.revisions.find((revision) => revision.template === wanted)?.images;
    return images !== undefined && deed.images === images && before.workload?.images !== images;
  }
  if (field === RESTARTED) return deed.what === "restart" || (deed.what === "pods" && deed.all);
  if (NUMBERS.test(field)) {
    if (deed.what !== "scale" || deed.kind !== object.kind || deed.name !== object.name || deed.field !== field)
      return false;
    if (deed.from === null || deed.to === null) return false;
    return Math.sign(deed.to - deed.from) === Math.sign(Number(change.to) - Number(change.from));
  }
  if (field === "/metadata/deletionTimestamp" && object.kind === "Pod")
    return deed.what === "pods" && deed.uids.includes(object.uid);
  return null;
}

function told(deeds: readonly Deed[]): string {
  const lines = deeds.slice(0, MOST_TOLD).map((deed) => `${words(deed)}${deed.by === "" ? "" : ` (${deed.by})`}`);
  return `${lines.join(", then ")}${deeds.length > MOST_TOLD ? `, and ${deeds.length - MOST_TOLD} more` : ""}`;
}

function words(deed: Deed): string {
  switch (deed.what) {
    case "rollback":
      return `rolled it back to revision ${deed.revision}`;
    case "release":
      return "rolled out a template that it did not have before";
    case "restart":
      return "restarted it";
    case "scale":
      return `set ${deed.field.slice(6)} of ${deed.kind} ${deed.name} from ${deed.from ?? "nothing"} to ${deed.to ?? "nothing"}`;
    case "pods":
      return deed.all
        ? `made all its pods leave (${deed.names.length})`
        : `made Pod ${deed.names.slice(0, 3).join(", ")} leave`;
    case "paused":
      return "paused its rollout";
    case "resumed":
      return "resumed its rollout";
    case "gone":
      return "deleted it";
    case "spec":
      return "changed its spec otherwise";
  }
}
