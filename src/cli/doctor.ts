import { existsSync } from "node:fs";
import { join, resolve } from "node:path";
import { findPolicy, known } from "../app/policy.js";
import { createAlertmanagers } from "../clients/alertmanager.js";
import { createKubernetes, type KubernetesClient } from "../clients/kubernetes.js";
import { createPagerDutyRest } from "../clients/pagerduty.js";
import { createPrometheus } from "../clients/prometheus.js";
import { createSlack } from "../clients/slack.js";
import { systemClock } from "../clock.js";
import { type Config, readConfig } from "../config.js";
import { FaultsError, messageOf } from "../errors.js";
import { CONTROL_CONFIGMAP, createControl } from "../execution/control.js";
import { silentLog } from "../log.js";
import { loadRunbooks } from "../plan/registry.js";
import type { Policy } from "../policy/policy.js";
import { warningsOf } from "../policy/warnings.js";
import type { Runbook } from "../runbook.js";
import { connectRedis, untilReady } from "../store/redis.js";

/** One thing that was looked at. `how` says how to mend what is not well. */
export interface Finding {
  check: string;
  level: "ok" | "warning" | "error";
  says: string;
  how: string;
}

const ok = (check: string, says: string): Finding => ({ check, level: "ok", says, how: "" });
const warning = (check: string, says: string, how: string): Finding => ({ check, level: "warning", says, how });
const error = (check: string, says: string, how: string): Finding => ({ check, level: "error", says, how });

/** Two seconds of skew warn, fifteen stop: half a Lease. */
const SKEW_WARN_MS = 2000;
const SKEW_STOP_MS = 15_000;

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

async function redisFindings(config: Config): Promise<Finding[]> {
  const socket = join(resolve(config.dataDir, "redis"), "redis.sock");
  const url = config.redisUrl ?? (existsSync(socket) ? `unix://${socket}` : null);
  if (url === null)
    return [
      warning(
        "Redis",
        "REDIS_URL is not set: `serve` starts the machine's own redis-server",
        "for more than one process, or to survive this machine, set REDIS_URL",
      ),
    ];
  const findings: Finding[] = [];
  const redis = connectRedis(url, () => undefined);
  try {
    await untilReady(redis, 3000);
    const info = async (section: string) =>
      Object.fromEntries(
        (await redis.info(section))
          .split("\r\n")
          .map((line) => line.split(":", 2))
          .filter((pair) => pair.length === 2),
      ) as Record<string, string>;
    const server = await info("server");
    const version = server["valkey_version"] ?? server["redis_version"] ?? "unknown";
    const major = Number(version.split(".")[0]);
    findings.push(
      major >= 7
        ? ok("Redis", `answers, version ${version}`)
        : error("Redis", `version ${version}, expected 7 or newer`, "upgrade Redis, or use Valkey 8"),
    );
    const memory = await info("memory");
    const eviction = memory["maxmemory_policy"];
    if (eviction === undefined)
      findings.push(
        warning("Redis eviction", "cannot be told from INFO", "make sure that maxmemory-policy is noeviction"),
      );
    else
      findings.push(
        eviction === "noeviction"
          ? ok("Redis eviction", "noeviction")
          : error(
              "Redis eviction",
              `maxmemory-policy is ${eviction}: jobs and records would vanish`,
              "set maxmemory-policy noeviction",
            ),
      );
    const persistence = await info("persistence");
    findings.push(
      persistence["aof_enabled"] === "1"
        ? ok("Redis AOF", "on")
        : error("Redis AOF", "off: a restart of Redis loses what was accepted", "set appendonly yes"),
    );
    const most = Number(memory["maxmemory"] ?? 0);
    const share = most === 0 ? 0 : Number(memory["used_memory"] ?? 0) / most;
    if (share > 0.85)
      findings.push(error("Redis memory", `${Math.round(share * 100)} % of maxmemory is used`, "raise maxmemory"));
    else if (share > 0.7)
      findings.push(warning("Redis memory", `${Math.round(share * 100)} % of maxmemory is used`, "raise maxmemory"));
    const [seconds = "0", micros = "0"] = (await redis.time()).map(String);
    findings.push(skew("Redis", Number(seconds) * 1000 + Number(micros) / 1000));
  } catch (fault) {
    findings.push(error("Redis", messageOf(fault), "is REDIS_URL right, and may this host reach it?"));
  } finally {
    redis.disconnect();
  }
  return findings;
}

