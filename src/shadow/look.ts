/** Looks at a workload: all that people change about it, at one moment. Reads only. */
import { ClusterError, type ClusterReader, type KubeObject, type ManagedFieldsEntry } from "../cluster.js";
import { revisionsOf } from "../kit/revisions.js";
import { imagesText, withoutRestart } from "../kit/templates.js";
import { isLeaving, podsOf } from "../kit/workload.js";
import { digestOf } from "../plan/digest.js";
import type { Target } from "../target/target.js";
import { newest, type SeenBound, type SeenPod, type SeenWrite, short, type Sight } from "./shadow.js";

/** More pods than this are not kept one by one. */
const MOST_PODS = 300;

/** Errors: ClusterError where the target itself cannot be read; what lies around it and may not be read is named. */
export async function lookAt(target: Target, cluster: ClusterReader, now: number): Promise<Sight> {
  const live = await cluster.get(target);
  const sight: Sight = { at: now, workload: null, revisions: [], bounds: [], pods: [], writes: [], notRead: [] };
  if (live === null || live.metadata.uid !== target.uid) return sight;
  const optional = async <T>(what: string, none: T, read: () => Promise<T>): Promise<T> => {
    try {
      return await read();
    } catch (error) {
      if (!(error instanceof ClusterError && error.forbidden)) throw error;
      sight.notRead.push(`no right to list ${what}`);
      return none;
    }
  };
  sight.workload = workloadOf(live);
  sight.writes = writesOf(live.metadata.managedFields ?? []);
  const revisions = target.kind === "Deployment" ? () => revisionsOf(target, live, cluster) : async () => [];
  sight.revisions = (await optional("ReplicaSets", [], revisions)).map((revision) => ({
    number: revision.number,
    earlier: revision.earlier,
    template: short(revision.templateDigest),
    plain: short(revision.plainDigest),
    images: short(digestOf(revision.images)),
    bornAt: Date.parse(revision.createdAt),
  }));
  sight.bounds = [
    ...(await optional("HorizontalPodAutoscalers", [], () =>
      boundsOf(target, cluster, { apiVersion: "autoscaling/v2", kind: "HorizontalPodAutoscaler", suffix: "Replicas" }),
    )),
    // Few clusters have KEDA: no right to list it means that it is not in use.
    ...(await boundsOf(target, cluster, {
      apiVersion: "keda.sh/v1alpha1",
      kind: "ScaledObject",
      suffix: "ReplicaCount",
    }).catch((error: unknown) => {
      if (error instanceof ClusterError && error.forbidden) return [];
      throw error;
    })),
  ];
  sight.pods = await optional("pods", null, async () => {
    const pods = (await podsOf(target, live, cluster)).filter((pod) => !isLeaving(pod));
    return pods.length > MOST_PODS ? null : pods.map(seenPod);
  });
  return sight;
}

function workloadOf(live: KubeObject): NonNullable<Sight["workload"]> {
  const { template, replicas, paused, ...rest } = (live.spec ?? {}) as Record<string, unknown>;
  const status = (live.status ?? {}) as Record<string, unknown>;
  const wanted = live.kind === "DaemonSet" ? status["desiredNumberScheduled"] : (replicas ?? 1);
  const updated = status[live.kind === "DaemonSet" ? "updatedNumberScheduled" : "updatedReplicas"] ?? 0;
  const all = live.kind === "DaemonSet" ? updated : (status["replicas"] ?? 0);
  return {
    generation: live.metadata.generation ?? 0,
    template: template === undefined ? "" : short(digestOf(template)),
    plain: template === undefined ? "" : short(digestOf(withoutRestart(template as KubeObject["spec"]))),
    images: short(digestOf(imagesText(template as KubeObject["spec"]))),
    rest: short(digestOf(rest)),
    replicas: typeof replicas === "number" ? replicas : null,
    paused: paused === true,
    settled:
      updated === wanted &&
      all === updated &&
      Number(status["observedGeneration"] ?? 0) >= (live.metadata.generation ?? 0),
  };
}

function writesOf(entries: readonly ManagedFieldsEntry[]): SeenWrite[] {
  return entries
    .filter((entry) => entry.subresource !== "status" && entry.fieldsV1?.["f:spec"] !== undefined)
    .map((entry) => {
      const spec = entry.fieldsV1?.["f:spec"] as Record<string, unknown>;
      return {
        manager: (entry.manager ?? "").slice(0, 60),
        at: timeOf(entry),
        template: spec["f:template"] !== undefined,
        replicas: spec["f:replicas"] !== undefined,
      };
    });
}

async function boundsOf(
  target: Target,
  cluster: ClusterReader,
  of: { apiVersion: string; kind: string; suffix: string },
): Promise<SeenBound[]> {
  const all = await cluster.list({ apiVersion: of.apiVersion, kind: of.kind, namespace: target.namespace });
  return all
    .filter((one) => {
      const ref = one.spec?.scaleTargetRef as { kind?: string; name?: string } | undefined;
      return ref?.name === target.name && (ref.kind ?? "Deployment") === target.kind;
    })
    .flatMap((one) => {
      const wrote = newest(writesOf(one.metadata.managedFields ?? []));
      return ["min", "max"].map((end) => ({
        kind: of.kind,
        name: one.metadata.name,
        field: `/spec/${end}${of.suffix}`,
        value: numberOf(one.spec?.[`${end}${of.suffix}`]),
        by: wrote?.manager ?? "",
        at: wrote?.at ?? null,
      }));
    });
}

function seenPod(pod: KubeObject): SeenPod {
  return {
    name: pod.metadata.name,
    uid: pod.metadata.uid,
    node: (pod.spec as { nodeName?: string } | undefined)?.nodeName ?? "",
  };
}

function timeOf(entry: ManagedFieldsEntry): number | null {
  const at = Date.parse(entry.time ?? "");
  return Number.isNaN(at) ? null : at;
}

function numberOf(value: unknown): number | null {
  return typeof value === "number" ? value : null;
}
