/** Everything around Nightshift in one seed: cluster, Alertmanagers, Prometheus, Slack and PagerDuty, and what they saw. */
import { createHash } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { type PagerDutyStandIn, startPagerDuty } from "../../../sandbox/pagerduty/index.js";
import { startPrometheusStandIn } from "../../../sandbox/prometheus/index.js";
import { type SlackStandIn, startSlack } from "../../../sandbox/slack/index.js";
import type { SeenRequest } from "../../../sandbox/kubernetes/world.js";
import type { Plane } from "../../cluster/plane.js";
import { rawApi, type RawApi } from "../../harness/raw-api.js";
import type { HistoryEvent } from "../checker/history.js";
import type { Step } from "../story/nemeses.js";
import type { Story, Subject } from "../story/story.js";
import { type AlertmanagerStandIn, type FiringAlert, startStandInAlertmanager } from "./alertmanagers.js";
import { ACCOUNT, APPS, type LaneCluster, onPlane, OWN, standIn } from "./cluster.js";
import { requestEvent, worthKeeping } from "./recorder.js";
import { scratch } from "./scratch.js";
import { isSick, type Workload } from "./workloads.js";

const TOKEN = "chaos-token";
/** In a label and an annotation of every alert: must come out nowhere but as quoted text. */
export const HOSTILE = "$(touch /tmp/pwned)";
const MENTION = "<!channel>";

const ALERTS: Record<Step, string> = {
  "roll-back": "HighErrorRate",
  restart: "HighLatency",
  scale: "Saturated",
  evict: "PodSick",
};

/** A subject with its workload and its alert as each Alertmanager has it. */
export interface Played {
  subject: Subject;
  workload: Workload;
  alert: { a: FiringAlert; b: FiringAlert };
}

export interface ChaosWorld {
  cluster: LaneCluster;
  human: RawApi;
  pager: PagerDutyStandIn;
  slack: SlackStandIn;
  alertmanagers: { a: AlertmanagerStandIn; b: AlertmanagerStandIn };
  /** Environment of the front and of the hands. */
  env: { front: Record<string, string>; hands: Record<string, string> };
  url: string;
  events: HistoryEvent[];
  note(event: HistoryEvent): void;
  played: Played[];
  stop(): Promise<void>;
}

export async function startChaosWorld(
  story: Story,
  of: { redisUrl: string; port: number; plane: Plane | null },
): Promise<ChaosWorld> {
  const { dir, remove } = scratch("chaos-world-");
  const url = `http://127.0.0.1:${of.port}`;
  const events: HistoryEvent[] = [];
  const note = (event: HistoryEvent) => {
    if (worthKeeping(event)) events.push(event);
  };
  const observe = (seen: SeenRequest) => note(requestEvent(seen, (user) => user.startsWith(ACCOUNT)));
  const clustered = { seed: story.seed, observe };
  const cluster = of.plane === null ? await standIn(clustered) : await onPlane(of.plane, clustered);
  for (const name of ["admin", "front", "hands"])
    writeFileSync(join(dir, name), cluster.kubeconfig(name === "admin" ? undefined : name));
  const human = rawApi(join(dir, "admin"));
  const pager = await startPagerDuty();
  const slack = await startSlack();
  const prometheus = await startPrometheusStandIn(() => Date.now());
  const webhook = { webhook: `${url}/webhooks/alertmanager`, token: TOKEN, note };
  const a = await startStandInAlertmanager({ name: "a", ...webhook });
  const b = await startStandInAlertmanager({ name: "b", ...webhook });
  const subjects = [...story.subjects, ...(story.extra === null ? [] : [story.extra.subject])];
  const workloads = await Promise.all(subjects.map(({ name, step }) => cluster.build({ namespace: APPS, name, step })));
  const expr = "sum by (namespace, service) (errors:rate1m) / sum by (namespace, service) (requests:rate1m)";
  for (const name of Object.values(ALERTS)) prometheus.rules.push({ name, query: `${expr} > 0.05` });
  prometheus.answer((query) =>
    query.includes("errors:rate1m")
      ? workloads.map((one) => ({
          metric: { namespace: APPS, service: one.name },
          value: isSick(cluster, one) ? 0.4 : 0,
        }))
      : null,
  );
  writeFileSync(join(dir, "policy.yaml"), policy(budgetOf(story).effects, cluster.health));
  const env = {
    NIGHTSHIFT_POLICY: join(dir, "policy.yaml"),
    NIGHTSHIFT_HOST: "127.0.0.1",
    NIGHTSHIFT_SECRET: "the-secret-of-this-chaos-world",
    NIGHTSHIFT_WEBHOOK_TOKEN: TOKEN,
    NIGHTSHIFT_NAMESPACE: OWN,
    NIGHTSHIFT_DATA: dir,
    NIGHTSHIFT_REDIS_PREFIX: `{seed-${story.seed}}`,
    REDIS_URL: of.redisUrl,
    PROMETHEUS_URL: prometheus.url,
    ALERTMANAGER_URL: `${a.url},${b.url}`,
    PAGERDUTY_ROUTING_KEY: "0123456789abcdef0123456789abcdef",
    PAGERDUTY_EVENTS_URL: pager.eventsUrl,
    SLACK_BOT_TOKEN: "xoxb-chaos",
    SLACK_CHANNEL: "C0SRE",
    SLACK_API_URL: slack.apiUrl,
    SLACK_SIGNING_SECRET: "sandbox-signing-secret",
  };
  return {
    cluster,
    human,
    pager,
    slack,
    alertmanagers: { a, b },
    env: {
      front: { ...env, NIGHTSHIFT_ROLE: "front", NIGHTSHIFT_PORT: String(of.port), KUBECONFIG: join(dir, "front") },
      hands: { ...env, NIGHTSHIFT_ROLE: "hands", NIGHTSHIFT_PORT: "0", KUBECONFIG: join(dir, "hands") },
    },
    url,
    events,
    note,
    played: subjects.map((subject, index) => {
      const workload = workloads[index] as Workload;
      return { subject, workload, alert: alertsOf(subject, workload) };
    }),
    async stop() {
      await Promise.allSettled([a.stop(), b.stop(), human.close(), slack.stop(), pager.stop(), prometheus.stop()]);
      await cluster.stop();
      remove();
    },
  };
}

