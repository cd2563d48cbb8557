import { findPolicy, known } from "../app/policy.js";
import { type Config, readConfig } from "../config.js";
import { FaultsError, messageOf } from "../errors.js";
import { loadRunbooks } from "../plan/registry.js";
import type { Policy } from "../policy/policy.js";
import { warningsOf } from "../policy/warnings.js";
import type { Runbook } from "../runbook.js";
import { clusterFindings } from "./doctor/cluster.js";
import { error, type Finding, ok, warning } from "./doctor/finding.js";
import { redisFindings } from "./doctor/redis.js";
import { alertmanagerFindings, pagerDutyFindings, prometheusFindings, slackFindings } from "./doctor/vendors.js";

/** `nightshift doctor`. Exit 0 when all is well, 1 with warnings, 2 with errors. */
export async function doctor(options: { json: boolean; env: NodeJS.ProcessEnv }): Promise<number> {
  const findings = await examine(options.env);
  if (options.json) process.stdout.write(`${JSON.stringify({ findings }, null, 2)}\n`);
  else {
    const mark = { ok: "✓", warning: "!", error: "✗" };
    for (const f of findings)
      process.stdout.write(`${mark[f.level]} ${f.check}: ${f.says}${f.how === "" ? "" : `\n    → ${f.how}`}\n`);
    const errors = findings.filter((f) => f.level === "error").length;
    const warnings = findings.filter((f) => f.level === "warning").length;
    process.stdout.write(`${findings.length} checks, ${errors} errors, ${warnings} warnings\n`);
  }
  if (findings.some((f) => f.level === "error")) return 2;
  return findings.some((f) => f.level === "warning") ? 1 : 0;
}

export async function examine(env: NodeJS.ProcessEnv): Promise<Finding[]> {
  const findings: Finding[] = [];
  let config: Config;
  try {
    config = readConfig(env, true);
    findings.push(ok("configuration", "every variable can be read"));
  } catch (fault) {
    for (const says of fault instanceof FaultsError ? fault.faults : [messageOf(fault)])
      findings.push(error("configuration", says, "see docs/configuration.md"));
    try {
      config = readConfig(env, false);
    } catch {
      return findings;
    }
  }
  const runbooks = await loadRunbooks();
  const policy = policyFindings(config, runbooks, findings);
  const parts: Promise<Finding[]>[] = [
    redisFindings(config),
    clusterFindings(config, policy, runbooks),
    slackFindings(config),
    pagerDutyFindings(config),
    prometheusFindings(config),
    alertmanagerFindings(config),
  ];
  const names = ["Redis", "cluster", "Slack", "PagerDuty", "Prometheus", "Alertmanager"];
  (await Promise.allSettled(parts)).forEach((part, index) => {
    if (part.status === "fulfilled") findings.push(...part.value);
    else
      findings.push(error(names[index] ?? "", messageOf(part.reason), "this check itself failed: look at the message"));
  });
  return findings;
}

function policyFindings(config: Config, runbooks: ReadonlyMap<string, Runbook>, findings: Finding[]): Policy | null {
  try {
    const policy = findPolicy(config, known(runbooks));
    findings.push(
      ok(
        "policy",
        `${policy.rules.length} rules, ${policy.clusters.map((c) => `${c.name}: ${c.namespaces.join(", ")}`).join("; ")}`,
      ),
    );
    for (const says of warningsOf(policy)) findings.push(warning("policy", says, "leave it out to have the default"));
    const cluster = config.cluster || (policy.clusters.length === 1 ? policy.clusters[0]?.name : "");
    if (!policy.clusters.some((c) => c.name === cluster)) {
      findings.push(
        error(
          "policy",
          `cluster ${JSON.stringify(cluster)} is not in it`,
          `set NIGHTSHIFT_CLUSTER to one of ${policy.clusters.map((c) => c.name).join(", ")}`,
        ),
      );
    }
    return policy;
  } catch (fault) {
    for (const says of fault instanceof FaultsError ? fault.faults : [messageOf(fault)])
      findings.push(error("policy", says, "`nightshift policy check` lists every fault"));
    return null;
  }
}
