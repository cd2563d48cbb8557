/** Fence, then look: "it did not happen" is true only after a write has made every earlier request void. PROTOCOL section 5. */
import type { Clock } from "../clock.js";
import { ClusterError, type ClusterReader, type ClusterWriter, type KubeObject } from "../cluster.js";
import type { LedgerOpen } from "./ledger.js";

export const LAST_OP = "nightshift.dev/last-op";
export const FENCE = "nightshift.dev/fence";

/**
 * `proved`: a fence was accepted on the intent's own resourceVersion, so nothing was written in between. `count`: fences
 * made for this intent, this one included; never more than there were. `generation` is the object's after the fence; null
 * where it is gone.
 */
export type Fenced = { proved: boolean; count: number; generation: number | null };
export type LookVerdict = "happened" | "did-not" | "cannot-tell";

const GONE: Fenced = { proved: false, count: 0, generation: null };

/**
 * Writes the fence annotation, alone: first on the intent's resourceVersion, and where that moved once more without.
 * Repeating it is harmless, and loses nothing: what an earlier fence of the same intent proved stands in its mark, because
 * a worker may die between its fence and what it makes of it. Errors: ClusterError when it could not be written; the
 * caller must not go on then. An eviction needs none: it names the pod's UID, so a late one takes that pod or nothing.
 */
export async function fence(
  cluster: { reader: ClusterReader; writer: ClusterWriter },
  open: LedgerOpen,
  who: string,
): Promise<Fenced> {
  if (open.evicts) return GONE;
  const write = async (mark: Mark, on: { resourceVersion?: string }): Promise<Fenced> => {
    const annotations = { [FENCE]: `${who} ${open.resourceVersion} ${mark.count} ${mark.proved ? "void" : "later"}` };
    const after = await cluster.writer.mergePatch(open.object, { metadata: { ...on, annotations } });
    return { ...mark, generation: after.metadata.generation ?? null };
  };
  try {
    return await write({ proved: true, count: 1 }, { resourceVersion: open.resourceVersion });
  } catch (error) {
    if (!(error instanceof ClusterError)) throw error;
    if (error.status === 404) return GONE;
    // An unanswered fence may have been written: its mark then says so.
    if (!error.conflict && !error.fateUnknown) throw error;
  }
  for (let attempt = 0; ; attempt += 1) {
    try {
      const live = await cluster.reader.get(open.object);
      if (live === null) return GONE;
      const before = markOf(live, open);
      return await write({ proved: before.proved, count: before.count + 1 }, {});
    } catch (error) {
      if (error instanceof ClusterError && error.status === 404) return GONE;
      const again = error instanceof ClusterError && (error.conflict || error.fateUnknown) && attempt < 3;
      if (!again) throw error;
    }
  }
}

interface Mark {
  proved: boolean;
  count: number;
}

/**
 * What earlier fences of this very intent found. A mark of another intent says nothing about this one, also where it is
 * the same step's. One that somebody took away or put back from earlier counts too few, which ends in "cannot tell".
 */
function markOf(live: KubeObject, open: LedgerOpen): Mark {
  const [found, count, proof] = (live.metadata.annotations?.[FENCE] ?? "").split(" ").slice(-3);
  const mine = live.metadata.uid === open.object.uid && found === open.resourceVersion && /^\d+$/.test(count ?? "");
  return mine ? { proved: proof === "void", count: Number(count) } : { proved: false, count: 0 };
}

/** Reads the object live, after the fence, and tells what became of the intent. */
export async function look(reader: ClusterReader, open: LedgerOpen, fenced: Fenced): Promise<LookVerdict> {
  const live = await reader.get(open.object);
  if (open.evicts) return leftOrLeaves(live, open) ? "happened" : "did-not";
  if (live === null || live.metadata.uid !== open.object.uid) return "cannot-tell";
  if (lastOp(live) === open.key) return "happened";
  if (fenced.proved) return "did-not";
  // Every effect on such a kind moves the generation. Had it moved by nothing but the fences since, the effect is not there.
  if (!COUNTS_SPEC.has(open.object.kind) || open.generation < 1) return "cannot-tell";
  const moved = fenced.count * fenceMoves(open.object.kind);
  return fenced.generation === open.generation + moved ? "did-not" : "cannot-tell";
}

/** Kinds whose `metadata.generation` moves with every change of their spec. A HorizontalPodAutoscaler's never moves. */
const COUNTS_SPEC = new Set(["Deployment", "StatefulSet", "DaemonSet", "ScaledObject"]);

/** Whether the pod of an eviction is gone, is another one by now, or is on its way out. */
function leftOrLeaves(live: KubeObject | null, open: LedgerOpen): boolean {
  return live === null || live.metadata.uid !== open.object.uid || live.metadata.deletionTimestamp !== undefined;
}

/**
 * How far a fence itself moves `metadata.generation`: the API server counts a Deployment's annotations as a change of it
 * (seen on 1.36: labels and status do not), of no other kind. Each fence carries a mark of its own, so it always changes.
 */
function fenceMoves(kind: string): number {
  return kind === "Deployment" ? 1 : 0;
}

/** A controller that lives has seen a new generation within milliseconds; after this long the guards decide. */
const SEEN_MS = 5000;
const EVERY_MS = 100;

/**
 * Waits until the object's own controller has seen what our fences did to its generation: to the guards an unseen
 * generation is somebody's rollout, and a run must not be held by its own fence. Errors: ClusterError.
 */
export async function untilSeen(
  e: { reader: ClusterReader; clock: Clock },
  object: LedgerOpen["object"],
): Promise<void> {
  if (fenceMoves(object.kind) === 0) return;
  const began = e.clock.monotonic();
  for (;;) {
    const live = await e.reader.get(object);
    const seen = Number(live?.status?.["observedGeneration"] ?? 0);
    if (live === null || seen >= (live.metadata.generation ?? 0)) return;
    if (e.clock.monotonic() - began >= SEEN_MS) return;
    await e.clock.sleep(EVERY_MS);
  }
}

/** Key of the last operation on an object, null where there is none that can be read. */
export function lastOp(object: KubeObject): string | null {
  const text = object.metadata.annotations?.[LAST_OP];
  if (text === undefined) return null;
  try {
    const value = JSON.parse(text) as { key?: unknown };
    return typeof value.key === "string" ? value.key : null;
  } catch {
    return null;
  }
}