/** Fires now, with a startsAt as fine as Alertmanager's own. */
function alertsOf(subject: Subject, workload: Workload): Played["alert"] {
  const labels = {
    alertname: ALERTS[subject.step],
    namespace: APPS,
    service: subject.name,
    severity: "critical",
    tier: subject.autonomy,
    origin: HOSTILE,
    ...(subject.step === "evict" ? { pod: workload.pod.name } : {}),
  };
  const fingerprint = createHash("sha256").update(JSON.stringify(labels)).digest("hex").slice(0, 16);
  const annotations = { summary: `${MENTION} ${HOSTILE} {{ .Labels.service }} is sick` };
  const now = Date.now();
  const at = (ms: number) => new Date(now + ms).toISOString().replace("Z", "456789Z");
  return {
    a: { fingerprint, startsAt: at(0), labels, annotations },
    b: { fingerprint, startsAt: at(subject.disagreeMs), labels, annotations },
  };
}

/** What may be done in an hour: enough for everything, or for those alone who come first. */
export function budgetOf(story: Story): { effects: number; withinMs: number } {
  return { effects: story.extra?.what === "over-budget" ? story.subjects.length : 100, withinMs: 3600_000 };
}

function policy(perHour: number, health: string): string {
  const rules = Object.entries(ALERTS).flatMap(([step, alert]) =>
    // An eviction is never without a person's yes.
    (step === "evict" ? ["approve"] : ["auto", "approve"]).map((tier) => {
      const target =
        step === "evict"
          ? "{ from: pod, namespace: $labels.namespace, name: $labels.pod }"
          : "{ from: service, namespace: $labels.namespace, name: $labels.service }";
      return `  - name: ${step}-${tier}
    match: ['alertname="${alert}"', 'tier="${tier}"']
    runbook: ${RUNBOOKS[step as Step]}
    target: ${target}
    autonomy: ${tier}
`;
    }),
  );
  return `apiVersion: nightshift.dev/v1
clusters: [{ name: test, namespaces: [${APPS}] }]
defaults:
  approval: { from: ['slack-group:sre'], count: 1, expires: 45s }
guards:
  rollback: { health: ${health} }
  change: { deployAge: 0s, humanWrite: 0s }
  attempts: { flaps: 100/30m }
  budget: { target: 100/1h, targetDay: 100/24h, namespace: 100/1h, cluster: ${perHour}/1h, atOnce: 100 }
  storm: { workloads: 100 }
verify: { samples: 2, every: 1s, bake: 0s }
rules:
${rules.join("")}`;
}

const RUNBOOKS: Record<Step, string> = {
  "roll-back": "rollback-deployment",
  restart: "restart-workload",
  scale: "scale-deployment",
  evict: "restart-pod",
};
