/** What a story needs on a real cluster: a Deployment that any node can run, its Service and its ConfigMap. */
import type { Raw } from "../kubernetes/kinds.js";
import { CONFIG, NAME } from "./release.js";

/** Said by every object that the demo makes, so that `kubectl get namespaces -l` finds what a killed one left. */
export const LABEL = "nightshift.dev/demo";

export function demoNamespace(name: string): Raw {
  return { apiVersion: "v1", kind: "Namespace", metadata: { name, labels: { [LABEL]: "yes" } } };
}

/** Runs as nobody and asks for next to nothing, so that strict namespaces and small nodes take it. */
export function demoWorkload(namespace: string, image: string): Raw[] {
  const labels = { app: NAME };
  const container = {
    name: "api",
    image,
    imagePullPolicy: "IfNotPresent",
    command: ["sh", "-c", "echo listening; while true; do sleep 3600; done"],
    env: [{ name: "LOG_LEVEL", valueFrom: { configMapKeyRef: { name: CONFIG, key: "LOG_LEVEL" } } }],
    resources: { requests: { cpu: "5m", memory: "8Mi" }, limits: { cpu: "50m", memory: "32Mi" } },
    securityContext: { allowPrivilegeEscalation: false, capabilities: { drop: ["ALL"] } },
  };
  return [
    {
      apiVersion: "v1",
      kind: "ConfigMap",
      metadata: { name: CONFIG, namespace },
      data: { LOG_LEVEL: "info" },
    },
    {
      apiVersion: "v1",
      kind: "Service",
      metadata: { name: `${NAME}-service`, namespace },
      spec: { selector: labels, ports: [{ port: 80 }] },
    },
    {
      apiVersion: "apps/v1",
      kind: "Deployment",
      metadata: { name: NAME, namespace, labels },
      spec: {
        replicas: 3,
        selector: { matchLabels: labels },
        strategy: { type: "RollingUpdate", rollingUpdate: { maxUnavailable: 1, maxSurge: 1 } },
        template: {
          metadata: { labels },
          spec: {
            containers: [container],
            automountServiceAccountToken: false,
            terminationGracePeriodSeconds: 1,
            securityContext: { runAsNonRoot: true, runAsUser: 65532, seccompProfile: { type: "RuntimeDefault" } },
          },
        },
      },
    },
  ];
}

/** Nightshift's writer: it may keep its Leases and control ConfigMap in its own namespace, and nothing else. */
export function demoWriter(own: string): Raw[] {
  return [
    { apiVersion: "v1", kind: "ServiceAccount", metadata: { name: WRITER, namespace: own } },
    role(own, "nightshift-own", [
      {
        apiGroups: ["coordination.k8s.io"],
        resources: ["leases"],
        verbs: ["get", "list", "watch", "create", "update", "patch"],
      },
      { apiGroups: [""], resources: ["configmaps"], verbs: ["get", "list", "watch", "create", "update", "patch"] },
    ]),
    binding(own, "nightshift-own", own),
  ];
}

/** What the namespace's owner grants: to take a release of this one namespace back. */
export function demoGrant(namespace: string, own: string): Raw[] {
  return [
    role(namespace, "nightshift-class-a", [
      { apiGroups: ["apps"], resources: ["deployments"], verbs: ["get", "patch"] },
      { apiGroups: ["apps"], resources: ["replicasets"], verbs: ["get"] },
      { apiGroups: [""], resources: ["configmaps"], verbs: ["get"] },
      { apiGroups: [""], resources: ["pods"], verbs: ["list"] },
    ]),
    binding(namespace, "nightshift-class-a", own),
  ];
}

export const WRITER = "nightshift-hands";

const RBAC = "rbac.authorization.k8s.io";

function role(namespace: string, name: string, rules: Raw[]): Raw {
  return { apiVersion: `${RBAC}/v1`, kind: "Role", metadata: { name, namespace }, rules };
}

function binding(namespace: string, name: string, own: string): Raw {
  return {
    apiVersion: `${RBAC}/v1`,
    kind: "RoleBinding",
    metadata: { name, namespace },
    roleRef: { apiGroup: RBAC, kind: "Role", name },
    subjects: [{ kind: "ServiceAccount", name: WRITER, namespace: own }],
  };
}
