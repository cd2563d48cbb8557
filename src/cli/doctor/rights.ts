import type { KubernetesClient } from "../../clients/kubernetes.js";
import type { AccessQuestion } from "../../cluster.js";
import { CONTROL_CONFIGMAP } from "../../execution/control.js";
import type { Policy } from "../../policy/policy.js";
import type { Runbook } from "../../runbook.js";
import { error, type Finding, ok, warning } from "./finding.js";
import { actingRemedies } from "./policy.js";

/** What each identity may do, asked of the API server by access reviews: nothing is tried. */

type Right = Omit<AccessQuestion, "namespace">;

const right = (verb: string, group: string, resource: string, subresource?: string): Right => ({
  verb,
  group,
  resource,
  ...(subresource === undefined ? {} : { subresource }),
});

/** A right to one object only: what may be bound to a name is asked by that name. */
const onControl = (verb: string): Right => ({ ...right(verb, "", "configmaps"), name: CONTROL_CONFIGMAP });

const READS: Right[] = [
  right("list", "", "pods"),
  right("get", "", "pods"),
  right("get", "", "pods", "log"),
  right("list", "", "events"),
  right("get", "", "services"),
  right("get", "", "configmaps"),
  right("get", "apps", "deployments"),
  right("list", "apps", "deployments"),
  right("list", "apps", "replicasets"),
  right("get", "apps", "replicasets"),
  right("list", "apps", "statefulsets"),
  right("list", "apps", "daemonsets"),
  right("list", "autoscaling", "horizontalpodautoscalers"),
];

const OWN: Right[] = [
  ...["get", "list", "create", "update"].map((verb) => right(verb, "coordination.k8s.io", "leases")),
  right("create", "", "configmaps"),
  ...["get", "update"].map(onControl),
];

/** No runbook needs these: each is a way past the guards. */
const SURPLUS: [Right, why: string][] = [
  [right("delete", "", "pods"), "past every disruption budget"],
  [right("create", "", "pods"), "and with them take any ServiceAccount and Secret of the namespace"],
  [right("list", "", "secrets"), "and so read every credential of the namespace"],
  [right("create", "", "pods", "exec"), "and so run anything in any container"],
];

const words = ({ verb, resource, subresource }: Right) =>
  `${verb} ${resource}${subresource === undefined ? "" : `/${subresource}`}`;

async function lacking(client: KubernetesClient, rights: readonly Right[], namespace: string): Promise<Right[]> {
  const may = await Promise.all(rights.map((one) => client.can({ ...one, namespace })));
  return rights.filter((_, index) => !may[index]);
}

export async function readerRights(reader: KubernetesClient, namespaces: readonly string[]): Promise<Finding> {
  const missing: string[] = [];
  for (const namespace of namespaces)
    missing.push(...(await lacking(reader, READS, namespace)).map((one) => `${words(one)} in ${namespace}`));
  if ((await lacking(reader, [right("list", "", "nodes")], "")).length > 0) missing.push("list nodes");
  return missing.length === 0
    ? ok("reader's rights", "every read that diagnosis and guards need")
    : error(
        "reader's rights",
        `the reader may not ${missing.join(", ")}: guards that cannot look hold everything`,
        "bind the reader's ClusterRole to the ServiceAccount nightshift",
      );
}

export async function ownRights(hands: KubernetesClient, namespace: string): Promise<Finding> {
  const missing = await lacking(hands, OWN, namespace);
  if (missing.length === 0) return ok("own namespace", `Leases and control ConfigMap in ${namespace}`);
  const what = [...new Set(missing.map((one) => (one.resource === "leases" ? "Leases" : "the control ConfigMap")))];
  return error(
    "own namespace",
    `in ${namespace} the writer may not ${missing.map(words).join(", ")}: ${what.join(" and ")} cannot be kept, and nothing is done without`,
    "bind the own-namespace Role to the ServiceAccount nightshift-hands",
  );
}

/** Whether the writer may do in a namespace what the rules that act need of it. */
export async function namespaceRights(
  hands: KubernetesClient,
  of: { namespace: string; policy: Policy; runbooks: ReadonlyMap<string, Runbook>; own: string },
): Promise<Finding[]> {
  const { namespace, policy } = of;
  const check = `namespace ${namespace}`;
  if (policy.protected.includes(namespace) || namespace === of.own) return [];
  const remedies = actingRemedies(policy, of.runbooks);
  if (remedies.length === 0)
    return [ok(check, "observed only: no rule is above propose, so the writer needs no rights here")];
  const missing: { text: string; rules: string[]; risk: string }[] = [];
  let wrote = false;
  for (const { remedy, rules } of remedies) {
    const without = await lacking(hands, remedy.needs, namespace);
    const writes = remedy.needs.filter((need) => !/^(get|list|watch)$/.test(need.verb));
    wrote ||= writes.some((need) => !without.includes(need));
    if (without.length > 0)
      missing.push({ text: `${without.map(words).join(", ")} (${remedy.name})`, rules, risk: remedy.risk });
  }
  if (missing.length === 0) return [ok(check, "open to the writer")];
  const classes = [...new Set(missing.map((one) => one.risk.toLowerCase()))].sort();
  const bind = classes.map(
    (risk) =>
      `kubectl -n ${namespace} create rolebinding nightshift-class-${risk} --clusterrole=nightshift-class-${risk} --serviceaccount=${of.own}:nightshift-hands`,
  );
  const rules = [...new Set(missing.flatMap((one) => one.rules))].join(", ");
  const says = `the writer may not ${missing.map((one) => one.text).join("; ")}: rules ${rules} are held there`;
  return [
    error(
      check,
      wrote ? says : `not bound: ${says}`,
      wrote
        ? `compare the ClusterRoles that its owner bound with what is missing; ${bind.join("; ")}`
        : `its owner opens it: ${bind.join("; ")}`,
    ),
  ];
}

/** Rights that only help whoever steals the identity. */
export async function surplusRights(of: {
  reader: KubernetesClient;
  hands: KubernetesClient;
  namespaces: readonly string[];
}): Promise<Finding[]> {
  const { reader, hands } = of;
  const findings: Finding[] = [];
  const how = "take the right away from the ServiceAccount nightshift-hands: no runbook needs it";
  for (const namespace of of.namespaces) {
    if (await hands.can({ verb: "*", group: "*", resource: "*", namespace })) {
      findings.push(
        warning(
          "writer's rights",
          `in ${namespace} the writer may do everything (a wildcard)`,
          "bind it to the ClusterRoles nightshift-class-a, -b and -c instead of a wildcard or cluster-admin",
        ),
      );
      continue;
    }
    for (const [one, why] of SURPLUS) {
      if (await hands.can({ ...one, namespace }))
        findings.push(warning("writer's rights", `in ${namespace} the writer may ${words(one)}, ${why}`, how));
    }
    if (hands !== reader && (await reader.can({ verb: "patch", group: "apps", resource: "deployments", namespace })))
      findings.push(
        warning(
          "reader's rights",
          `in ${namespace} the reader may patch deployments: the front, which takes in everything from outside, could write`,
          "give KUBECONFIG the ServiceAccount nightshift, and bind no write to it",
        ),
      );
  }
  return findings.length > 0 || of.namespaces.length === 0
    ? findings
    : [ok("writer's rights", "none that no runbook needs")];
}
