/** What Nightshift only observed or proposed, beside what people then did. Plain JSON: it stands in the record. */

/** People have this long to act until the target is looked at again, milliseconds. */
export const READ_AFTER_MS = 30 * 60_000;

/**
 * `agree`: people did what the plan says. `differ`: they did something else to the target. `nothing`: the target was left
 * as it was. `acted`: there was no plan, and people did something. `unknown`: it cannot be told.
 */
export const verdicts = ["agree", "differ", "nothing", "acted", "unknown"] as const;
export type ShadowVerdict = (typeof verdicts)[number];

export const verdictWords: Record<ShadowVerdict, string> = {
  agree: "people did what I would have done",
  differ: "people did something else than I would have done",
  nothing: "nobody did what I would have done",
  acted: "I had no plan",
  unknown: "what people did is not known",
};

export interface Shadow {
  /** When the target is to be looked at again, wall clock. */
  dueAt: number;
  /** The target when it was decided; null where it could not be read, and once the reading is there. */
  before: Sight | null;
  reading: Reading | null;
}

export interface Reading {
  at: number;
  /** How long after `dueAt` it was read; 0 where that was soon enough to say nothing of. */
  lateMs: number;
  verdict: ShadowVerdict;
  /** One sentence: what people did, or why it cannot be told. */
  says: string;
}

/** What people change about a workload, seen at one moment. Digests are 16 hex of `digestOf`: see `short`. */
export interface Sight {
  at: number;
  /** Null where there is no such object, or another one of its name. */
  workload: {
    /** Moves with every change of the spec, and of a Deployment's annotations. */
    generation: number;
    /** The pod template; "" where the kind has none. */
    template: string;
    /** The template apart from its time of restart. */
    plain: string;
    images: string;
    /** The rest of the spec. */
    rest: string;
    replicas: number | null;
    paused: boolean;
    /** Whether all its pods were of its present template. */
    settled: boolean;
  } | null;
  /** Of a Deployment, oldest number first. */
  revisions: SeenRevision[];
  /** Bounds of autoscalers over it. */
  bounds: SeenBound[];
  /** Null where there are too many to keep. */
  pods: SeenPod[] | null;
  /** Who wrote the target's spec, and when last. */
  writes: SeenWrite[];
  /** What could not be read, in words. */
  notRead: string[];
}

export interface SeenRevision {
  number: number;
  earlier: number[];
  template: string;
  plain: string;
  images: string;
  /** Creation of its ReplicaSet, milliseconds. */
  bornAt: number;
}

export interface SeenBound {
  kind: string;
  name: string;
  /** JSON pointer, e.g. `/spec/maxReplicas`. */
  field: string;
  value: number | null;
  by: string;
  at: number | null;
}

export interface SeenPod {
  name: string;
  uid: string;
  node: string;
}

export interface SeenWrite {
  /** The field manager: what the writer calls itself. */
  manager: string;
  /** Its last write of any field, milliseconds; null where the API server does not say, as for the scale subresource. */
  at: number | null;
  template: boolean;
  replicas: boolean;
}

/** Why a pod that is gone left: `null` where no sign of the cluster doing it was found, "?" where that could not be asked. */
export type Excuses = Record<string, string | null>;

/** As much of a digest as tells templates of one workload apart. */
export function short(digest: string): string {
  return digest.slice(0, 16);
}

/** The write that was last; one without a time counts as the oldest. */
export function newest(writes: readonly SeenWrite[]): SeenWrite | undefined {
  return [...writes].sort((a, b) => (b.at ?? 0) - (a.at ?? 0))[0];
}
