/** The kinds that the stand-in keeps. Everything else is answered as an API server without that CRD would. */

/** Raw JSON of any kind, as it is stored and sent. */
// biome-ignore lint/suspicious/noExplicitAny: objects of every kind pass through, and are validated field by field
export type Raw = Record<string, any>;

export interface Kind {
  group: string;
  version: string;
  kind: string;
  plural: string;
  singular: string;
  shortNames: string[];
  namespaced: boolean;
  subresources: string[];
  /** Whether a PUT without resourceVersion is taken. */
  unconditional: boolean;
  /** What moves metadata.generation. A Deployment's annotations do, as on a real API server. */
  generation: "none" | "spec" | "spec-and-annotations";
  /** Field selectors beside metadata.name and metadata.namespace. */
  fields: string[];
}

type Extra = Partial<
  Pick<Kind, "shortNames" | "namespaced" | "subresources" | "unconditional" | "generation" | "fields" | "singular">
>;

function kind(apiVersion: string, name: string, plural: string, extra: Extra = {}): Kind {
  const [group, version] = apiVersion.includes("/") ? (apiVersion.split("/") as [string, string]) : ["", apiVersion];
  return {
    group,
    version: version ?? "",
    kind: name,
    plural,
    singular: name.toLowerCase(),
    shortNames: [],
    namespaced: true,
    subresources: [],
    unconditional: true,
    generation: "none",
    fields: [],
    ...extra,
  };
}

const involved = ["kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath"].map(
  (field) => `involvedObject.${field}`,
);

export const kinds: readonly Kind[] = [
  kind("v1", "Namespace", "namespaces", {
    shortNames: ["ns"],
    namespaced: false,
    subresources: ["status"],
    fields: ["status.phase"],
  }),
  kind("v1", "Node", "nodes", {
    shortNames: ["no"],
    namespaced: false,
    subresources: ["status"],
    fields: ["spec.unschedulable"],
  }),
  kind("v1", "Pod", "pods", {
    shortNames: ["po"],
    subresources: ["status", "log", "eviction"],
    generation: "spec",
    fields: [
      "spec.nodeName",
      "spec.restartPolicy",
      "spec.schedulerName",
      "spec.serviceAccountName",
      "status.phase",
      "status.podIP",
    ],
  }),
  kind("v1", "Service", "services", {
    shortNames: ["svc"],
    subresources: ["status"],
    fields: ["spec.clusterIP", "spec.type"],
  }),
  kind("v1", "ConfigMap", "configmaps", { shortNames: ["cm"] }),
  kind("v1", "Secret", "secrets", { fields: ["type"] }),
  kind("v1", "Event", "events", {
    shortNames: ["ev"],
    fields: [...involved, "reason", "reportingComponent", "source", "type"],
  }),
  kind("v1", "ServiceAccount", "serviceaccounts", { shortNames: ["sa"] }),
  kind("v1", "PersistentVolumeClaim", "persistentvolumeclaims", { shortNames: ["pvc"], subresources: ["status"] }),
  kind("apps/v1", "Deployment", "deployments", {
    shortNames: ["deploy"],
    subresources: ["status", "scale"],
    generation: "spec-and-annotations",
  }),
  kind("apps/v1", "ReplicaSet", "replicasets", {
    shortNames: ["rs"],
    subresources: ["status"],
    generation: "spec",
    fields: ["status.replicas"],
  }),
  kind("apps/v1", "StatefulSet", "statefulsets", {
    shortNames: ["sts"],
    subresources: ["status", "scale"],
    generation: "spec",
  }),
  kind("apps/v1", "DaemonSet", "daemonsets", { shortNames: ["ds"], subresources: ["status"], generation: "spec" }),
  kind("apps/v1", "ControllerRevision", "controllerrevisions"),
  kind("batch/v1", "Job", "jobs", { subresources: ["status"], generation: "spec", fields: ["status.successful"] }),
  kind("batch/v1", "CronJob", "cronjobs", { shortNames: ["cj"], subresources: ["status"], generation: "spec" }),
  kind("networking.k8s.io/v1", "Ingress", "ingresses", {
    shortNames: ["ing"],
    subresources: ["status"],
    generation: "spec",
  }),
  kind("discovery.k8s.io/v1", "EndpointSlice", "endpointslices", { generation: "spec" }),
  kind("autoscaling/v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers", {
    shortNames: ["hpa"],
    subresources: ["status"],
  }),
  kind("policy/v1", "PodDisruptionBudget", "poddisruptionbudgets", {
    shortNames: ["pdb"],
    subresources: ["status"],
    unconditional: false,
    generation: "spec",
  }),
  kind("coordination.k8s.io/v1", "Lease", "leases", { unconditional: false }),
  kind("rbac.authorization.k8s.io/v1", "Role", "roles"),
  kind("rbac.authorization.k8s.io/v1", "RoleBinding", "rolebindings"),
  kind("rbac.authorization.k8s.io/v1", "ClusterRole", "clusterroles", { namespaced: false }),
  kind("rbac.authorization.k8s.io/v1", "ClusterRoleBinding", "clusterrolebindings", { namespaced: false }),
];

/** Kinds that are asked and never stored. */
export const reviews: readonly Kind[] = [
  kind("authorization.k8s.io/v1", "SelfSubjectAccessReview", "selfsubjectaccessreviews", { namespaced: false }),
  kind("authorization.k8s.io/v1", "SubjectAccessReview", "subjectaccessreviews", { namespaced: false }),
];

export const allKinds: readonly Kind[] = [...kinds, ...reviews];

export function apiVersionOf(kind: Pick<Kind, "group" | "version">): string {
  return kind.group === "" ? kind.version : `${kind.group}/${kind.version}`;
}

export function findKind(group: string, version: string, plural: string): Kind | undefined {
  return allKinds.find((kind) => kind.group === group && kind.version === version && kind.plural === plural);
}

/** The kind of an object. Errors: Error for a kind that is not kept, which is a fault of the test or the demo. */
export function kindNamed(name: string): Kind {
  const found = allKinds.find((kind) => kind.kind === name);
  if (found === undefined) throw new Error(`the stand-in keeps no objects of kind ${name}`);
  return found;
}

/** "deployments.apps", as the API server writes it in messages. */
export function resourceName(kind: Kind): string {
  return kind.group === "" ? kind.plural : `${kind.plural}.${kind.group}`;
}

/** "Deployment.apps". */
export function kindName(kind: Kind): string {
  return kind.group === "" ? kind.kind : `${kind.kind}.${kind.group}`;
}
