import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { alertmanagerProgram, freePort } from "../../sandbox/processes.js";
import { startPrometheusStandIn } from "../../sandbox/prometheus/index.js";
import { examine } from "../../src/cli/doctor.js";
import { exitOf, type Finding } from "../../src/cli/doctor/finding.js";
import {
  amConfig,
  type DoctorWorld,
  goodHook,
  HANDS,
  MANAGED,
  OWN,
  oldRedis,
  policyText,
  READER,
  readerRules,
  realAlertmanager,
  skewedApi,
  startDoctorWorld,
  surplus,
  without,
} from "../harness/doctor-world.js";

/** `doctor` on a world that is broken in exactly one thing: it must find that, say how to mend it, and find nothing else. */

interface Broken {
  env?: Record<string, string>;
  mend?: () => unknown;
}
interface Row {
  fault: string;
  breaks(w: DoctorWorld): Promise<Broken> | Broken;
  check: string;
  level: "warning" | "error";
  says: RegExp;
  how: RegExp;
  real?: boolean;
}

/** Nobody listens there. */
const NOWHERE = `http://127.0.0.1:${await freePort()}`;
const kubeconfigOf = (w: DoctorWorld, url: string, token: string) =>
  w.kubernetes.kubeconfig(token).replace(w.kubernetes.url, url);
const hands = (rules: ReturnType<typeof without>) => (w: DoctorWorld) => {
  w.rights(HANDS, rules);
  return { mend: () => w.rights(HANDS, without()) };
};
const redisSetting = (name: string, broken: string, well: string) => async (w: DoctorWorld) => {
  await w.admin.config("SET", name, broken);
  return { mend: () => w.admin.config("SET", name, well) };
};
const policy = (change: (text: string) => string) => (w: DoctorWorld) => ({
  env: { NIGHTSHIFT_POLICY: w.file("broken.yaml", policyText(change)) },
});
const alertmanager =
  (config: string, more: Record<string, string> = {}) =>
  async () => {
    const running = await realAlertmanager(config);
    return { env: { ALERTMANAGER_URL: running.url, ...more }, mend: running.stop };
  };

