/** A world for end-to-end tests: a cluster, real Redis and Alertmanager, stand-ins for Slack, PagerDuty and Prometheus. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type PagerDutyStandIn, startPagerDuty } from "../../sandbox/pagerduty/index.js";
import { type PrometheusStandIn, startPrometheusStandIn } from "../../sandbox/prometheus/index.js";
import { type SlackStandIn, startSlack } from "../../sandbox/slack/index.js";
import { type App, type AppOptions, startApp } from "../../src/app.js";
import { createKubernetes, type KubernetesClient } from "../../src/clients/kubernetes.js";
import { systemClock } from "../../src/clock.js";
import { readConfig } from "../../src/config.js";
import { createLog, silentLog } from "../../src/log.js";
import type { IncidentRecord } from "../../src/record/incident.js";
import { freePort, startRedis, until } from "./processes.js";
import { type Alertmanager, startAlertmanager } from "../../sandbox/alertmanager/index.js";

export const OWN = "nightshift";
export const TOKEN = "world-token";

export interface WorldOptions {
  kubeconfig: string;
  policy: string;
  slackMode?: "socket" | "http" | "none";
  app?: AppOptions;
  env?: Record<string, string>;
  /** Front and hands as two apps with the kubeconfigs of two identities, as a cluster runs them. */
  apart?: { front: string; hands: string };
  namespace?: string;
}

export type World = Awaited<ReturnType<typeof startWorld>>;

export async function startWorld(options: WorldOptions) {
  const dir = mkdtempSync(join(tmpdir(), "nightshift-world-"));
  const port = await freePort();
  const redis = await startRedis();
  const pager: PagerDutyStandIn = await startPagerDuty();
  const slack: SlackStandIn = await startSlack();
  const prometheus: PrometheusStandIn = await startPrometheusStandIn(() => Date.now());
  const alertmanager: Alertmanager = await startAlertmanager({
    webhook: `http://127.0.0.1:${port}/webhooks/alertmanager`,
    token: TOKEN,
  });
  const k: KubernetesClient = await createKubernetes({
    kubeconfig: options.kubeconfig,
    clock: systemClock,
    fieldManager: "kubectl-test",
  });
  const own = options.namespace ?? OWN;
  await k.create({ apiVersion: "v1", kind: "Namespace", metadata: { name: own } }).catch(() => undefined);
  writeFileSync(join(dir, "policy.yaml"), options.policy);
  const mode = options.slackMode ?? "socket";
  const env: Record<string, string> = {
    NIGHTSHIFT_POLICY: join(dir, "policy.yaml"),
    NIGHTSHIFT_HOST: "127.0.0.1",
    NIGHTSHIFT_PORT: String(port),
    NIGHTSHIFT_SECRET: "the-secret-of-this-test-world",
    NIGHTSHIFT_WEBHOOK_TOKEN: TOKEN,
    NIGHTSHIFT_NAMESPACE: own,
    NIGHTSHIFT_DATA: dir,
    REDIS_URL: redis.url,
    KUBECONFIG: options.kubeconfig,
    PROMETHEUS_URL: prometheus.url,
    ALERTMANAGER_URL: alertmanager.url,
    PAGERDUTY_ROUTING_KEY: "0123456789abcdef0123456789abcdef",
    PAGERDUTY_EVENTS_URL: pager.eventsUrl,
    ...(mode === "none" ? {} : { SLACK_BOT_TOKEN: "xoxb-test", SLACK_CHANNEL: "C0SRE", SLACK_API_URL: slack.apiUrl }),
    ...(mode === "socket" ? { SLACK_APP_TOKEN: "xapp-test" } : {}),
    ...(mode === "http" ? { SLACK_SIGNING_SECRET: "sandbox-signing-secret" } : {}),
    ...options.env,
  };
  const log = process.env["E2E_LOG"] ? createLog("debug") : silentLog;
  const serve = (more: Record<string, string>): Promise<App> =>
    startApp(readConfig({ ...env, ...more }, true), { log, sweepMs: 1000, ...options.app });
  async function start(): Promise<App> {
    const { apart } = options;
    if (apart === undefined) return serve({});
    // The hands make the control ConfigMap that the front's readiness asks for.
    const hands = await serve({ NIGHTSHIFT_ROLE: "hands", KUBECONFIG: apart.hands, NIGHTSHIFT_PORT: "0" });
    const front = await serve({ NIGHTSHIFT_ROLE: "front", KUBECONFIG: apart.front });
    return { url: front.url, stop: async () => void (await Promise.all([front.stop(), hands.stop()])) };
  }
  let app = await start();
  if (mode === "socket") await until("Slack to be connected", async () => slack.connected() > 0, 10_000);

  return {
    k,
    env,
    port,
    redis,
    pager,
    slack,
    prometheus,
    alertmanager,
    get app() {
      return app;
    },
    /** `between`: what happens while no process runs. */
    async restart(between: () => Promise<unknown> = async () => undefined) {
      await app.stop();
      await between();
      app = await start();
    },
    async stop() {
      await app.stop();
      await Promise.allSettled([
        alertmanager.stop(),
        redis.stop(),
        pager.stop(),
        slack.stop(),
        prometheus.stop(),
        k.close(),
      ]);
      rmSync(dir, { recursive: true, force: true });
    },
    /** Fires an alert at the real Alertmanager; it goes on until it is resolved. */
    async fire(labels: Record<string, string>, startsAt = new Date().toISOString()): Promise<void> {
      await postAlert(alertmanager.url, { labels, startsAt, endsAt: new Date(Date.now() + 3600_000).toISOString() });
    },
    async resolve(labels: Record<string, string>): Promise<void> {
      await postAlert(alertmanager.url, { labels, endsAt: new Date().toISOString() });
    },
    async incidents(): Promise<IncidentRecord[]> {
      const answer = await fetch(`http://127.0.0.1:${port}/api/v1/incidents?limit=1000`);
      return ((await answer.json()) as { incidents: IncidentRecord[] }).incidents;
    },
    async incident(what: string, test: (record: IncidentRecord) => boolean, ms = 60_000): Promise<IncidentRecord> {
      return this.until(what, async () => (await this.incidents()).find(test), ms);
    },
    /** Waits, and says what every incident says where it never comes. */
    async until<T>(what: string, probe: () => Promise<T | null | undefined | false>, ms = 60_000): Promise<T> {
      return until(what, probe, ms).catch(async (error: unknown) => {
        const told = (await this.incidents()).map(({ id, state, reason, says, timeline }) => ({
          id,
          state,
          reason,
          says,
          timeline: timeline.map((line) => line.says),
        }));
        throw new Error(`${(error as Error).message}; incidents: ${JSON.stringify(told, null, 1)}`);
      });
    },
  };
}

