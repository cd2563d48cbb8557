/** The sandbox's API server as a story's ground: identities with few rights, counted writes. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { apiVersionOf, kindNamed, type Raw } from "../kubernetes/kinds.js";
import { type Kubernetes, startKubernetes } from "../kubernetes/kubernetes.js";
import type { PodBehaviour } from "../kubernetes/world.js";
import type { Cleanup } from "./cleanup.js";
import type { Ground } from "./ground.js";
import { IMAGE } from "./release.js";

export const NAMESPACE = "mcp-production";
export const CLUSTER = "mcp-prod-eu-1";
const OWN = "nightshift";
const READ_TOKEN = "reader";
const HANDS_TOKEN = "hands";

const reader = [
  { verbs: ["get", "list", "watch"], groups: ["*"], resources: ["*"] },
  { verbs: ["create"], groups: ["authorization.k8s.io"], resources: ["*"] },
];
const own = [
  { verbs: ["*"], groups: ["coordination.k8s.io", ""], resources: ["leases", "configmaps"], namespaces: [OWN] },
];

export interface SandboxGround extends Ground {
  kubernetes: Kubernetes;
  /** How pods fare from now on; null for what the image's tag says. */
  behave(behaviour: (pod: Raw) => PodBehaviour | null): void;
  /** The namespace's owner opens it to the writer: what the ClusterRole of this risk class, A unless told, allows. */
  grant(riskClass?: "a" | "b", namespace?: string): Promise<void>;
}

export async function startSandboxGround(dir: string, cleanup: Cleanup): Promise<SandboxGround> {
  let behaviour: (pod: Raw) => PodBehaviour | null = () => null;
  const kubernetes = await startKubernetes({
    identities: [
      { token: READ_TOKEN, user: "system:serviceaccount:nightshift:nightshift", rules: reader },
      { token: HANDS_TOKEN, user: "system:serviceaccount:nightshift:nightshift-hands", rules: [...reader, ...own] },
    ],
    namespaces: [NAMESPACE, OWN],
    behaviour: (pod) => behaviour(pod),
  });
  cleanup.push(() => kubernetes.stop());
  const env: Record<string, string> = {};
  for (const [file, variable, token] of [
    ["front", "KUBECONFIG", READ_TOKEN],
    ["hands", "KUBECONFIG_HANDS", HANDS_TOKEN],
  ] as const) {
    const path = join(dir, `${file}.kubeconfig`);
    writeFileSync(path, kubernetes.kubeconfig(token), { mode: 0o600 });
    env[variable] = path;
  }

  async function patch(
    kind: "Deployment" | "ConfigMap",
    name: string,
    of: { by?: string | undefined; body: unknown },
  ): Promise<void> {
    const { plural, ...found } = kindNamed(kind);
    const group = apiVersionOf(found);
    const base = group === "v1" ? "/api/v1" : `/apis/${group}`;
    const type = kind === "Deployment" ? "strategic-merge-patch" : "merge-patch";
    const path = `${base}/namespaces/${NAMESPACE}/${plural}/${name}?fieldManager=${of.by ?? "kubectl-edit"}`;
    const answer = await fetch(`${kubernetes.url}${path}`, {
      method: "PATCH",
      headers: { authorization: `Bearer ${kubernetes.adminToken}`, "content-type": `application/${type}+json` },
      body: JSON.stringify(of.body),
    });
    if (!answer.ok) throw new Error(`the sandbox refused: ${answer.status} ${await answer.text()}`);
  }

  return {
    real: false,
    says: `The platform of the guide: 3 services in ${NAMESPACE}, stand-ins for Kubernetes, Slack, PagerDuty and Prometheus, real Redis.`,
    cluster: CLUSTER,
    namespace: NAMESPACE,
    own: OWN,
    env,
    kubernetes,
    behave: (next) => (behaviour = next),
    get: async (kind, name, namespace = NAMESPACE) => kubernetes.get(kind, namespace, name),
    list: async (kind, namespace = NAMESPACE) => kubernetes.list(kind, namespace),
    release: IMAGE,
    patience: 1,
    setImage: ({ name, image, by }) =>
      patch("Deployment", name, {
        by,
        body: { spec: { template: { spec: { containers: [{ name: "api", image }] } } } },
      }),
    setData: (name, data) => patch("ConfigMap", name, { body: { data } }),
    effects: async () =>
      kubernetes
        .writes()
        .filter((write) => write.user.includes("nightshift") && write.namespace !== OWN && !write.fenceOnly)
        .map(({ verb, kind, namespace, name, subresource }) => ({ verb, kind, namespace, name, subresource })),
    grantBy: `kubectl -n ${NAMESPACE} create rolebinding nightshift-class-a --clusterrole=nightshift-class-a --serviceaccount=${OWN}:nightshift-hands`,
    async grant(riskClass = "a", namespace = NAMESPACE) {
      const name = `nightshift-class-${riskClass}`;
      kubernetes.seed({
        apiVersion: "rbac.authorization.k8s.io/v1",
        kind: "ClusterRole",
        metadata: { name },
        rules: RIGHTS[riskClass],
      });
      kubernetes.seed({
        apiVersion: "rbac.authorization.k8s.io/v1",
        kind: "RoleBinding",
        metadata: { name, namespace },
        roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name },
        subjects: [{ kind: "ServiceAccount", name: "nightshift-hands", namespace: OWN }],
      });
    },
  };
}

/** What the writer may change, by risk class: A what can be taken back or loses nothing, B what always needs an approval. */
const RIGHTS = {
  a: [
    { apiGroups: ["apps"], resources: ["deployments", "statefulsets", "daemonsets"], verbs: ["get", "patch"] },
    { apiGroups: ["autoscaling"], resources: ["horizontalpodautoscalers"], verbs: ["get", "patch"] },
  ],
  b: [
    { apiGroups: [""], resources: ["pods"], verbs: ["get"] },
    { apiGroups: [""], resources: ["pods/eviction"], verbs: ["create"] },
  ],
};
