import type { Alert } from "../alert/alert.js";
import { type ClusterReader, type KubeObject, nameOf, type ObjectRef, type OwnerReference } from "../cluster.js";
import type { NamedTarget, Target } from "./target.js";

/** From labels to the one workload: resolved, never guessed. */

export type Resolution =
  | { target: Target }
  | { reason: "target-not-found" | "ambiguous-target" | "unsupported-kind"; says: string; candidates: string[] };

const apiVersions: Record<string, string> = {
  Pod: "v1",
  Service: "v1",
  Node: "v1",
  PersistentVolumeClaim: "v1",
  Deployment: "apps/v1",
  ReplicaSet: "apps/v1",
  StatefulSet: "apps/v1",
  DaemonSet: "apps/v1",
  Job: "batch/v1",
  CronJob: "batch/v1",
  Ingress: "networking.k8s.io/v1",
  HorizontalPodAutoscaler: "autoscaling/v2",
};

/** Kinds at which the way up ends: what a person means by "the workload". */
const WORKLOADS = new Set(["Deployment", "StatefulSet", "DaemonSet", "CronJob", "Job"]);
const WORKLOAD_KINDS = ["Deployment", "StatefulSet", "DaemonSet"];

interface Place {
  cluster: ClusterReader;
  clusterName: string;
  namespace: string;
}

/** Errors of the cluster propagate (ClusterError): not being able to look is not "not found". */
export async function resolveTarget(
  named: NamedTarget,
  alert: Pick<Alert, "labels">,
  cluster: ClusterReader,
): Promise<Resolution> {
  const place: Place = { cluster, clusterName: named.cluster, namespace: named.namespace };
  if (named.kind !== undefined) return byKind(place, named.kind, named.name);
  switch (named.from) {
    case "pod":
      return byPod(place, named.name);
    case "service":
      return byService(place, named.name);
    case "hpa":
      return byHpa(place, named.name);
    case "ingress":
      return byIngress(place, named.name);
    case "pvc":
      return byClaim(place, named.name);
    case "node":
      return byKind(place, "Node", named.name);
    case "instance":
      return byInstance(place, named.name, alert);
    default:
      return { reason: "unsupported-kind", says: "the rule's target names neither kind nor from", candidates: [] };
  }
}

async function byKind(place: Place, kind: string, name: string): Promise<Resolution> {
  const apiVersion = apiVersions[kind];
  if (apiVersion === undefined)
    return { reason: "unsupported-kind", says: `${kind} is no kind that is looked up`, candidates: [] };
  if (kind === "Pod") return byPod(place, name);
  if (kind === "Service") return byService(place, name);
  const ref: ObjectRef = { apiVersion, kind, namespace: kind === "Node" ? "" : place.namespace, name };
  const found = await place.cluster.get(ref);
  if (found === null) return notFound(nameOf(ref));
  return kind === "ReplicaSet" || kind === "Job" ? up(place, found) : target(place, found, apiVersion, kind);
}

async function byPod(place: Place, name: string): Promise<Resolution> {
  const pod = await place.cluster.get({ apiVersion: "v1", kind: "Pod", namespace: place.namespace, name });
  if (pod !== null) return up(place, { ...pod, apiVersion: "v1", kind: "Pod" });
  // The pod is gone: its name tells what made it, if that still exists.
  const tried: [kind: string, name: string | undefined][] = [
    ["ReplicaSet", /^(.+)-[a-z0-9]{5}$/.exec(name)?.[1]],
    ["StatefulSet", /^(.+)-\d+$/.exec(name)?.[1]],
    ["DaemonSet", /^(.+)-[a-z0-9]{5}$/.exec(name)?.[1]],
    // The ReplicaSet may be gone as well (revisionHistoryLimit): `<deployment>-<hash>-<suffix>`.
    ["Deployment", /^(.+)-[a-z0-9]{6,10}-[a-z0-9]{5}$/.exec(name)?.[1]],
  ];
  const found: KubeObject[] = [];
  for (const [kind, made] of tried) {
    if (made === undefined || (kind === "Deployment" && found.length > 0)) continue;
    const object = await place.cluster.get({ apiVersion: "apps/v1", kind, namespace: place.namespace, name: made });
    if (object !== null) found.push({ ...object, apiVersion: "apps/v1", kind });
  }
  const [only] = found;
  if (only === undefined) return notFound(`Pod ${place.namespace}/${name} and whatever made it`);
  if (found.length > 1) return ambiguous(`Pod ${place.namespace}/${name} is gone and could have been made by`, found);
  return up(place, only);
}

