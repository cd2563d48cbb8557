import { type Alert, alertName } from "../alert/alert.js";
import { inert } from "../alert/inert.js";
import type { Reason } from "../record/reasons.js";
import type { NamedTarget } from "../target/target.js";
import { candidates } from "./index.js";
import { matchesAll } from "./matchers.js";
import { alwaysProtected, isInstance, isNamespaceName, isObjectName } from "./names.js";
import {
  type Decision,
  type DecisionKind,
  type Policy,
  type Rule,
  type TargetTemplate,
  wakesPeople,
} from "./policy.js";

/** Kinds that exist once in a cluster: their target has no namespace. */
const CLUSTER_SCOPED = new Set(["Node", "node"]);

/** Decides what the policy says of one alert, with nothing asked but the alert. First match wins. */
export function decide(policy: Policy, alert: Pick<Alert, "labels" | "status">): Decision {
  const name = alertName(alert);
  const rule = candidates(policy, name).find(({ rest }) => matchesAll(rest, alert.labels))?.rule ?? null;
  const of = (decision: DecisionKind, reason: Reason | null, says: string, more: Partial<Decision> = {}): Decision => ({
    decision,
    reason,
    says,
    rule,
    runbook: rule?.does.what === "runbook" ? rule.does.runbook : null,
    params: rule?.does.what === "runbook" ? rule.does.params : null,
    target: null,
    ...more,
  });
  if (alert.status === "resolved")
    return of("ignore", "resolved", "the alert is resolved", { target: targetOf(policy, rule, alert).target });
  if (rule === null) {
    const says = `no rule matches ${inert(name, 100)} with severity ${inert(alert.labels["severity"] ?? "none", 40)}`;
    return wakesPeople(alert.labels) ? of("escalate", "unmatched", says) : of("ignore", "unmatched", says);
  }
  if (rule.does.what === "ignore") return of("ignore", "ignored", `rule ${rule.name} ignores it`);
  if (rule.does.what === "heartbeat") return of("ignore", "heartbeat", `rule ${rule.name} records it as a heartbeat`);
  if (rule.does.what === "escalate") return of("escalate", "escalated", `rule ${rule.name} sends it to a person`);

  const resolved = targetOf(policy, rule, alert);
  const { target } = resolved;
  if (resolved.fault !== null) return of("escalate", resolved.fault.reason, resolved.fault.says, { target });
  if (target === null) return of("escalate", "missing-label", "the rule names no target");
  const cluster = policy.clusters.find((c) => c.name === target.cluster);
  if (cluster === undefined)
    return of("ignore", "unmanaged", `cluster ${inert(target.cluster, 80)} is not in the policy`, { target });
  const scoped = CLUSTER_SCOPED.has(target.kind ?? target.from ?? "");
  if (!scoped && !cluster.namespaces.includes(target.namespace)) {
    return of("ignore", "unmanaged", `namespace ${target.namespace} of cluster ${cluster.name} is not in the policy`, {
      target,
    });
  }
  if (rule.does.diagnosis)
    return of("diagnose", "diagnosis", `rule ${rule.name} asks for a diagnosis: nothing is changed`, { target });
  if (policy.protected.includes(target.namespace) || alwaysProtected.includes(target.namespace)) {
    return of("hold", "protected", `namespace ${target.namespace} is protected: read only`, { target });
  }
  return of("remediate", null, "", { target });
}

interface Resolved {
  target: NamedTarget | null;
  fault: { reason: Reason; says: string } | null;
}

/** The labels' view of the rule's target. Only labels that the rule names are read. */
function targetOf(policy: Policy, rule: Rule | null, alert: Pick<Alert, "labels">): Resolved {
  if (rule?.does.what !== "runbook") return { target: null, fault: null };
  const template: TargetTemplate = rule.does.target;
  const cluster = alert.labels["cluster"] ?? (policy.clusters.length === 1 ? (policy.clusters[0]?.name ?? "") : "");
  const scoped = CLUSTER_SCOPED.has(template.kind ?? template.from ?? "");
  const namespace = scoped ? "" : substitute(template.namespace, alert.labels);
  const name = substitute(template.name, alert.labels);
  if (namespace === null) return missing(template.namespace);
  if (name === null) return missing(template.name);
  if (cluster === "")
    return {
      target: null,
      fault: { reason: "missing-label", says: "the alert has no label cluster, and the policy has more than one" },
    };
  const target: NamedTarget = {
    cluster,
    namespace,
    name,
    ...(template.kind === undefined ? {} : { kind: template.kind }),
    ...(template.from === undefined ? {} : { from: template.from }),
  };
  const valid = template.from === "instance" ? isInstance(name) : isObjectName(name);
  if (!valid) return invalid("name", name);
  if (!scoped && !isNamespaceName(namespace)) return invalid("namespace", namespace);
  return { target, fault: null };
}

/** Null where a label that is named is missing or empty. */
function substitute(template: string, labels: Readonly<Record<string, string>>): string | null {
  const label = /^\$labels\.(.+)$/.exec(template)?.[1];
  if (label === undefined) return template;
  const value = labels[label];
  return value === undefined || value === "" ? null : value;
}

function missing(template: string): Resolved {
  return {
    target: null,
    fault: { reason: "missing-label", says: `the alert has no label ${template.replace("$labels.", "")}` },
  };
}

function invalid(what: string, value: string): Resolved {
  return {
    target: null,
    fault: {
      reason: "invalid-name",
      says: `${what}: expected a Kubernetes name, found ${inert(JSON.stringify(value), 80)}`,
    },
  };
}

/** Exported for `match`: how a target reads in one piece, `cluster/kind/namespace/name`. */
export function targetText(target: NamedTarget | null): string | null {
  if (target === null) return null;
  const kinds: Record<string, string> = {
    pod: "Pod",
    service: "Service",
    hpa: "HorizontalPodAutoscaler",
    ingress: "Ingress",
    pvc: "PersistentVolumeClaim",
    node: "Node",
    instance: "Instance",
  };
  return [target.cluster, target.kind ?? kinds[target.from ?? ""] ?? "", target.namespace, target.name].join("/");
}
