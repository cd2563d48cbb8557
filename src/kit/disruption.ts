/** What disruption budgets and quorums allow. For runbooks. */
import type { ClusterReader, KubeObject } from "../cluster.js";
import { includesAll } from "./workload.js";

interface Selector {
  matchLabels?: Record<string, string>;
  matchExpressions?: { key: string; operator: string; values?: string[] }[];
}

export interface DisruptionBudget {
  name: string;
  /** How many of its pods may leave now. */
  allowed: number;
}

/** The disruption budgets that cover a pod with these labels. Errors: ClusterError. */
export async function budgetsOver(
  namespace: string,
  labels: Record<string, string>,
  cluster: ClusterReader,
): Promise<DisruptionBudget[]> {
  const all = await cluster.list({ apiVersion: "policy/v1", kind: "PodDisruptionBudget", namespace });
  return all
    .filter((budget) => picks((budget.spec?.selector ?? null) as Selector | null, labels))
    .map((budget) => ({ name: budget.metadata.name, allowed: Number(budget.status?.disruptionsAllowed ?? 0) }));
}

/** An empty selector of policy/v1 picks every pod; none picks nothing. */
function picks(selector: Selector | null, labels: Record<string, string>): boolean {
  if (selector === null) return false;
  const pairs = selector.matchLabels ?? {};
  if (Object.keys(pairs).length > 0 && !includesAll(labels, pairs)) return false;
  return (selector.matchExpressions ?? []).every(({ key, operator, values = [] }) => {
    const value = labels[key];
    if (operator === "Exists") return value !== undefined;
    if (operator === "DoesNotExist") return value === undefined;
    if (operator === "In") return value !== undefined && values.includes(value);
    return value === undefined || !values.includes(value);
  });
}

/**
 * Why taking one member of a replicated set away would leave too few, as expected and found; null where enough stay. A
 * set of three or more is taken for one that needs a majority: nobody can tell from outside that it does not.
 */
export function quorumLost(workload: KubeObject, readyAfter: number): string | null {
  const members = Number((workload.spec as { replicas?: number } | undefined)?.replicas ?? 1);
  if (workload.kind !== "StatefulSet" || members < 3) return null;
  const majority = Math.floor(members / 2) + 1;
  return readyAfter >= majority
    ? null
    : `expected at least ${majority} of ${members} members to stay ready, found ${readyAfter}`;
}