/** Up the controllers to the workload. An owner of a kind that is not known ends the way. */
async function up(place: Place, object: KubeObject): Promise<Resolution> {
  let here = object;
  for (let steps = 0; steps < 5; steps += 1) {
    const owner = (here.metadata.ownerReferences ?? []).find((o) => o.controller) ?? soleOwner(here);
    if (owner === undefined) {
      if (WORKLOADS.has(here.kind) || here.kind === "Node") return target(place, here, here.apiVersion, here.kind);
      return {
        reason: "ambiguous-target",
        says: `${nameOf(refIn(place, here))} belongs to no controller`,
        candidates: [],
      };
    }
    const known = owner.kind === "Node" ? undefined : apiVersions[owner.kind];
    if (known === undefined || owner.apiVersion.split("/")[0] !== known.split("/")[0]) {
      if (WORKLOADS.has(here.kind)) return target(place, here, here.apiVersion, here.kind);
      const says = `${nameOf(refIn(place, here))} belongs to ${owner.kind} ${owner.name} (${owner.apiVersion}), a kind that is not known here`;
      return { reason: "ambiguous-target", says, candidates: [`${owner.kind} ${owner.name}`] };
    }
    const above = await place.cluster.get({
      apiVersion: known,
      kind: owner.kind,
      namespace: place.namespace,
      name: owner.name,
    });
    if (above === null || above.metadata.uid !== owner.uid)
      return notFound(
        `${owner.kind} ${place.namespace}/${owner.name}, the owner of ${here.kind} ${here.metadata.name},`,
      );
    here = { ...above, apiVersion: known, kind: owner.kind };
  }
  return {
    reason: "ambiguous-target",
    says: `${nameOf(refIn(place, object))}: more than five owners above each other`,
    candidates: [],
  };
}

function soleOwner(object: KubeObject): OwnerReference | undefined {
  const owners = object.metadata.ownerReferences ?? [];
  return owners.length === 1 ? owners[0] : undefined;
}

/** A Service by its exact name, else a workload of that name: platform rules call a workload's pods its service. */
async function byService(place: Place, name: string): Promise<Resolution> {
  const service = await place.cluster.get({ apiVersion: "v1", kind: "Service", namespace: place.namespace, name });
  if (service !== null) {
    const selector = (service.spec?.selector ?? {}) as Record<string, string>;
    if (Object.keys(selector).length === 0)
      return {
        reason: "ambiguous-target",
        says: `Service ${place.namespace}/${name} selects no pods by label`,
        candidates: [],
      };
    return bySelector(place, selector, `Service ${place.namespace}/${name}`);
  }
  const found: KubeObject[] = [];
  for (const kind of WORKLOAD_KINDS) {
    const object = await place.cluster.get({ apiVersion: "apps/v1", kind, namespace: place.namespace, name });
    if (object !== null) found.push({ ...object, apiVersion: "apps/v1", kind });
  }
  const [only] = found;
  if (only === undefined) return notFound(`Service ${place.namespace}/${name}, or a workload of that name,`);
  if (found.length > 1)
    return ambiguous(`there is no Service ${place.namespace}/${name}, and several workloads of that name:`, found);
  return target(place, only, only.apiVersion, only.kind);
}

/** The owner of the pods that a selector picks; with no pods, the workload whose template it would pick. */
async function bySelector(place: Place, selector: Record<string, string>, what: string): Promise<Resolution> {
  const labelSelector = Object.entries(selector)
    .map(([key, value]) => `${key}=${value}`)
    .join(",");
  const all = await place.cluster.list({ apiVersion: "v1", kind: "Pod", namespace: place.namespace, labelSelector });
  const pods = all.filter(lives);
  const owners = new Map<string, Target>();
  for (const pod of pods) {
    const found = await up(place, { ...pod, apiVersion: "v1", kind: "Pod" });
    if (!("target" in found)) {
      if (found.reason === "ambiguous-target") return found;
      continue;
    }
    owners.set(found.target.uid, found.target);
  }
  if (owners.size === 0) {
    for (const kind of WORKLOAD_KINDS) {
      for (const object of await place.cluster.list({ apiVersion: "apps/v1", kind, namespace: place.namespace })) {
        const labels = (object.spec?.template?.metadata?.labels ?? {}) as Record<string, string>;
        if (!Object.entries(selector).every(([key, value]) => labels[key] === value)) continue;
        owners.set(object.metadata.uid, targetOf(place, object, "apps/v1", kind));
      }
    }
  }
  const found = [...owners.values()];
  const [only] = found;
  if (only === undefined) return notFound(`the workload behind ${what}`);
  if (found.length > 1) {
    const candidates = found.map(nameOf);
    return {
      reason: "ambiguous-target",
      says: `${what} leads to ${found.length} workloads: ${candidates.join(", ")}`,
      candidates,
    };
  }
  return { target: only };
}

/** A pod that has ended serves nobody, a Job's beside the service's own for instance; its address may be another's by now. */
function lives(pod: KubeObject): boolean {
  return pod.status?.phase !== "Succeeded" && pod.status?.phase !== "Failed";
}

