/** Fence, then look: "it did not happen" is true only after a write has made every earlier request void. PROTOCOL section 5. */
import { ClusterError, type ClusterReader, type ClusterWriter, type KubeObject } from "../cluster.js";
import type { LedgerOpen } from "./ledger.js";

export const LAST_OP = "nightshift.dev/last-op";
export const FENCE = "nightshift.dev/fence";

/**
 * `proved`: the fence was accepted on the intent's own resourceVersion, so nothing was written since. `generation` is the
 * object's after the fence; null where it is gone.
 */
export type Fenced = { proved: boolean; generation: number | null };
export type LookVerdict = "happened" | "did-not" | "cannot-tell";

/**
 * Writes the fence annotation, alone: first on the intent's resourceVersion, and where that moved once more without.
 * Repeating it is harmless. Errors: ClusterError when it could not be written; the caller must not go on then.
 * An eviction needs none: it names the pod's UID, so a late one takes that pod or nothing.
 */
export async function fence(writer: ClusterWriter, open: LedgerOpen, mark: string): Promise<Fenced> {
  if (open.evicts) return { proved: false, generation: null };
  const annotations = { [FENCE]: mark };
  try {
    const after = await writer.mergePatch(open.object, {
      metadata: { resourceVersion: open.resourceVersion, annotations },
    });
    return { proved: true, generation: after.metadata.generation ?? null };
  } catch (error) {
    if (!(error instanceof ClusterError)) throw error;
    if (error.status === 404) return { proved: false, generation: null };
    // An unanswered fence may have been written: its own write then looks like "moved", which proves less but never wrong.
    if (!error.conflict && !error.fateUnknown) throw error;
  }
  for (let attempt = 0; ; attempt += 1) {
    try {
      const after = await writer.mergePatch(open.object, { metadata: { annotations } });
      return { proved: false, generation: after.metadata.generation ?? null };
    } catch (error) {
      if (error instanceof ClusterError && error.status === 404) return { proved: false, generation: null };
      const again = error instanceof ClusterError && (error.conflict || error.fateUnknown) && attempt < 3;
      if (!again) throw error;
    }
  }
}

/** Reads the object live, after the fence, and tells what became of the intent. */
export async function look(reader: ClusterReader, open: LedgerOpen, fenced: Fenced): Promise<LookVerdict> {
  const live = await reader.get(open.object);
  if (open.evicts) return leftOrLeaves(live, open) ? "happened" : "did-not";
  if (live === null || live.metadata.uid !== open.object.uid) return "cannot-tell";
  if (lastOp(live) === open.key) return "happened";
  if (fenced.proved) return "did-not";
  // Every effect on such a kind moves the generation. Had it moved by nothing but this fence since, the effect is not there.
  if (!COUNTS_SPEC.has(open.object.kind) || open.generation < 1) return "cannot-tell";
  return fenced.generation === open.generation + fenceMoves(open.object.kind) ? "did-not" : "cannot-tell";
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
