/** A world in which `doctor` finds nothing, made of real servers where this machine has them, to be broken one thing at a time. */
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Redis } from "ioredis";
import { type Identity, type Rule } from "../../sandbox/kubernetes/access.js";
import { startKubernetes } from "../../sandbox/kubernetes/kubernetes.js";
import { serve } from "../../sandbox/http.js";
import { startPagerDuty } from "../../sandbox/pagerduty/index.js";
import { alertmanagerProgram, freePort, run } from "../../sandbox/processes.js";
import { startPrometheusStandIn } from "../../sandbox/prometheus/index.js";
import { startSlack } from "../../sandbox/slack/index.js";
import { startAlertmanager } from "../../sandbox/alertmanager/index.js";
import { startRedis } from "./processes.js";

export const MANAGED = "mcp-production";
export const OWN = "nightshift";
export const HANDS = "system:serviceaccount:nightshift:nightshift-hands";
export const READER = "system:serviceaccount:nightshift:nightshift";

const can = (verbs: string, groups: string, resources: string, namespaces?: string[]): Rule => ({
  verbs: verbs.split(" "),
  groups: groups.split(" ").map((group) => (group === "core" ? "" : group)),
  resources: resources.split(" "),
  ...(namespaces === undefined ? {} : { namespaces }),
});

export const readerRules: Rule[] = [
  can("get list watch", "core", "namespaces nodes pods pods/log events services configmaps"),
  can("get list watch", "apps", "deployments replicasets statefulsets daemonsets"),
  can("get list watch", "autoscaling", "horizontalpodautoscalers"),
];

/** What the writer needs, by name, so that a test can leave one out. */
export const handsRules: Record<string, Rule> = {
  leases: can("get list create update", "coordination.k8s.io", "leases", [OWN]),
  control: can("get create update", "core", "configmaps", [OWN]),
  reads: can(
    "get list",
    "core apps policy discovery.k8s.io",
    "pods deployments replicasets poddisruptionbudgets endpointslices",
    [MANAGED],
  ),
  configmaps: can("get", "core", "configmaps", [MANAGED]),
  deployments: can("patch", "apps", "deployments", [MANAGED]),
  statefulsets: can("patch", "apps", "statefulsets daemonsets", [MANAGED]),
  autoscalers: can("patch", "autoscaling", "horizontalpodautoscalers", [MANAGED]),
  evictions: can("create", "core", "pods/eviction", [MANAGED]),
};
export const without = (...names: string[]): Rule[] =>
  Object.entries(handsRules)
    .filter(([name]) => !names.includes(name))
    .map(([, rule]) => rule);
export const surplus = (verbs: string, groups: string, resources: string): Rule =>
  can(verbs, groups, resources, [MANAGED]);

export const policyText = (change: (text: string) => string = (text) => text) =>
  change(`apiVersion: nightshift.dev/v1
clusters: [{ name: c, namespaces: [${MANAGED}] }]
protected: [monitoring]
defaults: { autonomy: approve, approval: { from: ["slack-group:sre", "pagerduty:oncall"] } }
rules:
  - { name: bad-deploy, match: ['alertname="HighErrorRate"', 'severity="critical"'], runbook: rollback-deployment, target: { from: service, namespace: $labels.namespace, name: $labels.service } }
  - { name: slow, match: ['alertname="HighResponseTime"'], runbook: scale-deployment, target: { from: service, namespace: $labels.namespace, name: $labels.service } }
  - { name: memory, match: ['alertname="ResourceExhaustion"', 'resource="memory"'], runbook: restart-workload, target: { from: pod, namespace: $labels.namespace, name: $labels.pod } }
  - { name: pod-not-ready, match: ['alertname="KubePodNotReady"'], runbook: restart-pod, target: { from: pod, namespace: $labels.namespace, name: $labels.pod } }
  - { name: crash-loop, match: ['alertname="KubePodCrashLooping"'], runbook: diagnose-pods, target: { kind: Pod, namespace: $labels.namespace, name: $labels.pod } }
  - { name: watchdog, match: ['alertname="Watchdog"'], heartbeat: 5m }
`);

export const amConfig = (hook: string, route = "route: { receiver: nightshift }") => `${route}
receivers:
  - name: nobody
  - name: nightshift
    webhook_configs: [${hook}]
`;
export const goodHook = "{ url: 'http://127.0.0.1:9/webhooks/alertmanager', send_resolved: true, max_alerts: 0 }";

export type DoctorWorld = Awaited<ReturnType<typeof startDoctorWorld>>;

