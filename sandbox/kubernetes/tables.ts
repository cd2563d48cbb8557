import type { Kind, Raw } from "./kinds.js";

/** The columns that `kubectl get` shows: a Table made of the same objects. */

interface Column {
  name: string;
  /** 1: only with -o wide. */
  priority?: number;
  of(object: Raw, now: number): unknown;
}

const name: Column = { name: "Name", of: (o) => o.metadata.name };
const age: Column = { name: "Age", of: (o, now) => since(o.metadata.creationTimestamp, now) };

const columns: Record<string, Column[]> = {
  Pod: [
    name,
    { name: "Ready", of: (o) => `${statuses(o).filter((s) => s.ready).length}/${(o.spec.containers ?? []).length}` },
    { name: "Status", of: podStatus },
    { name: "Restarts", of: (o) => String(statuses(o).reduce((sum, s) => sum + (s.restartCount ?? 0), 0)) },
    age,
    { name: "IP", priority: 1, of: (o) => o.status?.podIP ?? "<none>" },
    { name: "Node", priority: 1, of: (o) => o.spec.nodeName ?? "<none>" },
  ],
  Deployment: [
    name,
    { name: "Ready", of: (o) => `${o.status?.readyReplicas ?? 0}/${o.spec.replicas}` },
    { name: "Up-to-date", of: (o) => o.status?.updatedReplicas ?? 0 },
    { name: "Available", of: (o) => o.status?.availableReplicas ?? 0 },
    age,
    { name: "Images", priority: 1, of: images },
  ],
  ReplicaSet: [
    name,
    { name: "Desired", of: (o) => o.spec.replicas },
    { name: "Current", of: (o) => o.status?.replicas ?? 0 },
    { name: "Ready", of: (o) => o.status?.readyReplicas ?? 0 },
    age,
    { name: "Images", priority: 1, of: images },
  ],
  Node: [
    name,
    { name: "Status", of: nodeStatus },
    { name: "Roles", of: () => "<none>" },
    age,
    { name: "Version", of: (o) => o.status?.nodeInfo?.kubeletVersion ?? "" },
  ],
  Service: [
    name,
    { name: "Type", of: (o) => o.spec.type },
    { name: "Cluster-IP", of: (o) => o.spec.clusterIP ?? "<none>" },
    { name: "External-IP", of: () => "<none>" },
    {
      name: "Port(s)",
      of: (o) => ((o.spec.ports ?? []) as Raw[]).map((p) => `${p.port}/${p.protocol}`).join(",") || "<none>",
    },
    age,
  ],
  Namespace: [name, { name: "Status", of: (o) => o.status?.phase ?? "Active" }, age],
  Event: [
    { name: "Last Seen", of: (o, now) => since(o.lastTimestamp ?? o.eventTime ?? o.metadata.creationTimestamp, now) },
    { name: "Type", of: (o) => o.type },
    { name: "Reason", of: (o) => o.reason },
    { name: "Object", of: (o) => `${String(o.involvedObject?.kind).toLowerCase()}/${o.involvedObject?.name}` },
    { name: "Message", of: (o) => o.message },
  ],
  ConfigMap: [name, { name: "Data", of: (o) => Object.keys(o.data ?? {}).length }, age],
  Lease: [name, { name: "Holder", of: (o) => o.spec?.holderIdentity ?? "" }, age],
};

/** True when the request prefers the table form. */
export function wantsTable(accept: string): boolean {
  return /as=Table/.test(accept.split(",")[0] ?? "");
}

export function tableOf(kind: Kind, objects: Raw[], at: { metadata: Raw; now: number }): Raw {
  const shown = columns[kind.kind] ?? [name, age];
  return {
    kind: "Table",
    apiVersion: "meta.k8s.io/v1",
    metadata: at.metadata,
    columnDefinitions: shown.map((column) => ({
      name: column.name,
      type: "string",
      format: column.name === "Name" ? "name" : "",
      description: "",
      priority: column.priority ?? 0,
    })),
    rows: objects.map((object) => ({
      cells: shown.map((column) => column.of(object, at.now)),
      object: { kind: "PartialObjectMetadata", apiVersion: "meta.k8s.io/v1", metadata: object.metadata },
    })),
  };
}

function statuses(pod: Raw): Raw[] {
  return pod.status?.containerStatuses ?? [];
}

/** What kubectl shows as a Pod's status: the most telling state of its containers. */
function podStatus(pod: Raw): string {
  if (pod.metadata.deletionTimestamp !== undefined) return "Terminating";
  for (const { state } of statuses(pod)) {
    if (state?.waiting?.reason) return state.waiting.reason;
    if (state?.terminated?.reason) return state.terminated.reason;
  }
  return pod.status?.phase ?? "Unknown";
}

function nodeStatus(node: Raw): string {
  const ready = ((node.status?.conditions ?? []) as Raw[]).find((condition) => condition.type === "Ready");
  return `${ready?.status === "True" ? "Ready" : "NotReady"}${node.spec?.unschedulable ? ",SchedulingDisabled" : ""}`;
}

function images(object: Raw): string {
  return ((object.spec.template?.spec?.containers ?? []) as Raw[]).map((container) => container.image).join(",");
}

/** "47s", "3m12s", "5h", "2d": as kubectl writes ages. */
function since(time: string | undefined, now: number): string {
  if (time === undefined || time === null) return "<unknown>";
  const s = Math.max(0, Math.floor((now - Date.parse(time)) / 1000));
  if (s < 120) return `${s}s`;
  const m = Math.floor(s / 60);
  if (m < 10) return s % 60 === 0 ? `${m}m` : `${m}m${s % 60}s`;
  if (m < 180) return `${m}m`;
  const h = Math.floor(m / 60);
  return h < 48 ? `${h}h` : `${Math.floor(h / 24)}d`;
}
