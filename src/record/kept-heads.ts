/** The heads of the audit chain that are kept outside Redis: in the control ConfigMap, so that a lost Redis is noticed. */
import type { Head, Whereabouts } from "./chain.js";

/** Times in milliseconds. */
export interface KeptHead extends Head {
  at: number;
}

/** A kept head that was found not to be in the chain any more. */
export interface LostHead extends KeptHead {
  noticed: number;
  /** The newest kept head that was still in the chain. */
  sound: { seq: number; at: number } | null;
}

export interface KeptHeads {
  v: 1;
  /** Oldest first. */
  heads: KeptHead[];
  /** Stays until a person removes the annotation. */
  lost: LostHead[];
}

const MOST_HEADS = 24;
const MOST_LOST = 10;
/** Heads closer to each other than this replace each other: restarts must not push out those of the hours before. */
const APART_MS = 30 * 60_000;

/**
 * What is kept from now on, and the kept head that was found lost; null where nothing is new. `where` is the place of each
 * kept head in the present chain.
 */
export function keepHead(
  kept: KeptHeads,
  of: { head: Head | null; where: readonly Whereabouts[]; now: number },
): { next: KeptHeads; lost: LostHead | null } | null {
  const { head, now } = of;
  const sound = kept.heads.filter((_, index) => of.where[index] !== "lost");
  const gone = kept.heads.filter((_, index) => of.where[index] === "lost").at(-1);
  const newest = sound.at(-1);
  const known = head === null || head.hash === newest?.hash;
  if (gone === undefined && known) return null;
  const before = sound.at(-2);
  const close = before !== undefined && now - before.at < APART_MS;
  const heads = known ? sound : [...(close ? sound.slice(0, -1) : sound), { ...head, at: now }];
  const lost =
    gone === undefined
      ? null
      : { ...gone, noticed: now, sound: newest === undefined ? null : { seq: newest.seq, at: newest.at } };
  const next = {
    v: 1 as const,
    heads: heads.slice(-MOST_HEADS),
    lost: (lost === null ? kept.lost : [...kept.lost, lost]).slice(-MOST_LOST),
  };
  return { next, lost };
}
