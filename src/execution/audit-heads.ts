/** Where the heads of the audit chain are kept outside Redis: an annotation of the control ConfigMap, beside the kill switch. */
import { z } from "zod";
import { ClusterError, type KubeObject, type OwnObjects } from "../cluster.js";
import { TerminalError, UnavailableError } from "../errors.js";
import type { KeptHeads } from "../record/kept-heads.js";
import { CONTROL_CONFIGMAP } from "./control.js";

export const HEADS_ANNOTATION = "nightshift.dev/audit-heads";

const place = { seq: z.number().int().positive(), at: z.number().int().nonnegative() };
const anchor = { ...place, hash: z.string().regex(/^[0-9a-f]{64}$/), id: z.string().regex(/^\d+-\d+$/) };
const keptHeads = z.object({
  v: z.literal(1),
  heads: z.array(z.object(anchor)),
  lost: z.array(z.object({ ...anchor, noticed: z.number().int().nonnegative(), sound: z.object(place).nullable() })),
});

export interface AuditHeads {
  /** Errors: ClusterError; UnavailableError where the ConfigMap is not there; TerminalError where the annotation is unreadable. */
  read(): Promise<KeptHeads>;
  /**
   * Writes what `edit` makes of the present heads, on the very version that it saw: a pause that somebody writes at the same
   * time stays, and `edit` is asked again. Null writes nothing. Never makes the ConfigMap: its absence means stopped.
   * Errors: as `read`, and UnavailableError where it kept changing.
   */
  change(edit: (kept: KeptHeads) => Promise<KeptHeads | null>): Promise<void>;
}

export function createAuditHeads(objects: OwnObjects, namespace: string): AuditHeads {
  const name = `${namespace}/${CONTROL_CONFIGMAP}`;

  async function present(): Promise<KubeObject> {
    const found = await objects.get({ apiVersion: "v1", kind: "ConfigMap", namespace, name: CONTROL_CONFIGMAP });
    if (found !== null) return found;
    const how = "`nightshift serve` makes it when it starts";
    throw new UnavailableError("ERR_CONTROL_MISSING", `ConfigMap ${name} is not there: no head can be kept. ${how}`);
  }

  function headsOf(found: KubeObject): KeptHeads {
    const text = found.metadata.annotations?.[HEADS_ANNOTATION];
    if (text === undefined) return { v: 1, heads: [], lost: [] };
    try {
      return keptHeads.parse(JSON.parse(text));
    } catch (cause) {
      const how = `kubectl -n ${namespace} annotate configmap ${CONTROL_CONFIGMAP} ${HEADS_ANNOTATION}-`;
      throw new TerminalError(
        "ERR_HEADS_UNREADABLE",
        `ConfigMap ${name}: its annotation ${HEADS_ANNOTATION} does not hold heads of the audit: somebody changed it. Once you know who: ${how}`,
        { cause },
      );
    }
  }

  return {
    read: async () => headsOf(await present()),
    async change(edit) {
      for (let attempt = 0; attempt < 10; attempt += 1) {
        const found = await present();
        const next = await edit(headsOf(found));
        if (next === null) return;
        const annotations = { ...(found.metadata.annotations ?? {}), [HEADS_ANNOTATION]: JSON.stringify(next) };
        try {
          await objects.replace({ ...found, metadata: { ...found.metadata, annotations } });
          return;
        } catch (error) {
          if (!(error instanceof ClusterError && error.conflict)) throw error;
        }
      }
      throw new UnavailableError(
        "ERR_CONTROL_CONTENDED",
        `ConfigMap ${name} kept changing under 10 attempts to write it`,
      );
    },
  };
}