async function byHpa(place: Place, name: string): Promise<Resolution> {
  const hpa = await place.cluster.get({
    apiVersion: "autoscaling/v2",
    kind: "HorizontalPodAutoscaler",
    namespace: place.namespace,
    name,
  });
  if (hpa === null) return notFound(`HorizontalPodAutoscaler ${place.namespace}/${name}`);
  const ref = hpa.spec?.scaleTargetRef as { kind?: string; name?: string } | undefined;
  if (!ref?.kind || !ref.name || !WORKLOAD_KINDS.includes(ref.kind)) {
    return {
      reason: "unsupported-kind",
      says: `HorizontalPodAutoscaler ${place.namespace}/${name} scales ${ref?.kind ?? "nothing"}`,
      candidates: [],
    };
  }
  return byKind(place, ref.kind, ref.name);
}

async function byIngress(place: Place, name: string): Promise<Resolution> {
  const ingress = await place.cluster.get({
    apiVersion: "networking.k8s.io/v1",
    kind: "Ingress",
    namespace: place.namespace,
    name,
  });
  if (ingress === null) return notFound(`Ingress ${place.namespace}/${name}`);
  interface Backend {
    service?: { name?: string };
  }
  const rules = (ingress.spec?.rules ?? []) as { http?: { paths?: { backend?: Backend }[] } }[];
  const backends: (Backend | undefined)[] = [
    ingress.spec?.defaultBackend,
    ...rules.flatMap((rule) => (rule.http?.paths ?? []).map((path) => path.backend)),
  ];
  const services = [
    ...new Set(backends.map((backend) => backend?.service?.name).filter((service) => service !== undefined)),
  ];
  const [only] = services;
  if (only === undefined || services.length > 1) {
    const candidates = services.map((service) => `Service ${place.namespace}/${service}`);
    return {
      reason: "ambiguous-target",
      says: `Ingress ${place.namespace}/${name} leads to ${services.length} services: ${candidates.join(", ") || "none"}`,
      candidates,
    };
  }
  return byService(place, only);
}

async function byClaim(place: Place, name: string): Promise<Resolution> {
  const pods = await place.cluster.list({ apiVersion: "v1", kind: "Pod", namespace: place.namespace });
  const mounting = pods.filter((pod) =>
    ((pod.spec?.volumes ?? []) as { persistentVolumeClaim?: { claimName?: string } }[]).some(
      (v) => v.persistentVolumeClaim?.claimName === name,
    ),
  );
  return onlyOwner(place, mounting, `PersistentVolumeClaim ${place.namespace}/${name}`);
}

async function byInstance(place: Place, instance: string, alert: Pick<Alert, "labels">): Promise<Resolution> {
  const address = instance.replace(/:\d+$/, "").replace(/^\[|\]$/g, "");
  const pods = await place.cluster.list({ apiVersion: "v1", kind: "Pod", namespace: place.namespace });
  const there = pods.filter((pod) => pod.status?.podIP === address && pod.spec?.hostNetwork !== true && lives(pod));
  return onlyOwner(place, there, `instance ${instance} of ${alert.labels["job"] ?? "no job"}`);
}

async function onlyOwner(place: Place, pods: KubeObject[], what: string): Promise<Resolution> {
  const owners = new Map<string, Target>();
  for (const pod of pods) {
    const found = await up(place, { ...pod, apiVersion: "v1", kind: "Pod" });
    if (!("target" in found)) return found;
    owners.set(found.target.uid, found.target);
  }
  const all = [...owners.values()];
  const [only] = all;
  if (only === undefined) return notFound(`the workload behind ${what}`);
  if (all.length > 1)
    return {
      reason: "ambiguous-target",
      says: `${what} belongs to ${all.map(nameOf).join(", ")}`,
      candidates: all.map(nameOf),
    };
  return { target: only };
}

function targetOf(place: Place, object: KubeObject, apiVersion: string, kind: string): Target {
  return {
    cluster: place.clusterName,
    apiVersion,
    kind,
    namespace: object.metadata.namespace ?? "",
    name: object.metadata.name,
    uid: object.metadata.uid,
  };
}

function target(place: Place, object: KubeObject, apiVersion: string, kind: string): Resolution {
  return { target: targetOf(place, object, apiVersion, kind) };
}

function refIn(place: Place, object: KubeObject): ObjectRef {
  return { apiVersion: object.apiVersion, kind: object.kind, namespace: place.namespace, name: object.metadata.name };
}

function notFound(what: string): Resolution {
  return { reason: "target-not-found", says: `${what} is not in the cluster`, candidates: [] };
}

function ambiguous(says: string, found: KubeObject[]): Resolution {
  const candidates = found.map((o) =>
    nameOf({ kind: o.kind, namespace: o.metadata.namespace ?? "", name: o.metadata.name }),
  );
  return { reason: "ambiguous-target", says: `${says} ${candidates.join(", ")}`, candidates };
}