const rows: Row[] = [
  // Configuration and files
  {
    fault: "NIGHTSHIFT_SECRET is short",
    breaks: () => ({ env: { NIGHTSHIFT_SECRET: "short" } }),
    check: "configuration",
    level: "error",
    says: /NIGHTSHIFT_SECRET: expected at least 16 characters, found 5/,
    how: /docs\/configuration\.md/,
  },
  {
    fault: "nothing authenticates Alertmanager",
    breaks: () => ({ env: { NIGHTSHIFT_WEBHOOK_TOKEN_FILE: "" } }),
    check: "configuration",
    level: "error",
    says: /NIGHTSHIFT_WEBHOOK_TOKEN or NIGHTSHIFT_WEBHOOK_BASIC: one is required/,
    how: /docs\/configuration\.md/,
  },
  {
    fault: "the webhook's token can be guessed",
    breaks: (w) => ({ env: { NIGHTSHIFT_WEBHOOK_TOKEN_FILE: w.file("short-token", "hunter2") } }),
    check: "webhook token",
    level: "warning",
    says: /has 7 characters, expected at least 16/,
    how: /openssl rand -hex 32/,
  },
  {
    fault: "a secret's file can be read by everybody",
    breaks: (w) => ({
      env: { NIGHTSHIFT_WEBHOOK_TOKEN_FILE: w.file("open-token", "the-webhook-token-of-this-world", 0o644) },
    }),
    check: "secret files",
    level: "warning",
    says: /NIGHTSHIFT_WEBHOOK_TOKEN_FILE: .*open-token can be read by everybody \(mode 644\)/,
    how: /chmod o-r .*open-token/,
  },
  // Redis
  {
    fault: "Redis cannot be reached",
    breaks: () => ({ env: { REDIS_URL: "redis://127.0.0.1:1" } }),
    check: "Redis",
    level: "error",
    says: /cannot be reached: .*ECONNREFUSED/,
    how: /is REDIS_URL right/,
  },
  {
    fault: "Redis refuses the password",
    breaks: async (w) => {
      const { mend } = await redisSetting("requirepass", "right-password", "")(w);
      return { env: { REDIS_URL: `redis://:wrong-password@127.0.0.1:${w.redisPort}` }, mend };
    },
    check: "Redis",
    level: "error",
    says: /refuses the credentials: .*WRONGPASS/,
    how: /put the right user and password into REDIS_URL/,
  },
  {
    fault: "Redis wants a password and is given none",
    breaks: redisSetting("requirepass", "right-password", ""),
    check: "Redis",
    level: "error",
    says: /refuses the credentials: .*NOAUTH/,
    how: /put the right user and password into REDIS_URL/,
  },
  {
    fault: "Redis is too old",
    breaks: async () => {
      const old = await oldRedis();
      return { env: { REDIS_URL: old.url }, mend: old.stop };
    },
    check: "Redis",
    level: "error",
    says: /version 6\.2\.14, expected 7 or newer/,
    how: /upgrade Redis/,
  },
  {
    fault: "Redis evicts",
    breaks: redisSetting("maxmemory-policy", "allkeys-lru", "noeviction"),
    check: "Redis eviction",
    level: "error",
    says: /maxmemory-policy is allkeys-lru/,
    how: /set maxmemory-policy noeviction/,
  },
  {
    fault: "Redis keeps no AOF",
    breaks: redisSetting("appendonly", "no", "yes"),
    check: "Redis AOF",
    level: "error",
    says: /off: a restart of Redis loses/,
    how: /set appendonly yes/,
  },
  {
    fault: "Redis' memory is nearly full",
    breaks: async (w) => {
      const used = Number(/^used_memory:(\d+)/m.exec(await w.admin.info("memory"))?.[1]);
      return redisSetting("maxmemory", String(Math.round(used * 1.02)), "0")(w);
    },
    check: "Redis memory",
    level: "error",
    says: /\d\d+ % of maxmemory is used/,
    how: /raise maxmemory/,
  },
  {
    fault: "Redis is a replica",
    breaks: async (w) => {
      await w.admin.replicaof("127.0.0.1", 1);
      return { mend: () => w.admin.replicaof("NO", "ONE") };
    },
    check: "Redis",
    level: "error",
    says: /it is a replica of 127\.0\.0\.1: it refuses every write/,
    how: /point REDIS_URL at the primary/,
  },
  // Kubernetes
  {
    fault: "the API server cannot be reached",
    breaks: (w) => ({ env: { KUBECONFIG: w.file("k", kubeconfigOf(w, NOWHERE, "reader-token-of-this-world")) } }),
    check: "cluster",
    level: "error",
    says: /127\.0\.0\.1:\d+ cannot be reached: .*ECONNREFUSED/,
    how: /is the server in KUBECONFIG right/,
  },
  {
    fault: "there is no kubeconfig",
    breaks: () => ({ env: { KUBECONFIG: "/nowhere/kubeconfig" } }),
    check: "cluster",
    level: "error",
    says: /kubeconfig \/nowhere\/kubeconfig cannot be read/,
    how: /set KUBECONFIG/,
  },
  {
    fault: "the writer's credentials are refused",
    breaks: (w) => ({ env: { KUBECONFIG_HANDS: w.file("k", w.kubernetes.kubeconfig("an-old-token")) } }),
    check: "cluster",
    level: "error",
    says: /refuses the credentials of context stand-in: .*401/,
    how: /renew the token or certificate in KUBECONFIG_HANDS/,
  },
  {
    fault: "the API server's clock is off",
    breaks: async (w) => {
      const proxy = await skewedApi(w, 40_000);
      const reader = w.file("k", kubeconfigOf(w, proxy.url, "reader-token-of-this-world"));
      return { env: { KUBECONFIG: reader }, mend: proxy.stop };
    },
    check: "clock of the API server",
    level: "error",
    says: /(39|4\d)(\.\d)? s from ours/,
    how: /NTP/,
  },
  {
    fault: "Nightshift's own namespace does not exist",
    breaks: (w) => {
      w.kubernetes.remove("Namespace", "", OWN);
      return {
        mend: () => w.kubernetes.seed({ apiVersion: "v1", kind: "Namespace", metadata: { name: OWN } }),
      };
    },
    check: "own namespace",
    level: "error",
    says: /there is no namespace nightshift/,
    how: /kubectl create namespace nightshift/,
  },
  {
    fault: "the writer may not write Leases",
    breaks: hands(without("leases")),
    check: "own namespace",
    level: "error",
    says: /in nightshift the writer may not get leases, list leases, create leases, update leases: Leases cannot be kept/,
    how: /bind the own-namespace Role/,
  },
  {
    fault: "the writer may not write the control ConfigMap",
    breaks: hands([
      ...without("control"),
      { verbs: ["get"], groups: [""], resources: ["configmaps"], namespaces: [OWN] },
    ]),
    check: "own namespace",
    level: "error",
    says: /may not create configmaps, update configmaps: the control ConfigMap cannot be kept/,
    how: /bind the own-namespace Role/,
  },
  {
    fault: "the control ConfigMap is not there",
    breaks: (w) => {
      w.kubernetes.remove("ConfigMap", OWN, "nightshift-control");
      return { mend: () => w.control({ stop: "false", pauses: "[]" }) };
    },
    check: "control ConfigMap",
    level: "warning",
    says: /nightshift\/nightshift-control is not there: everything counts as stopped/,
    how: /nightshift serve/,
  },
  {
    fault: "the control ConfigMap cannot be understood",
    breaks: (w) => {
      w.control({ stop: "false", pauses: "everything, please" });
      return { mend: () => w.control({ stop: "false", pauses: "[]" }) };
    },
    check: "control ConfigMap",
    level: "error",
    says: /data\.pauses is not a list .*: everything counts as stopped/,
    how: /kubectl -n nightshift patch configmap nightshift-control/,
  },
  {
    fault: "everything is stopped",
    breaks: (w) => {
      w.control({ stop: "true", pauses: JSON.stringify([{ scope: "all", by: "ada", why: "migration", until: null }]) });
      return { mend: () => w.control({ stop: "false", pauses: "[]" }) };
    },
    check: "control ConfigMap",
    level: "warning",
    says: /ada stopped everything: migration/,
    how: /`nightshift resume` lifts it/,
  },
  {
    fault: "one runbook's verb is missing in a managed namespace",
    breaks: hands(without("statefulsets")),
    check: `namespace ${MANAGED}`,
    level: "error",
    says: /^the writer may not patch statefulsets, patch daemonsets \(restart-workload\): rules memory are held/,
    how: /create rolebinding nightshift-class-[abc] --clusterrole=nightshift-class-[abc] --serviceaccount=nightshift:nightshift-hands/,
  },
  {
    fault: "pods may not be evicted",
    breaks: hands(without("evictions")),
    check: `namespace ${MANAGED}`,
    level: "error",
    says: /may not create pods\/eviction \(restart-pod\): rules pod-not-ready are held/,
    how: /create rolebinding nightshift-class-b/,
  },
  {
    fault: "a managed namespace is not bound at all",
    breaks: hands(without("reads", "configmaps", "deployments", "statefulsets", "autoscalers", "evictions")),
    check: `namespace ${MANAGED}`,
    level: "error",
    says: /^not bound: the writer may not .*rules bad-deploy, slow, memory, pod-not-ready are held/,
    how: /its owner opens it: kubectl -n mcp-production create rolebinding/,
  },
  {
    fault: "the writer may delete pods",
    breaks: hands([...without(), surplus("delete", "core", "pods")]),
    check: "writer's rights",
    level: "warning",
    says: /in mcp-production the writer may delete pods, past every disruption budget/,
    how: /take the right away/,
  },
  {
    fault: "the writer may create pods",
    breaks: hands([...without(), surplus("create", "core", "pods")]),
    check: "writer's rights",
    level: "warning",
    says: /the writer may create pods, and with them take any ServiceAccount/,
    how: /take the right away/,
  },
  {
    fault: "the writer may list Secrets",
    breaks: hands([...without(), surplus("list", "core", "secrets")]),
    check: "writer's rights",
    level: "warning",
    says: /the writer may list secrets, and so read every credential/,
    how: /take the right away/,
  },
  {
    fault: "the writer may do everything",
    breaks: hands([...without(), surplus("*", "*", "*")]),
    check: "writer's rights",
    level: "warning",
    says: /the writer may do everything \(a wildcard\)/,
    how: /nightshift-class-a, -b and -c/,
  },
  {
    fault: "the reader may write",
    breaks: (w) => {
      w.rights(READER, [...readerRules, surplus("patch", "apps", "deployments")]);
      return { mend: () => w.rights(READER, readerRules) };
    },
    check: "reader's rights",
    level: "warning",
    says: /the reader may patch deployments/,
    how: /bind no write to it/,
  },
  {
    fault: "the reader may not read what guards need",
    breaks: (w) => {
      w.rights(
        READER,
        readerRules.filter((rule) => !rule.resources.includes("horizontalpodautoscalers")),
      );
      return { mend: () => w.rights(READER, readerRules) };
    },
    check: "reader's rights",
    level: "error",
    says: /the reader may not list horizontalpodautoscalers in mcp-production/,
    how: /bind the reader's ClusterRole/,
  },
  // Policy
  {
    fault: "the policy has a fault",
    breaks: policy((text) => text.replace("runbook: diagnose-pods", "runbook: diagnose-everything")),
    check: "policy",
    level: "error",
    says: /broken\.yaml:\d+:\d+: rule crash-loop: no runbook diagnose-everything/,
    how: /nightshift policy check/,
  },
  {
    fault: "the policy manages a namespace that does not exist",
    breaks: policy((text) => text.replace(`[${MANAGED}]`, `[${MANAGED}, mcp-prodution]`)),
    check: "namespace mcp-prodution",
    level: "error",
    says: /the policy manages it and it does not exist/,
    how: /correct the name under clusters/,
  },
  {
    fault: "a namespace is managed and protected",
    breaks: policy((text) => text.replace("[monitoring]", `[monitoring, ${MANAGED}]`)),
    check: "policy",
    level: "warning",
    says: /namespace mcp-production is managed and protected/,
    how: /take mcp-production out of protected/,
  },
  {
    fault: "the cluster is not in the policy",
    breaks: () => ({ env: { NIGHTSHIFT_CLUSTER: "d" } }),
    check: "policy",
    level: "error",
    says: /cluster "d" is not in it/,
    how: /set NIGHTSHIFT_CLUSTER to one of c/,
  },
  {
    fault: "the policy is weaker than the default",
    breaks: policy((text) => text.replace("rules:", "guards: { budget: { atOnce: 9 } }\nrules:")),
    check: "policy",
    level: "warning",
    says: /budget\.atOnce is 9, weaker than the default 2/,
    how: /leave it out/,
  },
  {
    fault: "nobody of the policy's group can approve",
    breaks: policy((text) => text.replace("slack-group:sre", "slack-group:sre-old")),
    check: "Slack approvers",
    level: "warning",
    says: /slack-group:sre-old of the policy does not exist or cannot be read/,
    how: /correct the group's handle/,
  },
  // Slack
  {
    fault: "Slack refuses the bot's token",
    breaks: (w) => ({ mend: w.slackSays("auth.test", { ok: false, error: "invalid_auth" }) }),
    check: "Slack",
    level: "error",
    says: /Slack refused auth\.test: invalid_auth/,
    how: /set SLACK_BOT_TOKEN to the Bot User OAuth Token/,
  },
  {
    fault: "Slack cannot be reached",
    breaks: () => ({
      env: { SLACK_API_URL: `${NOWHERE}/api/`, SLACK_APP_TOKEN: "", SLACK_SIGNING_SECRET: "s".repeat(32) },
    }),
    check: "Slack",
    level: "error",
    says: /Slack could not be reached/,
    how: /SLACK_BOT_TOKEN/,
  },
  {
    fault: "the channel does not exist",
    breaks: () => ({ env: { SLACK_CHANNEL: "C0GONE" } }),
    check: "Slack channel",
    level: "error",
    says: /C0GONE: .*channel_not_found/,
    how: /set SLACK_CHANNEL to the channel's id/,
  },
  {
    fault: "the app is not in the channel",
    breaks: (w) => ({ mend: w.slackSays("conversations.history", { ok: false, error: "not_in_channel" }) }),
    check: "Slack channel",
    level: "error",
    says: /C0SRE: .*not_in_channel/,
    how: /type \/invite @nightshift there/,
  },
  {
    fault: "scopes are missing",
    breaks: (w) => ({
      mend: w.slackSays("auth.test", { ok: true, user: "n", team: "t" }, { "x-oauth-scopes": "chat:write,commands" }),
    }),
    check: "Slack scopes",
    level: "error",
    says: /the app lacks usergroups:read, channels:history or groups:history/,
    how: /deploy\/slack-app-manifest\.yaml/,
  },
  {
    fault: "clicks have no way in",
    breaks: () => ({ env: { SLACK_APP_TOKEN: "" } }),
    check: "Slack clicks",
    level: "error",
    says: /neither SLACK_APP_TOKEN nor SLACK_SIGNING_SECRET is set/,
    how: /set SLACK_APP_TOKEN for Socket Mode/,
  },
  {
    fault: "Slack refuses the app-level token",
    breaks: (w) => ({ mend: w.slackSays("apps.connections.open", { ok: false, error: "invalid_auth" }) }),
    check: "Slack clicks",
    level: "error",
    says: /SLACK_APP_TOKEN: Slack refused apps\.connections\.open: invalid_auth/,
    how: /connections:write/,
  },
  // PagerDuty
  {
    fault: "there is no routing key",
    breaks: () => ({ env: { PAGERDUTY_ROUTING_KEY: "" } }),
    check: "PagerDuty",
    level: "error",
    says: /PAGERDUTY_ROUTING_KEY is not set/,
    how: /Events API v2 integration/,
  },
  {
    fault: "the routing key is a REST key",
    breaks: () => ({ env: { PAGERDUTY_ROUTING_KEY: "u".repeat(20) } }),
    check: "PagerDuty",
    level: "error",
    says: /has 20 characters, expected 32/,
    how: /looks like a REST key/,
  },
  {
    fault: "the routing key is nobody's",
    breaks: () => ({ env: { PAGERDUTY_ROUTING_KEY: "f".repeat(32) } }),
    check: "PagerDuty service",
    level: "warning",
    says: /no service that PAGERDUTY_TOKEN sees has this routing key/,
    how: /Integrations tab/,
  },
  {
    fault: "the routing key's service is disabled",
    breaks: (w) => {
      const [service] = w.pager.services;
      if (service) service.status = "disabled";
      return { mend: () => service && (service.status = "active") };
    },
    check: "PagerDuty service",
    level: "error",
    says: /belongs to service Platform, which is disabled/,
    how: /enable the service/,
  },
  {
    fault: "the Events API cannot be reached",
    breaks: () => ({ env: { PAGERDUTY_EVENTS_URL: NOWHERE } }),
    check: "PagerDuty",
    level: "error",
    says: /the Events API cannot be reached: .*ECONNREFUSED/,
    how: /NetworkPolicy/,
  },
  {
    fault: "PagerDuty refuses the REST key",
    breaks: (w) => {
      w.pager.fail("/oncalls", 1, 401);
      return {};
    },
    check: "PagerDuty REST",
    level: "error",
    says: /PagerDuty answered 401 when asked who is on call/,
    how: /set PAGERDUTY_TOKEN to a valid/,
  },
  {
    fault: "nobody is on call",
    breaks: (w) => {
      const people = w.pager.onCall.splice(0);
      return { mend: () => w.pager.onCall.push(...people) };
    },
    check: "PagerDuty REST",
    level: "warning",
    says: /nobody is on call/,
    how: /escalation policies/,
  },
  // Prometheus
  {
    fault: "Prometheus cannot be reached",
    breaks: () => ({ env: { PROMETHEUS_URL: NOWHERE } }),
    check: "Prometheus",
    level: "error",
    says: /Prometheus could not be asked: .*ECONNREFUSED/,
    how: /is PROMETHEUS_URL right/,
  },
  {
    fault: "Prometheus has no alerting rule for a rule of the policy",
    breaks: (w) => {
      const [gone] = w.prometheus.rules.splice(1, 1);
      return { mend: () => gone && w.prometheus.rules.splice(1, 0, gone) };
    },
    check: "alerting rules",
    level: "warning",
    says: /no alerting rule for slow \(HighResponseTime\)/,
    how: /deploy\/platform\/rules\/platform\.yaml/,
  },
  {
    fault: "Prometheus' rule sets another label than the policy wants",
    breaks: (w) => {
      const [rule] = w.prometheus.rules;
      if (rule) rule.labels = { severity: "warning" };
      return { mend: () => rule && (rule.labels = { severity: "critical" }) };
    },
    check: "alerting rules",
    level: "warning",
    says: /no alerting rule for bad-deploy \(HighErrorRate\)/,
    how: /correct the names in the policy/,
  },
  {
    fault: "the end of an alerting rule cannot be told from missing data",
    breaks: (w) => {
      const [rule] = w.prometheus.rules;
      const query = rule?.query ?? "";
      if (rule) rule.query = "http_errors and traffic > 1";
      return { mend: () => rule && (rule.query = query) };
    },
    check: "alerting rules",
    level: "warning",
    says: /the end of HighErrorRate cannot be told/,
    how: /as a comparison/,
  },
  {
    fault: "Prometheus scrapes nothing",
    breaks: (w) => {
      w.up.share = [];
      return { mend: () => (w.up.share = [{ metric: {}, value: 1 }]) };
    },
    check: "Prometheus targets",
    level: "error",
    says: /no target is up/,
    how: /\/targets/,
  },
  {
    fault: "Prometheus' clock is off",
    breaks: async (w) => {
      const other = await startPrometheusStandIn(() => Date.now() - 5000);
      other.rules.push(...w.prometheus.rules);
      other.answer(() => w.up.share);
      return { env: { PROMETHEUS_URL: other.url }, mend: other.stop };
    },
    check: "clock of Prometheus",
    level: "warning",
    says: /s from ours/,
    how: /NTP/,
  },
  // Alertmanager
  {
    fault: "Alertmanager cannot be reached",
    breaks: () => ({ env: { ALERTMANAGER_URL: NOWHERE } }),
    check: "Alertmanager",
    level: "error",
    says: /127\.0\.0\.1:\d+: .*ECONNREFUSED/,
    how: /is ALERTMANAGER_URL right/,
  },
  {
    fault: "Alertmanager has no receiver for the webhook",
    breaks: alertmanager(amConfig("{ url: 'http://127.0.0.1:9/other' }")),
    check: "Alertmanager webhook",
    level: "error",
    says: /no receiver that posts to \/webhooks\/alertmanager/,
    how: /deploy\/platform\/alertmanager\.yml/,
    real: true,
  },
  {
    fault: "no route leads to the receiver",
    breaks: alertmanager(amConfig(goodHook, "route: { receiver: nobody }")),
    check: "Alertmanager webhook",
    level: "error",
    says: /no route leads to receiver nightshift/,
    how: /add a route to receiver nightshift/,
    real: true,
  },
  {
    fault: "max_alerts cuts groups off",
    breaks: alertmanager(amConfig(goodHook.replace("max_alerts: 0", "max_alerts: 10"))),
    check: "Alertmanager webhook",
    level: "warning",
    says: /receiver nightshift has max_alerts 10/,
    how: /max_alerts: 0/,
    real: true,
  },
  {
    fault: "the end of alerts is not sent",
    breaks: alertmanager(amConfig(goodHook.replace("send_resolved: true", "send_resolved: false"))),
    check: "Alertmanager webhook",
    level: "error",
    says: /receiver nightshift has send_resolved false/,
    how: /send_resolved: true/,
    real: true,
  },
  {
    fault: "ALERTMANAGER_RECEIVER names nobody",
    breaks: alertmanager(amConfig(goodHook), { ALERTMANAGER_RECEIVER: "sre-bot" }),
    check: "Alertmanager webhook",
    level: "error",
    says: /has no receiver sre-bot/,
    how: /set ALERTMANAGER_RECEIVER to one of nobody, nightshift/,
    real: true,
  },
  {
    fault: "Alertmanager's cluster has not settled",
    breaks: async () => {
      const running = await realAlertmanager(amConfig(goodHook), `127.0.0.1:${await freePort()}`);
      return { env: { ALERTMANAGER_URL: running.url }, mend: running.stop };
    },
    check: "Alertmanager",
    level: "warning",
    says: /its cluster has not settled/,
    how: /--cluster\.peer/,
    real: true,
  },
];

