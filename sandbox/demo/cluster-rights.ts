import type { AccessQuestion } from "../../src/cluster.js";
import type { KubernetesClient } from "../../src/clients/kubernetes.js";
import { messageOf, TerminalError } from "../../src/errors.js";

/** What the demo does on a real cluster, and what Nightshift reads and writes there. */

type Right = [verbs: string[], group: string, resource: string, subresource?: string];

const CLUSTER: Right[] = [
  [["create", "get", "delete"], "", "namespaces"],
  [["list"], "", "nodes"],
  [["create"], "authorization.k8s.io", "subjectaccessreviews"],
];
/** In both namespaces: the writer's own identity and what it is granted. */
const GRANTS: Right[] = [
  [["create"], "rbac.authorization.k8s.io", "roles"],
  [["create"], "rbac.authorization.k8s.io", "rolebindings"],
];
const TARGET: Right[] = [
  [["get", "list", "create", "patch"], "apps", "deployments"],
  [["get", "list"], "apps", "replicasets"],
  [["list"], "apps", "statefulsets"],
  [["list"], "apps", "daemonsets"],
  [["list"], "autoscaling", "horizontalpodautoscalers"],
  [["get", "list"], "", "pods"],
  [["get"], "", "pods", "log"],
  [["list"], "", "events"],
  [["get", "create"], "", "services"],
  [["get", "create", "patch"], "", "configmaps"],
];
const OWN: Right[] = [
  [["get", "list", "create", "update"], "coordination.k8s.io", "leases"],
  [["get", "create", "update"], "", "configmaps"],
  [["create"], "", "serviceaccounts"],
  [["create"], "", "serviceaccounts", "token"],
];

/** Whether the cluster answers and lets the demo play. Nothing is made. Errors: TerminalError says what lacks. */
export async function needCluster(
  client: KubernetesClient,
  namespaces: { target: string; own: string },
): Promise<void> {
  const where = `the cluster of context ${client.context} (${client.server})`;
  let missing: string[];
  try {
    await client.version();
    const asked = [
      ...CLUSTER.flatMap((right) => questions(right, "")),
      ...[...TARGET, ...GRANTS].flatMap((right) => questions(right, namespaces.target)),
      ...[...OWN, ...GRANTS].flatMap((right) => questions(right, namespaces.own)),
    ];
    const may = await Promise.all(asked.map((question) => client.can(question)));
    missing = words(asked.filter((_, index) => !may[index]));
  } catch (cause) {
    throw new TerminalError(
      "ERR_NO_CLUSTER",
      `${where} cannot be asked: ${messageOf(cause)}. Nothing was made. Set KUBECONFIG to one that answers (\`kubectl get nodes\` must), or play the story on this machine: leave --cluster out.`,
      { cause },
    );
  }
  if (missing.length === 0) return;
  throw new TerminalError(
    "ERR_NO_RIGHTS",
    `on ${where} this identity may not ${missing.join("; ")}. The demo makes two namespaces of its own, plays there, and removes them. Nothing was made. Use a kubeconfig that may, or play the story on this machine: leave --cluster out.`,
  );
}

function questions([verbs, group, resource, subresource]: Right, namespace: string): AccessQuestion[] {
  return verbs.map((verb) => ({
    verb,
    group,
    resource,
    namespace,
    ...(subresource === undefined ? {} : { subresource }),
  }));
}

/** One phrase a resource: `create, get namespaces`. */
function words(questions: readonly AccessQuestion[]): string[] {
  const verbs = new Map<string, Set<string>>();
  for (const { resource, subresource, verb } of questions) {
    const what = subresource === undefined ? resource : `${resource}/${subresource}`;
    verbs.set(what, (verbs.get(what) ?? new Set()).add(verb));
  }
  return [...verbs].map(([what, which]) => `${[...which].join(", ")} ${what}`);
}
