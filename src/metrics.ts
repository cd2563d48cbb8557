/** Every metric, declared once: closed label sets, every series from zero. Never a pod, target or alert name as a label. */
import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from "prom-client";

export const webhookAnswers = ["202", "400", "401", "413", "415", "503"] as const;
export const alertResults = ["accepted", "rejected"] as const;
export const decisionKinds = ["remediate", "diagnose", "escalate", "ignore", "hold"] as const;
export const effectAnswers = ["applied", "conflict", "refused", "unknown"] as const;
export const clickResults = ["accepted", "refused"] as const;
export const pageResults = ["sent", "failed", "direct"] as const;
export const auditHeadResults = ["kept", "failed", "lost"] as const;
export const clockSources = ["the API server", "Redis"] as const;
export const queueNames = ["alerts", "runs", "notices"] as const;
export const jobResults = ["done", "again", "retried", "failed", "newer"] as const;

export type Metrics = ReturnType<typeof createMetrics>;

/** A registry of its own per application, so that tests can run several side by side. */
export function createMetrics(options: {
  guards: readonly string[];
  runbooks: readonly string[];
  outcomes: readonly string[];
  reasons: readonly string[];
}) {
  const registry = new Registry();
  const registers = [registry];
  const counter = <L extends string>(name: string, help: string, labels: Record<L, readonly string[]>) => {
    const made = new Counter({ name, help, labelNames: Object.keys(labels) as L[], registers });
    for (const set of combinations(labels as Record<string, readonly string[]>)) made.inc(set as never, 0);
    return made;
  };
  const gauge = <L extends string>(name: string, help: string, label: L, values: readonly string[]) => {
    const made = new Gauge({ name, help, labelNames: [label], registers });
    for (const value of values) made.set({ [label]: value } as never, 0);
    return made;
  };
  collectDefaultMetrics({ register: registry });

  return {
    registry,
    webhooks: counter("nightshift_webhooks_total", "Alertmanager webhooks by answer.", { code: webhookAnswers }),
    webhookSeconds: new Histogram({
      name: "nightshift_webhook_seconds",
      help: "From a webhook's arrival to its answer.",
      buckets: [0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2],
      registers,
    }),
    alerts: counter("nightshift_alerts_total", "Alerts inside accepted webhooks.", { result: alertResults }),
    truncated: counter("nightshift_truncated_alerts_total", "Alerts that Alertmanager cut off a webhook.", {}),
    decisions: counter("nightshift_decisions_total", "What the policy said of new alerts.", {
      decision: decisionKinds,
    }),
    outcomes: counter("nightshift_incident_outcomes_total", "How incidents ended.", {
      outcome: options.outcomes,
      reason: [...options.reasons, "none"],
    }),
    incidents: new Gauge({ name: "nightshift_incidents", help: "Incidents that the sweep looks after.", registers }),
    storms: new Gauge({
      name: "nightshift_storms",
      help: "Storms that were going on at the last sweep: nothing is changed meanwhile.",
      registers,
    }),
    asks: new Gauge({ name: "nightshift_asks", help: "Plans that waited for people at the last sweep.", registers }),
    oldestAsk: new Gauge({
      name: "nightshift_oldest_ask_seconds",
      help: "Age of the plan that had waited longest at the last sweep; 0 where none waited.",
      registers,
    }),
    askOverdue: new Gauge({
      name: "nightshift_ask_overdue_seconds",
      help: "How far past its expiry the last sweep found an open ask; 0 where none was.",
      registers,
    }),
    guards: counter("nightshift_guard_verdicts_total", "Verdicts of guards.", {
      guard: options.guards,
      verdict: ["passes", "holds"],
    }),
    plans: counter("nightshift_plans_total", "Plans by runbook and what became of them.", {
      runbook: options.runbooks,
      result: ["asked", "auto", "observed", "proposed", "held", "skipped"],
    }),
    clicks: counter("nightshift_clicks_total", "Answers of people.", {
      answer: ["approve", "deny", "abort", "replan"],
      result: clickResults,
    }),
    effects: counter("nightshift_effects_total", "Effects sent to a target, by the API server's answer.", {
      runbook: options.runbooks,
      answer: effectAnswers,
    }),
    verdicts: counter("nightshift_verdicts_total", "Verdicts of verification.", {
      runbook: options.runbooks,
      verdict: ["successful", "failed", "inconclusive"],
    }),
    auditHeads: counter(
      "nightshift_audit_heads_total",
      "Heads of the audit chain kept in the cluster, failed to be kept, and kept ones found lost from the chain.",
      { result: auditHeadResults },
    ),
    pages: counter("nightshift_pages_total", "Pages to PagerDuty.", { result: pageResults }),
    slack: counter("nightshift_slack_calls_total", "Calls to Slack.", { result: ["ok", "failed"] }),
    jobs: counter("nightshift_jobs_total", "Jobs by queue and end.", { queue: queueNames, result: jobResults }),
    queueDepth: gauge("nightshift_queue_jobs", "Jobs waiting, active or delayed.", "queue", queueNames),
    oldestJob: gauge("nightshift_queue_oldest_seconds", "Age of the oldest waiting job.", "queue", queueNames),
    sweeps: counter("nightshift_sweeps_total", "Rounds of the sweep.", { result: ["ok", "failed"] }),
    ready: new Gauge({
      name: "nightshift_ready",
      help: "1 when Redis, the control ConfigMap and the workers are ready.",
      registers,
    }),
    clockOff: gauge(
      "nightshift_clock_off_seconds",
      "Seconds by which that clock is ahead of this process's; past 15 on all of them nothing is begun here.",
      "source",
      clockSources,
    ),
    paused: new Gauge({
      name: "nightshift_paused",
      help: "1 while a pause of scope all is set or the control ConfigMap cannot be read.",
      registers,
    }),
    memoryTrusted: new Gauge({
      name: "nightshift_memory_trusted",
      help: "0 while Redis is behind what was known of it and not everything was swept since: nothing is begun then.",
      registers,
    }),
    decideSeconds: new Histogram({
      name: "nightshift_decision_seconds",
      help: "From an alert's acceptance to its decision.",
      buckets: [0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60],
      registers,
    }),
  };
}

function combinations(labels: Record<string, readonly string[]>): Record<string, string>[] {
  let sets: Record<string, string>[] = [{}];
  for (const [name, values] of Object.entries(labels)) {
    sets = sets.flatMap((set) => values.map((value) => ({ ...set, [name]: value })));
  }
  return sets;
}
