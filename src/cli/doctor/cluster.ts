import { createKubernetes, type KubernetesClient } from "../../clients/kubernetes.js";
import { systemClock } from "../../clock.js";
import { ClusterError } from "../../cluster.js";
import type { Config } from "../../config.js";
import { messageOf } from "../../errors.js";
import { CONTROL_CONFIGMAP, createControl } from "../../execution/control.js";
import type { Policy } from "../../policy/policy.js";
import type { Runbook } from "../../runbook.js";
import { error, type Finding, ok, skew, warning } from "./finding.js";
import { managedCluster } from "./policy.js";
import { namespaceRights, ownRights, readerRights, surplusRights } from "./rights.js";

/** The API server, the namespaces, the rights of both identities and the control ConfigMap. Reads and asks, writes nothing. */
export async function clusterFindings(
  config: Config,
  policy: Policy | null,
  runbooks: ReadonlyMap<string, Runbook>,
): Promise<Finding[]> {
  const clients: KubernetesClient[] = [];
  const open = async (kubeconfig: string | null) => {
    const client = await createKubernetes({ kubeconfig, clock: systemClock });
    clients.push(client);
    return client;
  };
  try {
    const reader = await open(config.kubeconfig);
    const hands = config.kubeconfigHands === null ? reader : await open(config.kubeconfigHands);
    const findings: Finding[] = [];
    for (const [client, name] of [
      [reader, "KUBECONFIG"],
      [hands, "KUBECONFIG_HANDS"],
    ] as const) {
      if (client === reader && name === "KUBECONFIG_HANDS") continue;
      const answer = await answers(client, name);
      findings.push(answer);
      if (answer.level === "error") return findings;
    }
    findings.push(skew("the API server", await reader.serverTime()));
    const managed = policy === null ? [] : (managedCluster(config, policy)?.namespaces ?? []);
    const absent = await absentOf(reader, [config.namespace, ...managed]);
    if (absent.includes(config.namespace))
      findings.push(
        error(
          "own namespace",
          `there is no namespace ${config.namespace}: Leases and the control ConfigMap lie there`,
          `kubectl create namespace ${config.namespace}, or set NIGHTSHIFT_NAMESPACE`,
        ),
      );
    for (const namespace of managed.filter((name) => absent.includes(name)))
      findings.push(
        error(
          `namespace ${namespace}`,
          "the policy manages it and it does not exist: every target in it is not found",
          "correct the name under clusters in the policy; is this the right cluster?",
        ),
      );
    const there = managed.filter((name) => !absent.includes(name));
    findings.push(await readerRights(reader, there), await ownRights(hands, config.namespace));
    for (const namespace of there) {
      if (policy !== null)
        findings.push(...(await namespaceRights(hands, { namespace, policy, runbooks, own: config.namespace })));
    }
    findings.push(...(await surplusRights({ reader, hands, namespaces: there })));
    if (!absent.includes(config.namespace)) findings.push(await controlFinding(hands, config.namespace));
    return findings;
  } catch (fault) {
    const how =
      fault instanceof ClusterError
        ? "look at the message; is the API server overloaded?"
        : "set KUBECONFIG, or run inside the cluster";
    return [error("cluster", messageOf(fault), how)];
  } finally {
    await Promise.all(clients.map((client) => client.close()));
  }
}

/** Asks something that only a known identity may ask, so that refused credentials are told from a server that is away. */
async function answers(client: KubernetesClient, variable: string): Promise<Finding> {
  try {
    const version = await client.version();
    await client.can({ verb: "list", group: "", resource: "pods", namespace: "default" });
    return ok("cluster", `${client.server} answers, ${version}`);
  } catch (fault) {
    const status = fault instanceof ClusterError ? fault.status : null;
    if (status === 401 || status === 403 || (fault instanceof ClusterError && fault.reason === "Credentials"))
      return error(
        "cluster",
        `${client.server} refuses the credentials of context ${client.context || "(in-cluster)"}: ${messageOf(fault)}`,
        `renew the token or certificate in ${variable}; \`kubectl --kubeconfig … auth whoami\` shows who it is`,
      );
    return error(
      "cluster",
      `${client.server} cannot be reached: ${messageOf(fault)}`,
      `is the server in ${variable} right, and may this host reach it?`,
    );
  }
}

/** Namespaces that are known not to exist; one that may not be asked about counts as there. */
async function absentOf(reader: KubernetesClient, names: readonly string[]): Promise<string[]> {
  const found = await Promise.all(
    names.map((name) =>
      reader
        .get({ apiVersion: "v1", kind: "Namespace", namespace: "", name })
        .then((object) => object === null)
        .catch((fault: unknown) => {
          if (fault instanceof ClusterError && fault.status === 403) return false;
          throw fault;
        }),
    ),
  );
  return names.filter((_, index) => found[index]);
}

async function controlFinding(hands: KubernetesClient, namespace: string): Promise<Finding> {
  const name = `${namespace}/${CONTROL_CONFIGMAP}`;
  const control = await createControl(hands, namespace).read();
  if (control.state === "unreadable") {
    if (control.why.endsWith("is not there"))
      return warning(
        "control ConfigMap",
        `${name} is not there: everything counts as stopped until it is`,
        "`nightshift serve` makes it when it starts: start it, or start it again if it runs",
      );
    const how = /data\.pauses/.test(control.why)
      ? `kubectl -n ${namespace} patch configmap ${CONTROL_CONFIGMAP} --type merge -p '{"data":{"pauses":"[]"}}', once you know why somebody paused`
      : "bind the own-namespace Role to the ServiceAccount nightshift-hands: it must get and update ConfigMaps";
    return error("control ConfigMap", `${control.why}: everything counts as stopped`, how);
  }
  const now = systemClock.now();
  const active = control.pauses.filter((p) => p.until === null || p.until > now);
  const [pause] = active.toSorted((a, b) => Number(b.scope === "all") - Number(a.scope === "all"));
  if (pause === undefined) return ok("control ConfigMap", `${name}, nothing is stopped`);
  const what = pause.scope === "all" ? "everything" : pause.scope;
  const more = active.length > 1 ? `, and ${active.length - 1} more pauses` : "";
  return warning(
    "control ConfigMap",
    `${pause.by} stopped ${what}: ${pause.why}${more}`,
    `\`nightshift resume${pause.scope === "all" ? "" : ` ${pause.scope}`}\` lifts it, once the reason is gone`,
  );
}