function skew(who: string, theirs: number): Finding {
  const off = Math.abs(theirs - systemClock.now());
  const says = `${Math.round(off / 100) / 10} s from ours`;
  if (off > SKEW_STOP_MS)
    return error(`clock of ${who}`, says, "synchronise the clocks (NTP): deadlines and approvals depend on them");
  return off > SKEW_WARN_MS
    ? warning(`clock of ${who}`, says, "synchronise the clocks (NTP)")
    : ok(`clock of ${who}`, says);
}

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

async function clusterFindings(
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

async function slackFindings(config: Config): Promise<Finding[]> {
  const { botToken, appToken, signingSecret, channel } = config.slack;
  if (botToken === null)
    return [
      warning(
        "Slack",
        "SLACK_BOT_TOKEN is not set: no plan can be approved there, plans are paged",
        "make an app from deploy/slack-app-manifest.yaml and set SLACK_BOT_TOKEN, SLACK_CHANNEL and SLACK_APP_TOKEN",
      ),
    ];
  const findings: Finding[] = [];
  if (appToken === null && signingSecret === null)
    findings.push(
      error(
        "Slack",
        "neither SLACK_APP_TOKEN nor SLACK_SIGNING_SECRET is set: clicks cannot arrive",
        "set SLACK_APP_TOKEN for Socket Mode, or SLACK_SIGNING_SECRET for HTTP",
      ),
    );
  try {
    const slack = await createSlack({ botToken: () => botToken.values()[0] ?? "", apiUrl: config.slack.apiUrl });
    findings.push(ok("Slack", `${await slack.whoAmI()}, channel ${channel}`));
    await slack.find(channel, "doctor");
    findings.push(ok("Slack channel", `${channel} can be read`));
  } catch (fault) {
    findings.push(
      error("Slack", messageOf(fault), "see the message; the app needs the scopes of deploy/slack-app-manifest.yaml"),
    );
  }
  return findings;
}

async function pagerDutyFindings(config: Config): Promise<Finding[]> {
  const key = config.pagerduty.routingKey?.values()[0];
  if (key === undefined)
    return [
      error(
        "PagerDuty",
        "PAGERDUTY_ROUTING_KEY is not set: nothing above propose runs",
        "add an Events API v2 integration to a service and set its integration key",
      ),
    ];
  const findings = [
    /^[A-Za-z0-9]{32}$/.test(key)
      ? ok("PagerDuty", "the routing key has the right form (no event was sent)")
      : error(
          "PagerDuty",
          `the routing key has ${key.length} characters, expected 32 letters and digits`,
          key.length === 20
            ? "that looks like a REST key: take the integration key of an Events API v2 integration"
            : "copy the integration key again",
        ),
  ];
  const { token } = config.pagerduty;
  if (token === null)
    return [
      ...findings,
      warning(
        "PagerDuty REST",
        "PAGERDUTY_TOKEN is not set: pagerduty:oncall approves nothing",
        "set PAGERDUTY_TOKEN to a read-only REST key",
      ),
    ];
  try {
    const people = await createPagerDutyRest({
      token: () => token.values()[0] ?? "",
      apiUrl: config.pagerduty.apiUrl,
    }).onCall();
    findings.push(
      people.length > 0
        ? ok("PagerDuty REST", `${people.length} on call`)
        : warning("PagerDuty REST", "nobody is on call", "look at the escalation policies"),
    );
  } catch (fault) {
    findings.push(error("PagerDuty REST", messageOf(fault), "is PAGERDUTY_TOKEN a valid REST key?"));
  }
  return findings;
}

async function prometheusFindings(config: Config): Promise<Finding[]> {
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
    ];
  } catch (fault) {
    return [error("Prometheus", messageOf(fault), "is PROMETHEUS_URL right?")];
  }
}

async function alertmanagerFindings(config: Config): Promise<Finding[]> {
  if (config.alertmanagerUrls.length === 0)
    return [
      error(
        "Alertmanager",
        "ALERTMANAGER_URL is not set: whether an alert still fires cannot be asked, so every remedy is held",
        "set ALERTMANAGER_URL to every Alertmanager, separated by commas",
      ),
    ];
  const found = await createAlertmanagers(config.alertmanagerUrls, config.alertmanagerReceiver, silentLog).versions();
  return found.map((one) =>
    one.version === null
      ? error("Alertmanager", `${one.url}: ${one.says}`, "is ALERTMANAGER_URL right?")
      : ok("Alertmanager", `${one.url} answers, version ${one.version}`),
  );
}
