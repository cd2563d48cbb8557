import type { ObjectRef } from "../cluster.js";

/** Where the API server keeps a kind. Every segment is encoded: a name can never change the path. */

/** Plurals of the kinds that Nightshift reads. A kind that is not here has no path. */
const plurals: Record<string, string> = {
  Pod: "pods",
  Service: "services",
  Endpoints: "endpoints",
  ConfigMap: "configmaps",
  Secret: "secrets",
  Event: "events",
  Node: "nodes",
  Namespace: "namespaces",
  PersistentVolumeClaim: "persistentvolumeclaims",
  ServiceAccount: "serviceaccounts",
  Deployment: "deployments",
  ReplicaSet: "replicasets",
  StatefulSet: "statefulsets",
  DaemonSet: "daemonsets",
  ControllerRevision: "controllerrevisions",
  Job: "jobs",
  CronJob: "cronjobs",
  HorizontalPodAutoscaler: "horizontalpodautoscalers",
  PodDisruptionBudget: "poddisruptionbudgets",
  ResourceQuota: "resourcequotas",
  EndpointSlice: "endpointslices",
  Ingress: "ingresses",
  Lease: "leases",
  RoleBinding: "rolebindings",
  SelfSubjectAccessReview: "selfsubjectaccessreviews",
  SubjectAccessReview: "subjectaccessreviews",
  Rollout: "rollouts",
  Application: "applications",
  ScaledObject: "scaledobjects",
};

/** The path of a kind's list, or null for a kind that is not known. */
export function listPath(apiVersion: string, kind: string, namespace: string): string | null {
  const plural = plurals[kind];
  if (plural === undefined) return null;
  const base = apiVersion === "v1" ? "/api/v1" : `/apis/${apiVersion.split("/").map(encodeURIComponent).join("/")}`;
  return namespace === "" ? `${base}/${plural}` : `${base}/namespaces/${encodeURIComponent(namespace)}/${plural}`;
}

export function objectPath(ref: ObjectRef): string | null {
  const list = listPath(ref.apiVersion, ref.kind, ref.namespace);
  // "." and ".." survive encoding and would be resolved away by a URL parser.
  if (list === null || ref.name === "" || ref.name === "." || ref.name === "..") return null;
  return `${list}/${encodeURIComponent(ref.name)}`;
}
