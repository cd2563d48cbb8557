import { findPolicy, known } from "../../app/policy.js";
import type { Config } from "../../config.js";
import { FaultsError, messageOf } from "../../errors.js";
import type { ManagedCluster, Policy, Rule } from "../../policy/policy.js";
import { warningsOf } from "../../policy/warnings.js";
import type { Remedy, Runbook } from "../../runbook.js";
import { error, type Finding, ok, warning } from "./finding.js";

/** The policy as `serve` would read it, with what can be said of it without asking anybody. */
export function policyFindings(
  config: Config,
  runbooks: ReadonlyMap<string, Runbook>,
): { policy: Policy | null; findings: Finding[] } {
  let policy: Policy;
  try {
    policy = findPolicy(config, known(runbooks));
  } catch (fault) {
    const faults = fault instanceof FaultsError ? fault.faults : [messageOf(fault)];
    return {
      policy: null,
      findings: faults.map((says) => error("policy", says, "`nightshift policy check` lists every fault")),
    };
  }
  const scope = policy.clusters.map((c) => `${c.name}: ${c.namespaces.join(", ")}`).join("; ");
  const findings = [ok("policy", `${policy.rules.length} rules, ${scope}`)];
  for (const says of warningsOf(policy)) findings.push(warning("policy", says, "leave it out to have the default"));
  const cluster = managedCluster(config, policy);
  if (cluster === null)
    findings.push(
      error(
        "policy",
        `cluster ${JSON.stringify(config.cluster)} is not in it`,
        `set NIGHTSHIFT_CLUSTER to one of ${policy.clusters.map((c) => c.name).join(", ")}`,
      ),
    );
  for (const namespace of cluster?.namespaces ?? []) {
    if (policy.protected.includes(namespace) || namespace === config.namespace)
      findings.push(
        warning(
          "policy",
          `namespace ${namespace} is managed and protected: it is read only, every remedy there is held`,
          `take ${namespace} out of protected, or out of the cluster's namespaces if nothing is to be looked at there`,
        ),
      );
  }
  if (acting(policy).length > 0 && config.pagerduty.token === null) {
    const only = acting(policy).filter((rule) => rule.approval.from.every((who) => who === "pagerduty:oncall"));
    if (only.length > 0)
      findings.push(
        error(
          "policy",
          `rules ${only.map((rule) => rule.name).join(", ")} can be approved by pagerduty:oncall alone, and PAGERDUTY_TOKEN is not set`,
          "set PAGERDUTY_TOKEN to a read-only REST key, or name a slack-group in approval.from",
        ),
      );
  }
  return { policy, findings };
}

/** The cluster that is acted on: the named one, else the sole one. */
export function managedCluster(config: Pick<Config, "cluster">, policy: Policy): ManagedCluster | null {
  if (config.cluster === "" && policy.clusters.length === 1) return policy.clusters[0] ?? null;
  return policy.clusters.find((c) => c.name === config.cluster) ?? null;
}

/** Rules that may change something by themselves or after a yes. */
export function acting(policy: Policy): Rule[] {
  return policy.rules.filter(
    (rule) =>
      rule.does.what === "runbook" && !rule.does.diagnosis && (rule.autonomy === "approve" || rule.autonomy === "auto"),
  );
}

/** The remedies of acting rules, each with the rules that may start it. */
export function actingRemedies(policy: Policy, runbooks: ReadonlyMap<string, Runbook>) {
  const found = new Map<string, { remedy: Remedy<never, never>; rules: string[] }>();
  for (const rule of acting(policy)) {
    const runbook = rule.does.what === "runbook" ? runbooks.get(rule.does.runbook) : undefined;
    if (runbook?.kind !== "remedy") continue;
    const rules = found.get(runbook.name)?.rules ?? [];
    found.set(runbook.name, { remedy: runbook as never, rules: [...rules, rule.name] });
  }
  return [...found.values()];
}
