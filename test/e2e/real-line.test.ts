import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type App, startApp } from "../../src/app.js";
import { createKubernetes, type KubernetesClient } from "../../src/clients/kubernetes.js";
import { systemClock } from "../../src/clock.js";
import { readConfig } from "../../src/config.js";
import { silentLog } from "../../src/log.js";
import { type Alertmanager, startAlertmanager } from "../../sandbox/alertmanager/index.js";
import { startPager, type PagerStub } from "../harness/pagerduty.js";
import { planeMissing, type Plane, startPlane } from "../cluster/plane.js";
import {
  alertmanagerProgram,
  freePort,
  prometheusProgram,
  type Running,
  startPrometheus,
  startRedis,
  until,
} from "../harness/processes.js";

const missing =
  planeMissing() ??
  (alertmanagerProgram() === null
    ? "no Alertmanager on this machine"
    : prometheusProgram() === null
      ? "no Prometheus on this machine"
      : null);

const NAMESPACE = "mcp-production";
const DEPLOYMENT = { apiVersion: "apps/v1", kind: "Deployment", namespace: NAMESPACE, name: "mcp-typescript-api" };

const RULES = `groups:
  - name: platform
    rules:
      - alert: HighErrorRate
        expr: sum by (namespace, service) (rate(http_requests_total{code="500"}[5s])) / sum by (namespace, service) (rate(http_requests_total[5s])) > 0.05
              and on (namespace, service) sum by (namespace, service) (rate(http_requests_total[5s])) > 1
        labels: { severity: critical }
        annotations: { summary: "requests fail" }
`;

function policy(autonomy: string): string {
  return `apiVersion: nightshift.dev/v1
clusters: [{ name: test, namespaces: [${NAMESPACE}] }]
guards: { rollback: { health: 0s }, change: { deployAge: 0s, humanWrite: 0s } }
verify: { samples: 2, every: 1s, bake: 0s }
rules:
  - name: bad-deploy
    match: ['alertname="HighErrorRate"']
    runbook: rollback-deployment
    autonomy: ${autonomy}
    target: { from: service, namespace: $labels.namespace, name: $labels.service }
`;
}

