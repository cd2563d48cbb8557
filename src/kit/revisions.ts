/** A Deployment's revisions and how long each ran, read off its ReplicaSets. For runbooks. */
import type { ClusterReader, KubeObject } from "../cluster.js";
import { digestOf } from "../plan/digest.js";
import type { Target } from "../target/target.js";
import { selectorText } from "./workload.js";
import { imagesText, withoutHash, withoutRestart } from "./templates.js";

const REVISION = "deployment.kubernetes.io/revision";
/** Earlier numbers of a ReplicaSet that was taken up again, comma-separated: the controller renumbers it, its creation stays. */
const HISTORY = "deployment.kubernetes.io/revision-history";

export interface Revision {
  number: number;
  /** Numbers that the same ReplicaSet had before, oldest first. */
  earlier: number[];
  name: string;
  uid: string;
  /** Creation of the ReplicaSet: of this revision only where `earlier` is empty. */
  createdAt: string;
  images: string;
  templateDigest: string;
  /** The same apart from when it was restarted. */
  plainDigest: string;
  ready: number;
  replicas: number;
}

/** Oldest number first. */
export async function revisionsOf(target: Target, deployment: KubeObject, cluster: ClusterReader): Promise<Revision[]> {
  const labelSelector = selectorText(deployment);
  const sets = await cluster.list({
    apiVersion: "apps/v1",
    kind: "ReplicaSet",
    namespace: target.namespace,
    ...(labelSelector === null ? {} : { labelSelector }),
  });
  return sets
    .filter((set) => (set.metadata.ownerReferences ?? []).some((owner) => owner.uid === target.uid))
    .map((set) => ({
      number: Number(set.metadata.annotations?.[REVISION] ?? Number.NaN),
      earlier: numbers(set.metadata.annotations?.[HISTORY]),
      name: set.metadata.name,
      uid: set.metadata.uid,
      createdAt: set.metadata.creationTimestamp ?? "",
      images: imagesText(set.spec?.template),
      templateDigest: digestOf(withoutHash(set.spec?.template)),
      plainDigest: digestOf(withoutRestart(withoutHash(set.spec?.template))),
      ready: set.status?.readyReplicas ?? 0,
      replicas: set.spec?.replicas ?? 0,
    }))
    .filter((revision) => Number.isInteger(revision.number))
    .sort((a, b) => a.number - b.number);
}

/** The revision whose template the Deployment has now; undefined while its controller has not yet seen the template. */
export function currentOf(deployment: KubeObject, revisions: readonly Revision[]): Revision | undefined {
  const digest = digestOf(deployment.spec?.template);
  return revisions.findLast((revision) => revision.templateDigest === digest);
}

/** What is certain of how long a revision's template was the current one. */
export interface Ran {
  /** At least this long, milliseconds. */
  ms: number;
  /** Whether it was no longer either. */
  exact: boolean;
}

/**
 * The longest time in a row that the revision's template certainly was the current one. When a ReplicaSet was taken up
 * again is written nowhere: it lies between the creations around it, and the shortest time that fits is what counts.
 */
export function ranFor(revision: Revision, revisions: readonly Revision[], now: number): Ran {
  const stints = revisions
    .flatMap((r) =>
      [...r.earlier, r.number].map((number, i) => ({ number, uid: r.uid, born: i === 0, createdAt: r.createdAt })),
    )
    .sort((a, b) => a.number - b.number);
  const earliest = (i: number): number => {
    const at = stints[i];
    if (at === undefined) return now;
    return at.born || i === 0 ? Date.parse(at.createdAt) : earliest(i - 1);
  };
  const latest = (i: number): number => {
    const at = stints[i];
    if (at === undefined) return now;
    return at.born ? Date.parse(at.createdAt) : latest(i + 1);
  };
  let best: Ran = { ms: 0, exact: false };
  for (const [i, stint] of stints.entries()) {
    if (stint.uid !== revision.uid) continue;
    const ms = Math.max(0, earliest(i + 1) - latest(i));
    const exact = stint.born && (stints[i + 1]?.born ?? true) && revision.earlier.length === 0;
    if (ms >= best.ms) best = { ms, exact };
  }
  return best;
}

function numbers(text: string | undefined): number[] {
  return (text ?? "")
    .split(",")
    .map((part) => Number(part.trim() === "" ? Number.NaN : part))
    .filter((number) => Number.isInteger(number))
    .sort((a, b) => a - b);
}
