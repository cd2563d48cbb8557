/** Fence, then look: "it did not happen" is true only after a write has made every earlier request void. PROTOCOL section 5. */
import { ClusterError, type ClusterReader, type ClusterWriter, type KubeObject } from "../cluster.js";
import type { LedgerOpen } from "./ledger.js";

export const LAST_OP = "nightshift.dev/last-op";
export const FENCE = "nightshift.dev/fence";

/** Whether the fence was accepted on the intent's own resourceVersion: that proves that nothing was written since. */
export type Fenced = { proved: boolean };
export type LookVerdict = "happened" | "did-not" | "cannot-tell";

/**
 * Writes the fence annotation, alone: first on the intent's resourceVersion, and where that moved once more without.
 * Repeating it is harmless. Errors: ClusterError when it could not be written; the caller must not go on then.
 */
export async function fence(writer: ClusterWriter, open: LedgerOpen, mark: string): Promise<Fenced> {
  const annotations = { [FENCE]: mark };
  try {
    await writer.mergePatch(open.object, { metadata: { resourceVersion: open.resourceVersion, annotations } });
    return { proved: true };
  } catch (error) {
    if (!(error instanceof ClusterError)) throw error;
    if (error.status === 404) return { proved: false };
    // An unanswered fence may have been written: its own write then looks like "moved", which proves less but never wrong.
    if (!error.conflict && !error.fateUnknown) throw error;
  }
  for (let attempt = 0; ; attempt += 1) {
    try {
      await writer.mergePatch(open.object, { metadata: { annotations } });
      return { proved: false };
    } catch (error) {
      if (error instanceof ClusterError && error.status === 404) return { proved: false };
      const again = error instanceof ClusterError && (error.conflict || error.fateUnknown) && attempt < 3;
      if (!again) throw error;
    }
  }
}

/** Reads the object live, after the fence, and tells what became of the intent. */
export async function look(reader: ClusterReader, open: LedgerOpen, fenced: Fenced): Promise<LookVerdict> {
  const live = await reader.get(open.object);
  if (live === null || live.metadata.uid !== open.object.uid) return "cannot-tell";
  if (lastOp(live) === open.key) return "happened";
  if (fenced.proved) return "did-not";
  return live.metadata.generation === open.generation ? "did-not" : "cannot-tell";
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
