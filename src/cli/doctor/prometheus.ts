import { createPrometheus, type PrometheusClient } from "../../clients/prometheus.js";
import type { Config } from "../../config.js";
import { messageOf } from "../../errors.js";
import type { Policy, Rule } from "../../policy/policy.js";
import { conditionOf, endCanBeTold } from "../../verify/expression.js";
import type { AlertingRule } from "../../verify/metrics.js";
import { error, type Finding, ok, skew, warning } from "./finding.js";

export async function prometheusFindings(config: Config, policy: Policy | null): Promise<Finding[]> {
  if (config.prometheusUrl === null)
    return [
      warning(
        "Prometheus",
        "PROMETHEUS_URL is not set: every verification ends inconclusive and pages",
        "set PROMETHEUS_URL",
      ),
    ];
  try {
    const client = createPrometheus(config.prometheusUrl);
    return [
      ok("Prometheus", `answers, version ${await client.buildVersion()}`),
      skew("Prometheus", await client.serverTime()),
      await targets(client),
      ...(policy === null ? [] : [await rulesFinding(client, policy)]),
    ];
  } catch (fault) {
    return [
      error(
        "Prometheus",
        messageOf(fault),
        "is PROMETHEUS_URL right, with its credentials, and may this host reach it?",
      ),
    ];
  }
}

/** An instant query looks back five minutes: no sample of `up` in them is a Prometheus that no longer scrapes. */
async function targets(client: PrometheusClient): Promise<Finding> {
  const [share] = await client.query("count(up == 1) / count(up)");
  if (share === undefined || !(share.value > 0))
    return error(
      "Prometheus targets",
      "no target is up: it scrapes nothing, or has not for five minutes, so every verification is inconclusive",
      "look at /targets of this Prometheus; is PROMETHEUS_URL the one that scrapes, or a query frontend without data?",
    );
  const percent = `${Math.round(share.value * 100)} % of targets are up`;
  return share.value < 0.5
    ? warning("Prometheus targets", percent, "look at /targets of this Prometheus")
    : ok("Prometheus targets", percent);
}

/**
 * A remedy is proven by its alerting rule's own expression, and a heartbeat needs one to beat. Only what can be read off
 * the rule is compared: its name and the labels that it sets itself.
 */
async function rulesFinding(client: PrometheusClient, policy: Policy): Promise<Finding> {
  const there = await client.allAlertingRules();
  const needed = policy.rules.filter(
    ({ does }) => (does.what === "runbook" && !does.diagnosis) || does.what === "heartbeat",
  );
  const feeds = (rule: Rule, one: AlertingRule) => mayFeed(rule, { alertname: one.name, ...one.labels });
  const without = needed.filter((rule) => !there.some((one) => feeds(rule, one)));
  if (without.length > 0)
    return warning(
      "alerting rules",
      `Prometheus has no alerting rule for ${without.map((rule) => `${rule.name} (${rule.match[0]?.value ?? ""})`).join(", ")}: these rules of the policy never match, or what they do cannot be verified`,
      "load deploy/platform/rules/platform.yaml or the rules that you mean, correct the names in the policy, or take the rules out",
    );
  const remedies = needed.filter(({ does }) => does.what === "runbook");
  const blind = there.filter(
    (one) => remedies.some((rule) => feeds(rule, one)) && !endCanBeTold(conditionOf(one.expr)),
  );
  if (blind.length > 0)
    return warning(
      "alerting rules",
      `the end of ${[...new Set(blind.map((one) => one.name))].join(", ")} cannot be told from missing data: every remedy for it ends inconclusive, and pages`,
      "write the expression as a comparison (`a > 5`, `a < b`), with what makes it worth an alert after it (`and traffic > 1`)",
    );
  return ok("alerting rules", `${there.length} in Prometheus; every remedy and heartbeat of the policy has one`);
}

function mayFeed(rule: Rule, labels: Readonly<Record<string, string>>): boolean {
  return rule.match.every((matcher) => {
    const value = labels[matcher.name];
    return value === undefined ? matcher.name !== "alertname" : matcher.matches(value);
  });
}
