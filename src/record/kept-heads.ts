/** The heads of the audit chain that are kept outside Redis: in the control ConfigMap, so that a lost Redis is noticed. */
import type { Head, Whereabouts } from "./chain.js";
import type { Anchor } from "./chain-check.js";

/** A kept head that was found not to be in the chain any more. Times in milliseconds. */
export interface LostHead extends Anchor {
  noticed: number;
  /** The newest kept head that was still in the chain. */
  sound: { seq: number; at: number } | null;
}

export interface KeptHeads {
  v: 1;
  /** Oldest first. */
  heads: Anchor[];
  /** Stays until a person removes the annotation. */
  lost: LostHead[];
}

export const noHeads: KeptHeads = { v: 1, heads: [], lost: [] };

const MOST_HEADS = 24;
const MOST_LOST = 10;
/** Heads closer to each other than this replace each other: restarts must not push out those of the hours before. */
const APART_MS = 30 * 60_000;

/** What is kept from now on; null where nothing is new. `where` is the place of each kept head in the present chain. */
export function keepHead(
  kept: KeptHeads,
  of: { head: Head | null; where: readonly Whereabouts[]; now: number },
): KeptHeads | null {
  const { head, now } = of;
  const sound = kept.heads.filter((_, index) => of.where[index] !== "lost");
  const gone = kept.heads.filter((_, index) => of.where[index] === "lost").at(-1);
  const newest = sound.at(-1);
  if (gone === undefined && (head === null || head.hash === newest?.hash)) return null;
  const beforeNewest = sound.at(-2);
  const close = beforeNewest !== undefined && now - beforeNewest.at < APART_MS;
  const known = head === null || head.hash === newest?.hash;
  const heads = known ? sound : [...(close ? sound.slice(0, -1) : sound), { ...head, at: now }];
  const lost =
    gone === undefined
      ? kept.lost
      : [...kept.lost, { ...gone, noticed: now, sound: newest ? { seq: newest.seq, at: newest.at } : null }];
  return { v: 1, heads: heads.slice(-MOST_HEADS), lost: lost.slice(-MOST_LOST) };
}
