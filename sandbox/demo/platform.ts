/** The platform of the demo: three services that have run their revision 41 for six days, as the sandbox holds them. */
import type { Raw } from "../kubernetes/kinds.js";
import type { Kubernetes } from "../kubernetes/kubernetes.js";
import { CONFIG, IMAGE, NAME } from "./release.js";
import { NAMESPACE } from "./sandbox-ground.js";

const DAY_MS = 86_400_000;

export interface Workload {
  name: string;
  image: string;
  replicas: number;
  port: number;
  namespace?: string;
  /** Its Service, where it is called otherwise than usual. */
  service?: string;
  /** A ConfigMap and the keys that its pods read from it. */
  config?: { name: string; data: Record<string, string> };
  labels?: Record<string, string>;
  annotations?: Record<string, string>;
  resources?: Raw;
  /** What ran until six days ago. */
  earlier?: string;
}

export const SERVICES: readonly Workload[] = [
  {
    name: NAME,
    image: IMAGE.good,
    replicas: 3,
    port: 3000,
    config: { name: CONFIG, data: { LOG_LEVEL: "info", DATABASE_HOST: "postgres" } },
    resources: { requests: { cpu: "250m", memory: "512Mi" }, limits: { cpu: "1000m", memory: "2Gi" } },
  },
  {
    name: "mcp-learning-system",
    image: "ghcr.io/your-org/mcp-learning-system:v1.0.0",
    replicas: 2,
    port: 8001,
    config: { name: "mcp-learning-config", data: { MODEL_STORE: "/models" } },
  },
  { name: "mcp-rust-server", image: "ghcr.io/your-org/mcp-rust-server:v1.0.0", replicas: 3, port: 8002 },
];

const longAgo = (days = 6) => new Date(Date.now() - days * DAY_MS).toISOString().replace(/\.\d+Z$/, "Z");

/** A Deployment with the ReplicaSet that it has, a Service, and its ConfigMap. */
export function seedDeployment(kubernetes: Kubernetes, of: Workload): void {
  const namespace = of.namespace ?? NAMESPACE;
  const created = longAgo();
  const labels = { app: of.name };
  const { config } = of;
  if (config !== undefined)
    kubernetes.seed({
      apiVersion: "v1",
      kind: "ConfigMap",
      metadata: { name: config.name, namespace, creationTimestamp: created },
      data: config.data,
    });
  const env = Object.keys(config?.data ?? {}).map((key) => ({
    name: key,
    valueFrom: { configMapKeyRef: { name: config?.name, key } },
  }));
  const container = {
    name: "api",
    image: of.image,
    ports: [{ containerPort: of.port }],
    ...(env.length === 0 ? {} : { env }),
    ...(of.resources === undefined ? {} : { resources: of.resources }),
  };
  const deployment = kubernetes.seed({
    apiVersion: "apps/v1",
    kind: "Deployment",
    metadata: {
      name: of.name,
      namespace,
      creationTimestamp: created,
      labels: { ...labels, ...of.labels },
      annotations: { "deployment.kubernetes.io/revision": "41", ...of.annotations },
    },
    spec: {
      replicas: of.replicas,
      progressDeadlineSeconds: 600,
      revisionHistoryLimit: 10,
      selector: { matchLabels: labels },
      template: { metadata: { labels }, spec: { containers: [container] } },
      strategy: { type: "RollingUpdate", rollingUpdate: { maxUnavailable: 1, maxSurge: 1 } },
    },
  });
  if (of.earlier !== undefined)
    seedReplicaSet(kubernetes, deployment, { image: of.earlier, revision: 40, replicas: 0 });
  seedReplicaSet(kubernetes, deployment, { image: of.image, revision: 41, replicas: of.replicas });
  seedService(kubernetes, { ...of, namespace }, `${of.name}-service`);
}

function seedReplicaSet(
  kubernetes: Kubernetes,
  deployment: Raw,
  of: { image: string; revision: number; replicas: number },
): void {
  const { name, namespace, creationTimestamp } = deployment.metadata;
  const labels = deployment.spec.selector.matchLabels as Record<string, string>;
  const hash = `6f9c8d7b${of.revision}`;
  const template = structuredClone(deployment.spec.template);
  template.spec.containers[0].image = of.image;
  const hashed = { ...labels, "pod-template-hash": hash };
  kubernetes.seed({
    apiVersion: "apps/v1",
    kind: "ReplicaSet",
    metadata: {
      name: `${name}-${hash}`,
      namespace,
      creationTimestamp: of.revision === 41 ? creationTimestamp : longAgo(12),
      labels: hashed,
      annotations: { "deployment.kubernetes.io/revision": String(of.revision) },
      ownerReferences: [ownerOf(deployment)],
    },
    spec: {
      replicas: of.replicas,
      selector: { matchLabels: hashed },
      template: { ...template, metadata: { ...template.metadata, labels: hashed } },
    },
  });
}

/** A StatefulSet with its pods: the sandbox has no controller for it, so that its pods are there from the start. */
export function seedStatefulSet(kubernetes: Kubernetes, of: Workload): void {
  const namespace = of.namespace ?? NAMESPACE;
  const created = longAgo();
  const labels = { app: of.name };
  const spec = { containers: [{ name: "main", image: of.image, ports: [{ containerPort: of.port }] }] };
  const set = kubernetes.seed({
    apiVersion: "apps/v1",
    kind: "StatefulSet",
    metadata: { name: of.name, namespace, creationTimestamp: created, labels },
    spec: {
      replicas: of.replicas,
      serviceName: of.name,
      selector: { matchLabels: labels },
      template: { metadata: { labels }, spec },
    },
    status: { replicas: of.replicas, readyReplicas: of.replicas, currentReplicas: of.replicas, observedGeneration: 1 },
  });
  for (let ordinal = 0; ordinal < of.replicas; ordinal += 1)
    kubernetes.seed({
      apiVersion: "v1",
      kind: "Pod",
      metadata: {
        name: `${of.name}-${ordinal}`,
        namespace,
        labels: { ...labels, "statefulset.kubernetes.io/pod-name": `${of.name}-${ordinal}` },
        ownerReferences: [ownerOf(set)],
      },
      spec,
      status: { phase: "Pending" },
    });
  seedService(kubernetes, { ...of, namespace }, of.service ?? of.name);
}

function seedService(kubernetes: Kubernetes, of: Workload & { namespace: string }, name: string): void {
  kubernetes.seed({
    apiVersion: "v1",
    kind: "Service",
    metadata: { name, namespace: of.namespace },
    spec: { selector: { app: of.name }, ports: [{ port: of.port }] },
  });
}

function ownerOf(object: Raw): Raw {
  const { apiVersion, kind, metadata } = object;
  return { apiVersion, kind, name: metadata.name, uid: metadata.uid, controller: true, blockOwnerDeletion: true };
}