async function postAlert(url: string, alert: Record<string, unknown>): Promise<void> {
  const answer = await fetch(`${url}/api/v2/alerts`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify([alert]),
  });
  if (!answer.ok) throw new Error(`Alertmanager refused the alert: ${answer.status} ${await answer.text()}`);
}

/** A Deployment of two pods whose image tag decides whether it runs; a Service and a ConfigMap beside it. */
export async function deploy(k: KubernetesClient, of: { namespace: string; name: string; tag: string }): Promise<void> {
  const ref = { apiVersion: "apps/v1", kind: "Deployment", namespace: of.namespace, name: of.name };
  const labels = { app: of.name };
  const template = {
    metadata: { labels },
    spec: {
      containers: [
        {
          name: "main",
          image: `registry.example/${of.name}:${of.tag}`,
          env: [{ name: "RELEASE", value: of.tag }],
          envFrom: [{ configMapRef: { name: `${of.name}-config` } }],
        },
      ],
    },
  };
  if ((await k.get(ref)) !== null) {
    await k.jsonPatch(ref, [{ op: "replace", path: "/spec/template", value: template }]);
    return;
  }
  await k.create({ apiVersion: "v1", kind: "Namespace", metadata: { name: of.namespace } }).catch(() => undefined);
  await k.create({
    apiVersion: "v1",
    kind: "ConfigMap",
    metadata: { name: `${of.name}-config`, namespace: of.namespace },
    data: { LEVEL: "info" },
  });
  await k.create({
    apiVersion: "v1",
    kind: "Service",
    metadata: { name: `${of.name}-service`, namespace: of.namespace },
    spec: { selector: labels, ports: [{ port: 80 }] },
  });
  await k.create({
    apiVersion: "apps/v1",
    kind: "Deployment",
    metadata: { name: of.name, namespace: of.namespace },
    spec: { replicas: 2, progressDeadlineSeconds: 600, selector: { matchLabels: labels }, template },
  });
}

/** Good release, then a bad one; settles with the bad pods crashing. */
export async function badRelease(k: KubernetesClient, of: { namespace: string; name: string }): Promise<void> {
  const ref = { apiVersion: "apps/v1", kind: "Deployment", ...of };
  await deploy(k, { ...of, tag: "good" });
  await until("the good release", async () => (await k.get(ref))?.status?.availableReplicas === 2);
  // Creation times have whole seconds: the bad release must be younger by one.
  await new Promise((done) => setTimeout(done, 1100));
  await deploy(k, { ...of, tag: "crash" });
  await until("the bad release", async () => ((await k.get(ref))?.status?.unavailableReplicas ?? 0) > 0);
}

export function testPolicy(namespaces: string[], rule: string): string {
  return `apiVersion: nightshift.dev/v1
clusters: [{ name: test, namespaces: [${namespaces.join(", ")}] }]
guards:
  rollback: { health: 0s }
  change: { deployAge: 0s, humanWrite: 0s }
  budget: { target: 100/1h, targetDay: 100/24h, namespace: 100/1h, cluster: 100/1h, atOnce: 100 }
  storm: { workloads: 100 }
verify: { samples: 2, every: 1s, bake: 0s }
rules:
  - name: bad-deploy
    match: ['alertname="HighErrorRate"']
    runbook: rollback-deployment
    target: { from: service, namespace: $labels.namespace, name: $labels.service }
${rule}
`;
}

/** Teaches the stand-in a HighErrorRate rule whose value follows `share`. */
export function errorRate(
  prometheus: PrometheusStandIn,
  share: (labels: { namespace: string; service: string }) => number,
  targets: { namespace: string; service: string }[],
): void {
  prometheus.rules.push({
    name: "HighErrorRate",
    query: "sum by (namespace, service) (errors:rate1m) / sum by (namespace, service) (requests:rate1m) > 0.05",
  });
  prometheus.answer((expr) =>
    expr.includes("errors:rate1m") ? targets.map((labels) => ({ metric: labels, value: share(labels) })) : null,
  );
}
