/** What the engine and the guards need, filled from the ports: part of the composition root. */
import { alertName } from "../alert/alert.js";
import type { Clock } from "../clock.js";
import { type Budgets } from "../execution/budget.js";
import type { Verdict } from "../execution/ports.js";
import { guard as budgetGuard } from "../guard/guards/budget.js";
import type { GuardContext } from "../guard/guard.js";
import type { Policy } from "../policy/policy.js";
import type { IncidentAlert, IncidentRecord } from "../record/incident.js";
import type { Reason } from "../record/reasons.js";
import type { AnyRemedy, Symptom } from "../runbook.js";
import type { MetricsReader } from "../verify/metrics.js";
import { ruleWindowMs, symptomOf } from "../verify/symptom.js";
import { judge } from "../verify/verdict.js";

/** Windows of an alerting rule's expression are cut to this while it is verified. */
const WINDOW_MS = 60_000;
/** Waited beyond the rollout's time and the rule's own window. */
const SLACK_MS = 2 * 60_000;

export interface VerifyPorts {
  clock: Clock;
  policy(): Policy;
  metrics: MetricsReader | null;
  activity(record: IncidentRecord): Promise<"active" | "not-active" | "unknown">;
}

/** The alerts that the deciding rule matched: their rules' expressions are the symptom. */
function telling(record: IncidentRecord): IncidentAlert[] {
  const mine = record.alerts.filter((alert) => alert.rule === record.rule);
  return mine.length > 0 ? mine : record.alerts.slice(0, 1);
}

/** One answer over the incident's telling alerts: any present is present, all gone is gone, the rest cannot be told. */
export async function incidentSymptom(v: VerifyPorts, record: IncidentRecord): Promise<Symptom> {
  const rule = v.policy().rules.find((r) => r.name === record.rule);
  const settings = { maxAgeMs: rule?.guards.data.maxAgeMs ?? 120_000, windowMs: WINDOW_MS, now: v.clock.now() };
  const seen = await Promise.all(distinct(telling(record)).map((alert) => symptomOf(alert, v.metrics, settings)));
  const says = seen.map((one) => one.says).join("; ");
  if (seen.some((one) => one.state === "present")) return { state: "present", says };
  return { state: seen.length > 0 && seen.every((one) => one.state === "gone") ? "gone" : "unknown", says };
}

/** Alerts of one rule on several pods ask Prometheus the same thing a few times at most. */
function distinct(alerts: readonly IncidentAlert[]): IncidentAlert[] {
  const seen = new Map<string, IncidentAlert>();
  for (const alert of alerts) seen.set(`${alertName(alert)} ${alert.fingerprint}`, alert);
  return [...seen.values()].slice(0, 5);
}

export async function runVerdict(v: VerifyPorts, record: IncidentRecord, remedy: AnyRemedy): Promise<Verdict> {
  const { run } = record;
  const rule = v.policy().rules.find((r) => r.name === record.rule);
  if (run === null || rule === undefined)
    return { verdict: "inconclusive", says: "the rule behind this run is gone from the policy" };
  // A clock that was set back since must not make a run wait for the time to come round again: its own looks are later.
  const since = Math.min(run.effectAt ?? run.startedAt, ...run.looks.map((look) => look.at));
  const windows = await Promise.all(
    distinct(telling(record)).map((alert) => ruleWindowMs(alert, v.metrics).catch(() => 0)),
  );
  return judge({
    looks: run.looks,
    settings: rule.verify,
    now: v.clock.now(),
    since,
    giveUpAt: since + Math.max(remedy.giveUpAfterMs + Math.max(0, ...windows), rule.verify.bakeMs) + SLACK_MS,
    active: await v.activity(record),
  });
}

/** Reserves one action by the budget guard's own arithmetic, evaluated on the very version that is then written. */
export async function reserveBudget(
  budgets: Budgets,
  of: { record: IncidentRecord; run: string; policy: Policy; clock: Clock },
): Promise<{ reason: Reason; says: string } | null> {
  const { record, run, policy, clock } = of;
  const rule = policy.rules.find((r) => r.name === record.rule);
  const { target } = record;
  if (!rule || !target) return { reason: "guard-error", says: `the policy no longer has the rule ${record.rule}` };
  let reason: Reason = "budget";
  const entry = {
    run,
    cluster: target.cluster,
    namespace: target.namespace,
    target: target.uid,
    at: clock.now(),
    open: true,
  };
  const no = await budgets.reserve(entry, async (present) => {
    const context = {
      world: { budget: async () => present },
      target,
      settings: rule.guards,
      incident: { run: { id: run } },
      now: clock.now(),
    };
    const verdict = await budgetGuard.evaluate(context as unknown as GuardContext);
    if (!verdict.holds) return null;
    reason = verdict.reason;
    return verdict.says;
  });
  return no === null ? null : { reason, says: no };
}
