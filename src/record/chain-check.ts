import { iso } from "../clock.js";
import { type ChainEntry, entryOf, type Head, type Link, linkHash, TRAIL_LENGTH, type Whereabouts } from "./chain.js";

/** One place at which the chain does not hold. */
export interface ChainFault {
  seq: number;
  /** The incident of the entry there; null where it cannot be told. */
  incident: string | null;
  expected: string;
  found: string;
  /** What it is, on what, what it means. */
  says: string;
}

/** A head that was kept outside Redis: in the cluster, and when (milliseconds); null for one that the log printed. */
export interface Anchor extends Head {
  at: number | null;
}

export interface ChainReport {
  intact: boolean;
  entries: number;
  first: { seq: number; at: number | null } | null;
  last: { seq: number; at: number | null; hash: string } | null;
  /** The first of them; `faultCount` says how many there are. */
  faults: ChainFault[];
  faultCount: number;
  anchors: (Anchor & { where: Whereabouts })[];
}

const FAULTS_SHOWN = 20;

/**
 * Takes the links one by one, oldest first, and says in the end whether they are a chain that leads to the head and through
 * the `anchors`. A stream of fewer than `least` links must begin with number 1.
 */
export function createChainCheck(
  anchors: readonly Anchor[] = [],
  least = TRAIL_LENGTH,
): {
  take(link: Link): ChainEntry | null;
  end(found: { head: Head | null; length: number }): ChainReport;
} {
  const faults: ChainFault[] = [];
  let faultCount = 0;
  let entries = 0;
  let first: { link: Link; at: number | null } | null = null;
  let last: { link: Link; at: number | null } | null = null;
  const seen = new Map<number, string>();
  const wanted = new Set(anchors.map((anchor) => anchor.seq));

  const fault = (one: ChainFault) => {
    faultCount += 1;
    if (faults.length < FAULTS_SHOWN) faults.push(one);
  };

  function take(link: Link): ChainEntry | null {
    const entry = entryOf(link.text);
    const incident = entry?.incident ?? null;
    const about = entry === null ? `entry ${link.seq}` : `entry ${link.seq} (${incident}, ${entry.event})`;
    const hash = linkHash(link.prev, link.text);
    entries += 1;
    if (last !== null) follows(last.link, link, { about, incident });
    if (hash !== link.hash || entry === null)
      fault({
        seq: link.seq,
        incident,
        expected: hash,
        found: link.hash,
        says: `${about}: its content does not give the hash that is stored with it: it was altered`,
      });
    if (wanted.has(link.seq)) seen.set(link.seq, link.hash);
    last = { link, at: entry?.at ?? null };
    first ??= last;
    return entry;
  }

  function follows(before: Link, link: Link, of: { about: string; incident: string | null }): void {
    const { seq } = link;
    const next = before.seq + 1;
    if (seq === next && link.prev === before.hash) return;
    if (seq === next)
      return fault({
        seq,
        incident: of.incident,
        expected: before.hash,
        found: link.prev,
        says: `${of.about} does not continue entry ${before.seq}: the history before it, or it, was replaced`,
      });
    const missing = seq - next;
    const says =
      missing > 0
        ? `between entries ${before.seq} and ${seq}: ${missing === 1 ? "1 entry is" : `${missing} entries are`} missing: removed, or moved elsewhere`
        : seq === 1
          ? `a new chain begins after entry ${before.seq}: the head in Redis was lost or removed`
          : `${of.about} stands after entry ${before.seq}: out of order`;
    fault({
      seq: missing > 0 ? next : seq,
      incident: of.incident,
      expected: `entry ${next}`,
      found: `entry ${seq}`,
      says,
    });
  }

  function end(found: { head: Head | null; length: number }): ChainReport {
    ends(found.head);
    if (first !== null && first.link.seq > 1 && found.length < least)
      fault({
        seq: 1,
        incident: null,
        expected: "entry 1",
        found: `entry ${first.link.seq}`,
        says: `entries 1 to ${first.link.seq - 1} were removed: the stream holds ${found.length}, and Nightshift cuts it only above ${least}`,
      });
    const placed = anchors.map((anchor) => ({ ...anchor, where: place(anchor) }));
    for (const anchor of placed.filter(({ where }) => where === "lost")) {
      const sound = placed.filter(({ where, seq }) => where === "in-chain" && seq < anchor.seq).at(-1);
      fault({
        seq: sound === undefined ? (first?.link.seq ?? 1) : sound.seq + 1,
        incident: null,
        expected: `${anchor.seq}:${anchor.hash}`,
        found: seen.has(anchor.seq) ? `${anchor.seq}:${seen.get(anchor.seq)}` : lastWords(),
        says: lostWords(anchor, sound ?? null),
      });
    }
    return {
      intact: faultCount === 0,
      entries,
      first: first === null ? null : { seq: first.link.seq, at: first.at },
      last: last === null ? null : { seq: last.link.seq, at: last.at, hash: last.link.hash },
      faults,
      faultCount,
      anchors: placed,
    };
  }

  function ends(head: Head | null): void {
    const at = last?.link ?? null;
    if (head === null && at === null) return;
    if (head?.seq === at?.seq && head?.hash === at?.hash) return;
    const says =
      head === null
        ? `the chain ends with entry ${at?.seq}, and its head in Redis is gone`
        : at === null
          ? `all ${head.seq} entries were removed`
          : head.seq > at.seq
            ? `entries ${at.seq + 1} to ${head.seq} were removed from the end`
            : `the chain goes on behind its head in Redis: the head was set back or replaced`;
    fault({
      seq: Math.min(at?.seq ?? 0, head?.seq ?? Number.POSITIVE_INFINITY) + 1,
      incident: null,
      expected: head === null ? "a head" : `${head.seq}:${head.hash}`,
      found: lastWords(),
      says,
    });
  }

  const lastWords = () =>
    last === null ? "no entry at all" : `a chain that ends with ${last.link.seq}:${last.link.hash}`;

  function place(anchor: Anchor): Whereabouts {
    if (seen.get(anchor.seq) === anchor.hash) return "in-chain";
    return first !== null && anchor.seq < first.link.seq ? "trimmed" : "lost";
  }

  return { take, end };
}

/** What it means that a head which was kept outside Redis is not in the chain any more. `sound` is the newest that still is. */
export function lostWords(
  lost: { at: number | null; seq: number },
  sound: { at: number | null; seq: number } | null,
): string {
  const which =
    lost.at === null
      ? `the head of entry ${lost.seq}`
      : `the head kept in the cluster at ${iso(lost.at)} (entry ${lost.seq})`;
  const after = sound?.at == null ? "" : ` (after ${iso(sound.at)})`;
  const from = sound === null ? "history from before that moment" : `history from entry ${sound.seq + 1}${after}`;
  return `${which} is not in the chain: ${from} was lost or replaced`;
}
