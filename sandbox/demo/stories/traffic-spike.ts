/** More than twice the traffic: the autoscaler is at its ceiling, the ceiling is raised, the new pods serve, proved. */
import { headlineWithLog } from "../../../src/notify/headline.js";
import { startAutoscaler } from "../autoscaler.js";
import { SERVICES, seedDeployment } from "../platform.js";
import { NAME } from "../release.js";
import { policyText } from "../policy.js";
import type { Stage } from "../stage.js";
import type { Story } from "../story.js";

const SERVICE = `${NAME}-service`;
const HPA = `${NAME}-hpa`;
/** CPU that a pod requests, and that all of the traffic needs, in cores. */
const REQUEST = 0.25;
const CALM = 0.45;
const SPIKE = 1.05;
/** The guide's target: 70 % of what pods request. */
const TARGET = 0.7;

export const story: Story = {
  name: "traffic-spike",
  says: "more than twice the traffic: the autoscaler's ceiling is raised, new pods serve, nobody was woken",
  title: "a traffic spike",

  async tell(stage) {
    const { ground, say, expect, pager, slack, prometheus } = stage;
    const { kubernetes, behave, grant } = stage.sandbox();
    let load = CALM;
    behave(() => ({ kind: "ready", readyAfterMs: 1200, logs: ["listening on 3000"] }));
    for (const service of SERVICES)
      seedDeployment(kubernetes, {
        ...service,
        ...(service.name === NAME ? { annotations: { "nightshift.dev/database-connections": "10" } } : {}),
      });
    const metric = (name: string, averageUtilization: number) => ({
      type: "Resource",
      resource: { name, target: { type: "Utilization", averageUtilization } },
    });
    kubernetes.seed({
      apiVersion: "autoscaling/v2",
      kind: "HorizontalPodAutoscaler",
      metadata: { name: HPA, namespace: ground.namespace },
      spec: {
        scaleTargetRef: { apiVersion: "apps/v1", kind: "Deployment", name: NAME },
        minReplicas: 3,
        maxReplicas: 4,
        metrics: [metric("cpu", TARGET * 100), metric("memory", 80)],
      },
    });
    const available = async () => Number((await ground.get("Deployment", NAME))?.status?.availableReplicas ?? 0);
    const busy = () => load / (Math.max(1, serving(stage)) * REQUEST);
    // Up to 80 % it answers in 400 ms; past that, requests queue.
    const p95 = () => 0.4 + Math.max(0, busy() - 0.8) * 8;
    prometheus.rules.push({
      name: "HighResponseTime",
      query:
        "histogram_quantile(0.95, sum by (le, namespace, service) (rate(http_request_duration_seconds_bucket[5m]))) > 2",
      labels: { severity: "warning" },
    });
    prometheus.answer((expr) => {
      const value = measured(expr, { busy, p95, load: () => load, pods: () => serving(stage) });
      return value === null ? null : [{ metric: { namespace: ground.namespace, service: SERVICE }, value }];
    });
    await stage.until("the platform to run", async () => (await available()) === 3, 15_000);
    const stopAutoscaler = startAutoscaler(kubernetes, {
      namespace: ground.namespace,
      name: HPA,
      wanted: () => Math.ceil(load / (REQUEST * TARGET) - 1e-9),
    });
    try {
      await grant("a");
      await stage.startNightshift({
        policy: policyText(ground, {
          rules: `  - name: slow
    match: ['alertname="HighResponseTime"']
    runbook: scale-deployment
    params: { add: 2, max: 12 }
    autonomy: auto
    target: { from: service, namespace: $labels.namespace, name: $labels.service }`,
        }),
        memory: "traffic-spike",
      });
      say(
        "world",
        `${NAME} runs 3 pods; its autoscaler ${HPA} (a stand-in that follows the load) may have 3 to 4. The rule says autonomy: auto: adding pods can be taken back.`,
      );
      load = SPIKE;
      say(
        "spike",
        `Traffic goes up: ${Math.round(busy() * 100)} % of the CPU that the pods request, P95 ${p95().toFixed(1)} s.`,
      );
      await stage.until("the autoscaler to reach its ceiling", async () => (await available()) === 4, 15_000);
      say(
        "ceiling",
        `The autoscaler does what it may: 4 of 4 pods. Still ${Math.round(busy() * 100)} % busy, P95 ${p95().toFixed(1)} s.`,
      );
      const alerts = [
        {
          labels: {
            alertname: "HighResponseTime",
            cluster: ground.cluster,
            namespace: ground.namespace,
            service: SERVICE,
            severity: "warning",
          },
          annotations: { summary: `${SERVICE}: P95 response time above 2 s` },
        },
      ];
      await stage.fire(alerts);
      say("alerts", "HighResponseTime fires: a warning.");
      const planned = await stage.incident("a plan", (r) => r.plan !== null || r.state === "held");
      for (const line of headlineWithLog(planned.diagnosis)) say("diagnosis", `  ${line}`);
      say("planned", `${planned.plan?.sentence ?? planned.says}: approved by the policy, every guard says yes.`);
      for (const line of planned.plan?.evidence ?? []) say("evidence", `  ${line}`);
      await stage.until("the write", async () => (await stage.effects()).length > 0, 20_000);
      say("raised", "The ceiling is raised, by one write; the Deployment's replicas are the autoscaler's to set.");
      await stage.until("the new pods", async () => (await available()) === 6, 20_000);
      await stage.until("the new pods to serve", async () => serving(stage) === 6, 10_000);
      say(
        "serving",
        `6 pods stand ready in the EndpointSlices of ${SERVICE}: ${Math.round(busy() * 100)} % busy, P95 ${p95().toFixed(1)} s.`,
      );
      await stage.resolve(alerts);
      say("resolved", "The alert resolves. Nightshift goes on looking: samples of its own decide.");
      const done = await stage.incident("the end", (r) => r.state === "remediated" || r.state === "held");
      expect(`the incident remediated (it is ${done.state}: ${done.says})`, done.state === "remediated");
      say("verified", `Verified: ${done.says}`);
      await stage.until(
        "the message to say so",
        async () => stage.messageOf(done)?.text.startsWith("Remediated"),
        10_000,
      );
      stage.shown(done);

      const effects = await stage.effects();
      const onAutoscaler = effects.filter((e) => e.kind === "HorizontalPodAutoscaler" && e.name === HPA).length;
      const hpa = await ground.get("HorizontalPodAutoscaler", HPA);
      expect(
        `one write, of the autoscaler's bounds (found ${effects.map((e) => `${e.verb} ${e.kind}`).join(", ") || "none"})`,
        effects.length === 1 && onAutoscaler === 1,
      );
      expect(`the ceiling is 6 (found ${hpa?.spec.maxReplicas})`, hpa?.spec.maxReplicas === 6);
      expect(`6 pods serve (found ${serving(stage)})`, serving(stage) === 6);
      expect("nobody was woken", pager.alerts.length === 0);
      expect("no call broke a vendor's rule", slack.violations.length + pager.violations.length === 0);
      say(
        "summary",
        `alerts: 1 · outcome: ${done.state} · pods: 3 → ${serving(stage)} · pages: ${pager.alerts.length} · effects: ${effects.length}, on the autoscaler`,
        {
          alerts: alerts.length,
          outcome: done.state,
          pods: serving(stage),
          pages: pager.alerts.length,
          effects: effects.length,
          on: effects[0]?.kind ?? null,
        },
      );
    } finally {
      stopAutoscaler();
    }
  },
};

