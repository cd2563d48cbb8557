/** Changes of the pod template between two looks: rollbacks, releases, restarts. Pure. */
import { type Between, byMachine, type Deed } from "./deed.js";
import { newest, type SeenRevision } from "./shadow.js";

interface Timed {
  deed: Deed;
  at: number | null;
  exact: boolean;
}

/**
 * A Deployment's revisions count up with every change of its template, also when an old one comes back: the numbers since
 * the first look are what happened, in order. Other kinds keep no such history: what they have now is compared.
 */
export function templateDeeds(q: Between): { deeds: Timed[]; doubts: string[]; changed: boolean } {
  const { before, after } = q;
  if (before.workload === null || after.workload === null) return { deeds: [], doubts: [], changed: false };
  const deeds: Timed[] = [];
  const doubts: string[] = [];
  const known = new Map(before.revisions.map((revision) => [revision.template, revision]));
  let present = before.workload;
  const writer = newest(after.writes.filter((write) => write.template && !byMachine(write.manager)));
  const written = { by: writer?.manager ?? "", at: writer?.at ?? null };

  const classify = (template: { template: string; plain: string; images: string }, by: string): Deed => {
    if (template.plain === present.plain) return { what: "restart", by };
    const old = before.revisions.findLast((one) => one.template === template.template || one.plain === template.plain);
    const { template: digest, images } = template;
    return { what: old ? "rollback" : "release", template: digest, images, revision: old?.number ?? null, by };
  };
  const stints = stintsAfter(Math.max(0, ...before.revisions.map((one) => one.number)), after.revisions);
  for (const [i, { number, revision, born }] of stints.entries()) {
    // At the first look the newest template may have had no revision yet.
    if (i === 0 && revision.template === present.template && !known.has(present.template)) continue;
    const last = i === stints.length - 1;
    const exact = born && !known.has(revision.template);
    const at = exact ? revision.bornAt : last ? written.at : null;
    deeds.push({ deed: classify(revision, last ? written.by : ""), at, exact });
    present = { ...present, ...revision };
    const before = stints[i - 1]?.number;
    if (before !== undefined && number > before + 1) doubts.push(`revision ${before + 1} is no longer in its history`);
  }
  if (after.workload.template !== present.template)
    deeds.push({ deed: classify(after.workload, written.by), at: written.at, exact: false });
  return { deeds, doubts, changed: deeds.length > 0 };
}

/** Every time that a revision's template became the present one, after the number `from`. */
function stintsAfter(
  from: number,
  revisions: readonly SeenRevision[],
): { number: number; revision: SeenRevision; born: boolean }[] {
  return revisions
    .flatMap((revision) =>
      [...revision.earlier, revision.number].map((number, i) => ({ number, revision, born: i === 0 })),
    )
    .filter((stint) => stint.number > from)
    .sort((a, b) => a.number - b.number);
}