describe.skipIf(missing !== null)(
  `the main line on real parts${missing === null ? "" : ` (not run: ${missing})`}`,
  () => {
    let plane: Plane;
    let k: KubernetesClient;
    let redis: Awaited<ReturnType<typeof startRedis>>;
    let pager: PagerStub;
    let am: Alertmanager;
    let prom: Running;
    let exporter: Server;
    let app: App;
    const dir = mkdtempSync(join(tmpdir(), "nightshift-e2e-"));

    /** The share of failing requests follows what runs in the cluster: nothing of ours lies in between. */
    const counters = { ok: 0, failed: 0 };

    beforeAll(async () => {
      plane = await startPlane();
      k = await createKubernetes({ kubeconfig: plane.kubeconfig, clock: systemClock, fieldManager: "kubectl-test" });
      for (const name of [NAMESPACE, "nightshift"])
        await k.create({ apiVersion: "v1", kind: "Namespace", metadata: { name } });
      await deploy("good");
      await until("the first release", async () => (await k.get(DEPLOYMENT))?.status?.availableReplicas === 2);

      exporter = createServer((_request, response) => {
        void k.get(DEPLOYMENT).then((live) => {
          const bad = String(live?.spec?.template?.spec?.containers?.[0]?.image).endsWith(":crash");
          counters.ok += bad ? 50 : 100;
          counters.failed += bad ? 50 : 0;
          const labels = `namespace="${NAMESPACE}",service="${DEPLOYMENT.name}"`;
          response.end(
            `http_requests_total{${labels},code="200"} ${counters.ok}\nhttp_requests_total{${labels},code="500"} ${counters.failed}\n`,
          );
        });
      });
      await new Promise<void>((done) => exporter.listen(0, "127.0.0.1", () => done()));
      const scrape = `http://127.0.0.1:${(exporter.address() as { port: number }).port}`;
      const port = await freePort();
      redis = await startRedis();
      pager = await startPager();
      am = await startAlertmanager({ webhook: `http://127.0.0.1:${port}/webhooks/alertmanager`, token: "e2e-token" });
      prom = await startPrometheus({
        rules: RULES,
        scrape,
        alertmanager: am.url,
      });
      writeFileSync(join(dir, "policy.yaml"), policy("auto"));
      const config = readConfig(
        {
          NIGHTSHIFT_POLICY: join(dir, "policy.yaml"),
          NIGHTSHIFT_HOST: "127.0.0.1",
          NIGHTSHIFT_PORT: String(port),
          NIGHTSHIFT_SECRET: "a-secret-of-the-end-to-end-test",
          NIGHTSHIFT_WEBHOOK_TOKEN: "e2e-token",
          NIGHTSHIFT_NAMESPACE: "nightshift",
          NIGHTSHIFT_DATA: dir,
          REDIS_URL: redis.url,
          KUBECONFIG: plane.kubeconfig,
          PROMETHEUS_URL: prom.url,
          ALERTMANAGER_URL: am.url,
          PAGERDUTY_ROUTING_KEY: "0123456789abcdef0123456789abcdef",
          PAGERDUTY_EVENTS_URL: pager.url,
        },
        true,
      );
      app = await startApp(config, {
        log: process.env["E2E_LOG"] ? (await import("../../src/log.js")).createLog("debug") : silentLog,
        sweepMs: 2000,
      });
    }, 120_000);

    afterAll(async () => {
      await app?.stop();
      await Promise.allSettled([am?.stop(), prom?.stop(), redis?.stop(), pager?.stop()]);
      exporter?.close();
      await k?.close();
      await plane?.stop();
      rmSync(dir, { recursive: true, force: true });
    }, 60_000);

    async function deploy(tag: string): Promise<void> {
      const template = {
        metadata: { labels: { app: "api" } },
        spec: {
          containers: [{ name: "api", image: `registry.example/api:${tag}`, env: [{ name: "RELEASE", value: tag }] }],
        },
      };
      const live = await k.get(DEPLOYMENT);
      if (live === null) {
        const spec = { replicas: 2, progressDeadlineSeconds: 60, selector: { matchLabels: { app: "api" } }, template };
        await k.create({
          apiVersion: "apps/v1",
          kind: "Deployment",
          metadata: { name: DEPLOYMENT.name, namespace: NAMESPACE },
          spec,
        });
      } else await k.jsonPatch(DEPLOYMENT, [{ op: "replace", path: "/spec/template", value: template }]);
    }

    const incidents = async () =>
      ((await (await fetch(`${app.url}/api/v1/incidents`)).json()) as { incidents: Record<string, never>[] })
        .incidents as unknown as {
        id: string;
        state: string;
        reason: string | null;
        says: string;
        timeline: { says: string }[];
      }[];

    it("rolls a bad release back from a metric crossing its threshold to a resolved alert, with one write of the template (I1)", async () => {
      const before = (await k.get(DEPLOYMENT))?.spec.template;

      await deploy("crash");
      const done = await until(
        "the incident to end",
        async () => (await incidents()).find((i) => ["remediated", "held", "suppressed"].includes(i.state)),
        120_000,
      );

      expect(done, JSON.stringify(done, null, 1)).toMatchObject({ state: "remediated" });
      const live = await k.get(DEPLOYMENT);
      expect(live?.spec.template).toEqual(before);
      await until(
        "the alert to resolve",
        async () => ((await (await fetch(`${am.url}/api/v2/alerts`)).json()) as unknown[]).length === 0,
      );
      const writes = plane
        .auditLog()
        .filter(
          (line) =>
            line.objectRef?.resource === "deployments" &&
            line.verb === "patch" &&
            line.responseStatus?.code === 200 &&
            line.userAgent === "nightshift" &&
            !line.requestURI.includes("dryRun"),
        );
      const templates = writes.filter((line) => JSON.stringify(line.requestObject).includes("/spec/template"));
      if (plane.auditLog().length > 0) expect(templates).toHaveLength(1);
    }, 180_000);
  },
);
