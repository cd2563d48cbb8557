import { type Config, readConfig, type Secret } from "../config.js";
import { FaultsError, messageOf } from "../errors.js";
import { redactTokens } from "../log.js";
import { loadRunbooks } from "../plan/registry.js";
import { alertmanagerFindings } from "./doctor/alertmanager.js";
import { clusterFindings } from "./doctor/cluster.js";
import { fileFindings } from "./doctor/files.js";
import { error, exitOf, type Finding, ok, section } from "./doctor/finding.js";
import { pagerDutyFindings } from "./doctor/pagerduty.js";
import { policyFindings } from "./doctor/policy.js";
import { prometheusFindings } from "./doctor/prometheus.js";
import { redisFindings } from "./doctor/redis.js";
import { slackFindings } from "./doctor/slack.js";

/** `nightshift doctor`. Exit 0 when all is well, 1 with warnings, 2 with errors. Writes nothing anywhere. */
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
  return exitOf(findings);
}

export async function examine(env: NodeJS.ProcessEnv): Promise<Finding[]> {
  const { config, findings } = configured(env);
  if (config === null) return findings;
  const runbooks = await loadRunbooks();
  const { policy, findings: ofPolicy } = policyFindings(config, runbooks);
  findings.push(...fileFindings(config, env), ...ofPolicy);
  const parts = await Promise.all([
    section("Redis", redisFindings(config)),
    section("cluster", clusterFindings(config, policy, runbooks)),
    section("Slack", slackFindings(config, policy)),
    section("PagerDuty", pagerDutyFindings(config)),
    section("Prometheus", prometheusFindings(config, policy)),
    section("Alertmanager", alertmanagerFindings(config)),
  ]);
  const hide = hiding(config);
  return [...findings, ...parts.flat()].map((f) => ({ ...f, says: hide(f.says), how: hide(f.how) }));
}

/** The configuration as far as it can be read: what is at fault is told, left out, and the rest is looked at all the same. */
function configured(env: NodeJS.ProcessEnv): { config: Config | null; findings: Finding[] } {
  try {
    return { config: readConfig(env, true), findings: [ok("configuration", "every variable can be read")] };
  } catch (fault) {
    const faults = fault instanceof FaultsError ? fault.faults : [messageOf(fault)];
    const findings = faults.map((says) => error("configuration", redactTokens(says), "see docs/configuration.md"));
    const named = faults.flatMap((says) => says.match(/\b[A-Z][A-Z_]{4,}\b/g) ?? []);
    const rest = Object.entries(env).filter(
      ([name]) => !named.includes(name.replace(/_FILE$/, "")) && !named.includes(name),
    );
    for (const given of [env, Object.fromEntries(rest)]) {
      try {
        return { config: readConfig(given, false), findings };
      } catch {
        // Once more without what is at fault.
      }
    }
    return { config: null, findings };
  }
}

/** Hides what looks like a secret, and every secret of the configuration itself, however it came into a message. */
function hiding(config: Config): (text: string) => string {
  const { slack, pagerduty, webhook } = config;
  const secrets: (Secret | null)[] = [
    config.secret,
    config.apiToken,
    webhook.tokens,
    webhook.basic,
    slack.botToken,
    slack.appToken,
    slack.signingSecret,
    pagerduty.routingKey,
    pagerduty.token,
    pagerduty.webhookSecret,
  ];
  const values = secrets.flatMap((secret) => secret?.values() ?? []).filter((value) => value.length >= 6);
  return (text) => values.reduce((shown, value) => shown.replaceAll(value, "[redacted]"), redactTokens(text));
}
