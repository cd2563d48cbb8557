import { createKubernetes, type KubernetesClient } from "../../clients/kubernetes.js";
import { systemClock } from "../../clock.js";
import type { Config } from "../../config.js";
import { messageOf } from "../../errors.js";
import { CONTROL_CONFIGMAP, createControl } from "../../execution/control.js";
import type { Policy } from "../../policy/policy.js";
import type { Runbook } from "../../runbook.js";
import { error, type Finding, ok, skew, warning } from "./finding.js";

const READS: [verb: string, group: string, resource: string, subresource?: string][] = [
  ["list", "", "pods"],
  ["get", "", "pods"],
  ["get", "", "pods", "log"],
  ["list", "", "events"],
  ["get", "", "services"],
  ["get", "", "configmaps"],
  ["get", "apps", "deployments"],
  ["list", "apps", "deployments"],
  ["list", "apps", "replicasets"],
  ["get", "apps", "replicasets"],
  ["list", "apps", "statefulsets"],
  ["list", "apps", "daemonsets"],
  ["list", "autoscaling", "horizontalpodautoscalers"],
];

export async function clusterFindings(
  config: Config,
  policy: Policy | null,
  runbooks: ReadonlyMap<string, Runbook>,
): Promise<Finding[]> {
  const findings: Finding[] = [];
  let reader: KubernetesClient;
  try {
    reader = await createKubernetes({ kubeconfig: config.kubeconfig, clock: systemClock });
  } catch (fault) {
    return [error("cluster", messageOf(fault), "set KUBECONFIG, or run inside the cluster")];
  }
  const hands =
    config.kubeconfigHands === null
      ? reader
      : await createKubernetes({ kubeconfig: config.kubeconfigHands, clock: systemClock });
  try {
    findings.push(ok("cluster", `${reader.server} answers, ${await reader.version()}`));
    findings.push(skew("the API server", await reader.serverTime()));
    const namespaces =
      policy?.clusters.find((c) => c.name === (config.cluster || policy.clusters[0]?.name))?.namespaces ?? [];
    const lacking: string[] = [];
    for (const namespace of namespaces) {
      for (const [verb, group, resource, subresource] of READS) {
        const question = { verb, group, resource, namespace, ...(subresource === undefined ? {} : { subresource }) };
        if (!(await reader.can(question)))
          lacking.push(`${verb} ${resource}${subresource === undefined ? "" : `/${subresource}`} in ${namespace}`);
      }
    }
    if (!(await reader.can({ verb: "list", group: "", resource: "nodes", namespace: "" }))) lacking.push("list nodes");
    findings.push(
      lacking.length === 0
        ? ok("reader's rights", "every read that diagnosis and guards need")
        : error(
            "reader's rights",
            `missing: ${lacking.join(", ")}`,
            "bind the reader's ClusterRole to the ServiceAccount nightshift",
          ),
    );
    const own: string[] = [];
    for (const [verb, group, resource] of [
      ["get", "coordination.k8s.io", "leases"],
      ["create", "coordination.k8s.io", "leases"],
      ["update", "coordination.k8s.io", "leases"],
      ["list", "coordination.k8s.io", "leases"],
      ["get", "", "configmaps"],
      ["create", "", "configmaps"],
      ["update", "", "configmaps"],
    ] as const) {
      if (!(await hands.can({ verb, group, resource, namespace: config.namespace }))) own.push(`${verb} ${resource}`);
    }
    findings.push(
      own.length === 0
        ? ok("own namespace", `Leases and control ConfigMap in ${config.namespace}`)
        : error(
            "own namespace",
            `in ${config.namespace} the writer may not ${own.join(", ")}`,
            "bind the own-namespace Role to the ServiceAccount nightshift-hands",
          ),
    );
    for (const namespace of namespaces) {
      const needs = [...runbooks.values()].flatMap((r) =>
        r.kind === "remedy" ? r.needs.map((need) => ({ runbook: r.name, need })) : [],
      );
      const missing: string[] = [];
      for (const { runbook, need } of needs)
        if (!(await hands.can({ ...need, namespace }))) missing.push(`${need.verb} ${need.resource} (${runbook})`);
      findings.push(
        missing.length === 0
          ? ok(`namespace ${namespace}`, "open to the writer")
          : warning(
              `namespace ${namespace}`,
              `not bound: the writer may not ${missing.join(", ")}`,
              `its owner opens it with a RoleBinding of nightshift-class-a to the ServiceAccount nightshift-hands`,
            ),
      );
      if (await hands.can({ verb: "delete", group: "", resource: "pods", namespace })) {
        findings.push(
          warning(
            `namespace ${namespace}`,
            "the writer may delete pods, past every disruption budget",
            "take that right away: no runbook needs it",
          ),
        );
      }
    }
    const control = await createControl(hands, config.namespace).read();
    if (control.state === "readable") {
      const all = control.pauses.find((p) => p.scope === "all");
      findings.push(
        all === undefined
          ? ok("control ConfigMap", `${config.namespace}/${CONTROL_CONFIGMAP}, nothing is stopped`)
          : warning("control ConfigMap", `${all.by} paused everything: ${all.why}`, "`nightshift resume` lifts it"),
      );
    } else
      findings.push(
        error(
          "control ConfigMap",
          `${control.why}: everything counts as stopped`,
          "`nightshift serve` makes it where it may create ConfigMaps",
        ),
      );
  } catch (fault) {
    findings.push(error("cluster", messageOf(fault), "is the kubeconfig's server right, and may this host reach it?"));
  } finally {
    await reader.close();
    if (hands !== reader) await hands.close();
  }
  return findings;
}
