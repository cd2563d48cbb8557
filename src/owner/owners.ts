import { type ClusterReader, ClusterError, type KubeObject } from "../cluster.js";
import type { Target } from "../target/target.js";
import type { Owner } from "./owner.js";

/** Who else writes the target's fields: act through them, or hand off. Errors: ClusterError where it cannot be asked. */
export async function ownersOf(target: Target, object: KubeObject, cluster: ClusterReader): Promise<Owner[]> {
  const labels = object.metadata.labels ?? {};
  const annotations = object.metadata.annotations ?? {};
  const managers = new Set((object.metadata.managedFields ?? []).map((entry) => entry.manager ?? ""));
  const owners: Owner[] = [];
  const { namespace } = target;
  const [hpas, scalers, rollouts] = await Promise.all([
    cluster.list({ apiVersion: "autoscaling/v2", kind: "HorizontalPodAutoscaler", namespace }),
    optional(() => cluster.list({ apiVersion: "keda.sh/v1alpha1", kind: "ScaledObject", namespace })),
    optional(() => cluster.list({ apiVersion: "argoproj.io/v1alpha1", kind: "Rollout", namespace })),
  ]);

  const argo =
    annotations["argocd.argoproj.io/tracking-id"]?.split(":")[0] ??
    labels["argocd.argoproj.io/instance"] ??
    (managers.has("argocd-controller") ? "unknown application" : undefined);
  if (argo !== undefined)
    owners.push(handsOff("argo-cd", argo, `Argo CD application ${argo} puts it back to what Git says`));
  const flux =
    labels["kustomize.toolkit.fluxcd.io/name"] ??
    labels["helm.toolkit.fluxcd.io/name"] ??
    (managers.has("kustomize-controller") || managers.has("helm-controller") ? "unknown" : undefined);
  if (flux !== undefined) owners.push(handsOff("flux", flux, `Flux (${flux}) puts it back to what Git says`));
  const helm =
    annotations["meta.helm.sh/release-name"] ??
    (labels["app.kubernetes.io/managed-by"] === "Helm"
      ? (labels["app.kubernetes.io/instance"] ?? "unknown release")
      : undefined);
  if (helm !== undefined && flux === undefined) {
    owners.push({
      kind: "helm",
      name: helm,
      says: `Helm release ${helm} still holds the other version: the next upgrade starts from it`,
      handsOff: false,
      writes: [],
    });
  }
  for (const owner of object.metadata.ownerReferences ?? []) {
    const rollout = owner.kind === "Rollout";
    owners.push(
      handsOff(
        rollout ? "argo-rollouts" : "operator",
        `${owner.kind} ${owner.name}`,
        `${owner.kind} ${owner.name} (${owner.apiVersion}) owns it and writes it`,
      ),
    );
  }

  for (const hpa of hpas) {
    if (!names(hpa.spec?.scaleTargetRef, target)) continue;
    const { minReplicas = 1, maxReplicas } = hpa.spec as { minReplicas?: number; maxReplicas?: number };
    owners.push({
      kind: "hpa",
      name: hpa.metadata.name,
      says: `HorizontalPodAutoscaler ${hpa.metadata.name} sets the replicas (${minReplicas} to ${maxReplicas})`,
      handsOff: false,
      writes: ["/spec/replicas"],
    });
  }
  for (const scaled of scalers) {
    if (!names(scaled.spec?.scaleTargetRef, target)) continue;
    owners.push({
      kind: "keda",
      name: scaled.metadata.name,
      says: `KEDA ScaledObject ${scaled.metadata.name} sets the replicas`,
      handsOff: false,
      writes: ["/spec/replicas"],
    });
  }
  for (const rollout of rollouts) {
    if (!names(rollout.spec?.workloadRef, target)) continue;
    owners.push(
      handsOff("argo-rollouts", rollout.metadata.name, `Argo Rollouts ${rollout.metadata.name} rolls it out`),
    );
  }
  return owners;
}

function handsOff(kind: Owner["kind"], name: string, says: string): Owner {
  return { kind, name, says, handsOff: true, writes: ["/spec"] };
}

/** Whether a reference without UID means the target. KEDA leaves the kind out for a Deployment. */
function names(ref: { kind?: string; name?: string } | undefined, target: Target): boolean {
  return ref?.name === target.name && (ref.kind ?? "Deployment") === target.kind;
}

/**
 * Kinds that few clusters have. Not being allowed to list them means that nobody granted it where they are in use: the
 * chart's reader may; so it counts as "none", while every other failure propagates.
 */
async function optional(list: () => Promise<KubeObject[]>): Promise<KubeObject[]> {
  try {
    return await list();
  } catch (error) {
    if (error instanceof ClusterError && error.forbidden) return [];
    throw error;
  }
}