const above = (findings: Finding[]) => findings.filter((finding) => finding.level !== "ok");
const noAlertmanager = alertmanagerProgram() === null ? " (not run: no Alertmanager on this machine)" : "";

describe("doctor", () => {
  let w: DoctorWorld;
  const look = (env: Record<string, string> = {}) => examine({ ...w.env, ...env });

  beforeAll(async () => {
    w = await startDoctorWorld();
  });
  afterAll(async () => w?.stop());

  it("finds nothing in a world that is well", async () => {
    const findings = await look();

    expect(above(findings)).toEqual([]);
    expect(exitOf(findings)).toBe(0);
    for (const check of ["Redis", "cluster", "Slack", "PagerDuty", "Prometheus", "Alertmanager"])
      expect(findings.map((finding) => finding.check)).toContain(check);
  });

  for (const row of rows) {
    const title = `finds that ${row.fault}, says how to mend it, and nothing else`;
    it.skipIf(row.real === true && noAlertmanager !== "")(
      row.real === true ? title + noAlertmanager : title,
      async () => {
        const broken = await row.breaks(w);
        let findings: Finding[];
        try {
          findings = above(await look(broken.env));
        } finally {
          await broken.mend?.();
        }

        expect(findings).toEqual([
          {
            check: row.check,
            level: row.level,
            says: expect.stringMatching(row.says),
            how: expect.stringMatching(row.how),
          },
        ]);
        expect(exitOf(findings)).toBe(row.level === "error" ? 2 : 1);
      },
    );
  }

  it("has left the world as it was, and has only ever read", async () => {
    expect(above(await look())).toEqual([]);
    expect(w.kubernetes.writes().filter((write) => !/accessreviews/.test(JSON.stringify(write)))).toEqual([]);
    expect(await w.admin.dbsize()).toBe(0);
    expect(w.pager.calls.filter((call) => call.method !== "GET")).toEqual([]);
    expect(
      w.slack.calls.filter(
        (call) => !/^(auth\.test|apps\.connections\.open|conversations\.history|usergroups\.)/.test(call.method),
      ),
    ).toEqual([]);
  });

  it("names every fault of a world in which much is broken at once", async () => {
    w.rights(HANDS, [...without("statefulsets"), surplus("list", "core", "secrets")]);
    w.control({ stop: "true", pauses: "[]" });
    const findings = above(
      await look({
        NIGHTSHIFT_SECRET: "short",
        REDIS_URL: "redis://127.0.0.1:1",
        SLACK_CHANNEL: "C0GONE",
        PAGERDUTY_ROUTING_KEY: "short",
        PROMETHEUS_URL: NOWHERE,
        ALERTMANAGER_URL: NOWHERE,
      }),
    );
    w.rights(HANDS, without());
    w.control({ stop: "false", pauses: "[]" });

    expect(findings.map((finding) => finding.check).toSorted()).toEqual(
      [
        "configuration",
        "Redis",
        `namespace ${MANAGED}`,
        "writer's rights",
        "control ConfigMap",
        "Slack channel",
        "PagerDuty",
        "Prometheus",
        "Alertmanager",
      ].toSorted(),
    );
    expect(exitOf(findings)).toBe(2);
  });

  it("shows no secret, in whatever message it comes", async () => {
    const broken = {
      NIGHTSHIFT_SECRET: "tiny-pw",
      REDIS_URL: "redis://user:redis-password@127.0.0.1:1",
      PROMETHEUS_URL: NOWHERE.replace("http://", "http://user:prometheus-password@"),
      ALERTMANAGER_URL: NOWHERE.replace("http://", "http://user:alertmanager-password@"),
      SLACK_API_URL: `${NOWHERE}/api/`,
      PAGERDUTY_EVENTS_URL: NOWHERE,
      PAGERDUTY_API_URL: NOWHERE,
      KUBECONFIG: w.file("k", w.kubernetes.kubeconfig("an-old-token")),
    };
    const text = JSON.stringify(await look(broken));

    for (const secret of [
      "-password",
      "an-old-token",
      "tiny-pw",
      "-of-this-world",
      w.env["PAGERDUTY_ROUTING_KEY"] ?? "",
    ])
      expect(text).not.toContain(secret);
  });

  it("ends although everything that it asks hangs", async () => {
    const held = w.kubernetes.faults.add({}, { do: "hold" });
    w.prometheus.fault = "hang";
    w.slack.fail({ method: "auth.test", times: 1, answer: "hang" });
    w.pager.fail("/", 2, "hang");
    process.kill(w.redis.pid, "SIGSTOP");
    try {
      const findings = above(await look());
      for (const check of ["Redis", "cluster", "Slack", "PagerDuty", "Prometheus"])
        expect(findings.some((finding) => finding.check.startsWith(check) && finding.level === "error")).toBe(true);
    } finally {
      await held.release();
      held.remove();
      w.prometheus.fault = "none";
      process.kill(w.redis.pid, "SIGCONT");
    }
  }, 90_000);

  it("ends with 0, 1 and 2 on the command line, as text and as JSON", async () => {
    const main = fileURLToPath(new URL("../../src/main.ts", import.meta.url));
    const run = (args: string[], env: Record<string, string> = {}) =>
      new Promise<{ code: number | null; out: string }>((done) => {
        const child = spawn(process.execPath, ["--import", "tsx", main, "doctor", ...args], {
          env: { PATH: process.env["PATH"] ?? "", ...w.env, ...env },
        });
        let out = "";
        child.stdout.on("data", (chunk: Buffer) => (out += chunk.toString()));
        child.once("exit", (code) => done({ code, out }));
      });
    const [well, warned, broken] = await Promise.all([
      run([]),
      run(["--json"], { PAGERDUTY_ROUTING_KEY: "f".repeat(32) }),
      run([], { PAGERDUTY_ROUTING_KEY: "short" }),
    ]);

    expect([well.code, warned.code, broken.code]).toEqual([0, 1, 2]);
    expect(well.out).toMatch(/checks, 0 errors, 0 warnings\n$/);
    expect(above((JSON.parse(warned.out) as { findings: Finding[] }).findings)).toMatchObject([{ level: "warning" }]);
    expect(broken.out).toMatch(/✗ PagerDuty: the routing key has 5 characters.*\n {4}→ copy the integration key again/);
  }, 60_000);
});
