/** The copy on the cluster of how far the store had come: what tells a Redis that was lost or restored from one that is new. */
import { z } from "zod";
import { type Clock, iso } from "../clock.js";
import { ClusterError, type KubeObject, type OwnObjects } from "../cluster.js";
import type { StoreEpoch } from "../record/store.js";

export const MEMORY_LEASE = "nightshift-memory";
const ANNOTATION = "nightshift.dev/epoch";

const copySchema = z.object({ epoch: z.string(), tick: z.number() });

export interface MemoryCopy {
  /** Null where there is none yet, or none that can be read. Errors: ClusterError. */
  read(): Promise<StoreEpoch | null>;
  /** Errors: ClusterError, with `conflict` when somebody else was faster. */
  write(next: StoreEpoch): Promise<void>;
}

export function createMemoryCopy(objects: OwnObjects, namespace: string, clock: Clock): MemoryCopy {
  const ref = { apiVersion: "coordination.k8s.io/v1", kind: "Lease", namespace, name: MEMORY_LEASE };
  return {
    async read() {
      const text = (await objects.get(ref))?.metadata.annotations?.[ANNOTATION];
      if (text === undefined) return null;
      try {
        return copySchema.parse(JSON.parse(text));
      } catch {
        return null;
      }
    },
    async write(next) {
      const found: KubeObject | null = await objects.get(ref);
      const body = {
        apiVersion: ref.apiVersion,
        kind: ref.kind,
        metadata: {
          name: MEMORY_LEASE,
          namespace,
          labels: {
            ...(found?.metadata.labels ?? {}),
            "app.kubernetes.io/managed-by": "nightshift",
            "app.kubernetes.io/component": "memory",
          },
          annotations: { ...(found?.metadata.annotations ?? {}), [ANNOTATION]: JSON.stringify(next) },
          ...(found === null ? {} : { resourceVersion: found.metadata.resourceVersion }),
        },
        spec: { renewTime: `${iso(clock.now()).slice(0, -1)}000Z`, leaseDurationSeconds: 60 },
      };
      await (found === null ? objects.create(body) : objects.replace(body));
    },
  };
}

export function isConflict(error: unknown): boolean {
  return error instanceof ClusterError && error.conflict;
}