/** Pods that stand ready in the Service's EndpointSlices. */
function serving(stage: Stage): number {
  const { kubernetes } = stage.sandbox();
  return kubernetes
    .list("EndpointSlice", stage.ground.namespace)
    .filter((slice) => slice.metadata.labels?.["kubernetes.io/service-name"] === SERVICE)
    .flatMap((slice) => slice.endpoints as { conditions: { ready: boolean } }[])
    .filter((endpoint) => endpoint.conditions.ready).length;
}

/** What the series of the platform would say; null for one that this world does not have. */
function measured(expr: string, of: { busy(): number; p95(): number; load(): number; pods(): number }): number | null {
  const before = / offset /.test(expr);
  if (!expr.includes(SERVICE) && /service=/.test(expr)) return null;
  if (expr.includes("histogram_quantile")) return before ? 0.4 : of.p95();
  if (expr.includes('status=~"5.."')) return 0;
  if (expr.includes("http_requests_total")) return (before ? CALM : of.load()) * 400;
  if (expr.includes("container_cpu_usage_seconds_total")) return of.busy();
  if (expr.includes("container_memory_working_set_bytes")) return 0.41;
  if (expr.includes("pg_settings_max_connections")) return 200;
  if (expr.includes("pg_stat_activity_count")) return 22 + of.pods() * 8;
  if (expr.includes("pg_up") || expr.includes("redis_up")) return 1;
  return null;
}
