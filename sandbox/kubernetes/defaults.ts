import type { Kind, Raw } from "./kinds.js";

/** The values that the API server fills in, for the kinds whose controllers and readers depend on them. */

/** Fields of a Deployment's spec; unknown ones are dropped, as on a real API server. */
const deploymentSpec = new Set([
  "replicas",
  "selector",
  "template",
  "strategy",
  "minReadySeconds",
  "revisionHistoryLimit",
  "paused",
  "progressDeadlineSeconds",
]);

/** Returns a new object with defaults. */
export function withDefaults(kind: Kind, object: Raw): Raw {
  const out = structuredClone(object);
  // The API server writes maps in the order of their keys.
  for (const map of ["labels", "annotations"]) {
    const entries = out.metadata?.[map];
    if (entries !== undefined && entries !== null)
      out.metadata[map] = Object.fromEntries(Object.entries(entries).sort(([a], [b]) => (a < b ? -1 : 1)));
  }
  switch (kind.kind) {
    case "Deployment":
      out.spec = deployment(out.spec ?? {});
      out.status ??= {};
      break;
    case "ReplicaSet":
    case "StatefulSet":
      out.spec = { replicas: 1, ...out.spec };
      podTemplate(out.spec.template);
      out.status ??= { replicas: 0 };
      break;
    case "DaemonSet":
      podTemplate(out.spec?.template);
      out.status ??= {};
      break;
    case "Pod":
      podSpec(out.spec);
      out.status ??= {};
      out.status.phase ??= "Pending";
      break;
    case "Service":
      out.spec = { type: "ClusterIP", sessionAffinity: "None", ...out.spec };
      for (const port of (out.spec.ports ?? []) as Raw[]) {
        port.protocol ??= "TCP";
        port.targetPort ??= port.port;
      }
      out.status ??= { loadBalancer: {} };
      break;
    case "Namespace":
      out.spec ??= { finalizers: ["kubernetes"] };
      out.status ??= { phase: "Active" };
      out.metadata.labels = { "kubernetes.io/metadata.name": out.metadata.name, ...out.metadata.labels };
      break;
    case "HorizontalPodAutoscaler":
      out.spec = { minReplicas: 1, ...out.spec };
      out.status ??= { desiredReplicas: 0, currentMetrics: null };
      break;
    case "Secret":
      secret(out);
      break;
    default:
      break;
  }
  return out;
}

function deployment(spec: Raw): Raw {
  const known = Object.fromEntries(Object.entries(spec).filter(([key]) => deploymentSpec.has(key)));
  podTemplate(known.template);
  const type = known.strategy?.type ?? "RollingUpdate";
  const rolling = { maxUnavailable: "25%", maxSurge: "25%", ...known.strategy?.rollingUpdate };
  return {
    ...known,
    replicas: known.replicas ?? 1,
    strategy: type === "RollingUpdate" ? { type, rollingUpdate: rolling } : { type },
    revisionHistoryLimit: known.revisionHistoryLimit ?? 10,
    progressDeadlineSeconds: known.progressDeadlineSeconds ?? 600,
  };
}

function podTemplate(template: Raw | undefined): void {
  if (template === undefined || template === null) return;
  if (template.metadata?.creationTimestamp === null) delete template.metadata.creationTimestamp;
  podSpec(template.spec);
}

function podSpec(spec: Raw | undefined): void {
  if (spec === undefined || spec === null) return;
  for (const container of [...(spec.containers ?? []), ...(spec.initContainers ?? [])] as Raw[]) {
    if (container === null || typeof container !== "object") continue;
    container.resources ??= {};
    container.terminationMessagePath ??= "/dev/termination-log";
    container.terminationMessagePolicy ??= "File";
    container.imagePullPolicy ??= String(container.image ?? "").endsWith(":latest") ? "Always" : "IfNotPresent";
    for (const port of (container.ports ?? []) as Raw[]) port.protocol ??= "TCP";
  }
  spec.restartPolicy ??= "Always";
  spec.terminationGracePeriodSeconds ??= 30;
  spec.dnsPolicy ??= "ClusterFirst";
  spec.securityContext ??= {};
  spec.schedulerName ??= "default-scheduler";
}

function secret(object: Raw): void {
  object.type ??= "Opaque";
  for (const [key, value] of Object.entries(object.stringData ?? {})) {
    object.data = { ...object.data, [key]: Buffer.from(String(value)).toString("base64") };
  }
  delete object.stringData;
}