export async function startDoctorWorld() {
  const dir = mkdtempSync(join(tmpdir(), "doctor-"));
  const identities: Identity[] = [
    { token: "reader-token-of-this-world", user: READER, rules: readerRules },
    { token: "hands-token-of-this-world", user: HANDS, rules: without() },
  ];
  const kubernetes = await startKubernetes({ identities, namespaces: [MANAGED, OWN], tickMs: null });
  const control = (data: Record<string, string>) =>
    kubernetes.seed({
      apiVersion: "v1",
      kind: "ConfigMap",
      metadata: { name: "nightshift-control", namespace: OWN },
      data,
    });
  control({ stop: "false", pauses: "[]" });
  const redis = await startRedis();
  const admin = new Redis({ path: redis.url.slice("unix://".length) });
  const redisPort = await freePort();
  await admin.config("SET", "port", String(redisPort));
  const slack = await startSlack();
  const pager = await startPagerDuty();
  const prometheus = await startPrometheusStandIn(() => Date.now());
  prometheus.rules.push(
    { name: "HighErrorRate", query: "x > 1", labels: { severity: "critical" } },
    { name: "HighResponseTime", query: "x > 1" },
    { name: "ResourceExhaustion", query: "x > 1", labels: { resource: "memory" } },
    { name: "KubePodNotReady", query: "x > 1" },
    { name: "Watchdog", query: "vector(1)" },
  );
  const up = { share: [{ metric: {}, value: 1 }] as { metric: Record<string, string>; value: number }[] };
  prometheus.answer((expr) => (expr.startsWith("count(up") ? up.share : null));
  const alertmanager = await startAlertmanager({ webhook: "http://127.0.0.1:9/webhooks/alertmanager", token: "t" });
  const file = (name: string, text: string, mode = 0o600) => {
    writeFileSync(join(dir, name), text);
    chmodSync(join(dir, name), mode);
    return join(dir, name);
  };
  const env: Record<string, string> = {
    NIGHTSHIFT_POLICY: file("policy.yaml", policyText()),
    NIGHTSHIFT_SECRET: "the-sealing-secret-of-this-world",
    NIGHTSHIFT_WEBHOOK_TOKEN_FILE: file("token", "the-webhook-token-of-this-world\n"),
    NIGHTSHIFT_NAMESPACE: OWN,
    NIGHTSHIFT_DATA: dir,
    REDIS_URL: redis.url,
    KUBECONFIG: file("reader.yaml", kubernetes.kubeconfig("reader-token-of-this-world")),
    KUBECONFIG_HANDS: file("hands.yaml", kubernetes.kubeconfig("hands-token-of-this-world")),
    PROMETHEUS_URL: prometheus.url,
    ALERTMANAGER_URL: alertmanager.url,
    PAGERDUTY_ROUTING_KEY: "0123456789abcdef0123456789abcdef",
    PAGERDUTY_EVENTS_URL: pager.eventsUrl,
    PAGERDUTY_TOKEN: "rest-key-of-this-world",
    PAGERDUTY_API_URL: pager.apiUrl,
    SLACK_BOT_TOKEN: "xoxb-of-this-world",
    SLACK_APP_TOKEN: "xapp-of-this-world",
    SLACK_CHANNEL: "C0SRE",
    SLACK_API_URL: slack.apiUrl,
  };

  return {
    dir,
    env,
    file,
    kubernetes,
    control,
    redis,
    admin,
    redisPort,
    slack,
    pager,
    prometheus,
    up,
    /** Gives an identity these rights and no others. */
    rights(user: string, rules: readonly Rule[]) {
      kubernetes.revoke(user);
      kubernetes.grant(user, rules);
    },
    /** Slack answers every call of a method so, until it is told otherwise. */
    slackSays(method: string, body: Record<string, unknown>, headers: Record<string, string> = {}) {
      const fault = { method, times: Number.POSITIVE_INFINITY, answer: { status: 200, body, headers } };
      slack.fail(fault);
      return () => void (fault.times = 0);
    },
    async stop() {
      admin.disconnect();
      await Promise.allSettled([
        kubernetes.stop(),
        redis.stop(),
        slack.stop(),
        pager.stop(),
        prometheus.stop(),
        alertmanager.stop(),
      ]);
      rmSync(dir, { recursive: true, force: true });
    },
  };
}

/** A real Alertmanager with a configuration of one's own. */
export async function realAlertmanager(config: string, cluster = "") {
  const binary = alertmanagerProgram();
  if (binary === null) throw new Error("no Alertmanager on this machine");
  const dir = mkdtempSync(join(tmpdir(), "am-"));
  const port = await freePort();
  writeFileSync(join(dir, "am.yml"), config);
  const args = [
    `--config.file=${join(dir, "am.yml")}`,
    `--storage.path=${dir}`,
    `--web.listen-address=127.0.0.1:${port}`,
    `--cluster.listen-address=${cluster}`,
  ];
  return run(binary, args, { dir, url: `http://127.0.0.1:${port}`, ready: "/-/healthy" });
}

/** The API server behind a proxy whose clock is `ms` off. */
export async function skewedApi(world: DoctorWorld, ms: number) {
  return serve("skewed", async (request, response, body) => {
    const answer = await fetch(world.kubernetes.url + (request.url ?? ""), {
      method: request.method ?? "GET",
      headers: {
        authorization: String(request.headers.authorization),
        "content-type": String(request.headers["content-type"] ?? "application/json"),
      },
      ...(body === "" ? {} : { body }),
    });
    response.setHeader("date", new Date(Date.now() + ms).toUTCString());
    response.writeHead(answer.status, { "content-type": "application/json" });
    response.end(await answer.text());
  });
}

/** A stand-in for a Redis of an old version: no redis-server of that age is at hand. It knows INFO and TIME. */
export async function oldRedis(): Promise<{ url: string; stop(): Promise<void> }> {
  const info =
    "# Server\r\nredis_version:6.2.14\r\nmaxmemory:0\r\nmaxmemory_policy:noeviction\r\nrole:master\r\naof_enabled:1\r\n";
  const answer = (command: string): string => {
    if (command === "INFO") return `$${info.length}\r\n${info}\r\n`;
    if (command === "TIME") return `*2\r\n$10\r\n${Math.floor(Date.now() / 1000)}\r\n$1\r\n0\r\n`;
    return command === "HELLO" ? "-ERR unknown command 'HELLO'\r\n" : "+OK\r\n";
  };
  const server: Server = createServer((socket) => {
    socket.on("error", () => undefined);
    socket.on("data", (chunk) => {
      for (const [, command = ""] of chunk.toString().matchAll(/\*\d+\r\n\$\d+\r\n([A-Za-z]+)\r\n/g))
        socket.write(answer(command.toUpperCase()));
    });
  });
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  const { port } = server.address() as { port: number };
  return {
    url: `redis://127.0.0.1:${port}`,
    stop: () => new Promise<void>((done) => server.close(() => done())),
  };
}
