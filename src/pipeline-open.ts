/** From alerts to records: who is known, who joins, who opens an incident of its own. Part of the hall's `consider`. */
import type { Alert } from "./alert/alert.js";
import { ClusterError } from "./cluster.js";
import { decide } from "./policy/decide.js";
import type { Decision, Policy } from "./policy/policy.js";
import type { PipelinePorts } from "./pipeline-ports.js";
import { isLive, type IncidentRecord } from "./record/incident.js";
import { newRecord } from "./record/open.js";
import { resolveTarget } from "./target/resolve.js";
import type { Target } from "./target/target.js";

/** Targets of one webhook are looked up side by side, at most this many at once. */
const LOOKUPS = 8;

/** Stores every alert in a record and returns the incidents that are to be considered. Errors: UnavailableError. */
export async function openAlerts(p: PipelinePorts, alerts: readonly Alert[]): Promise<Set<string>> {
  const policy = p.policy();
  const fresh: { alert: Alert; decision: Decision; target: Target | null }[] = [];
  const toConsider = new Set<string>();

  for (const alert of alerts) {
    if (alert.status === "resolved") {
      await noteChange(p, alert);
      const id = await p.records.byIdentity(alert.identity);
      if (id !== null) {
        await p.transition(
          id,
          { type: "resolved", identity: alert.identity, endsAt: alert.endsAt, lastSeen: alert.receivedAt },
          "alertmanager",
        );
        continue;
      }
    } else {
      const id = await p.records.byIdentity(alert.identity);
      if (id !== null) {
        await heartbeat(p, policy, alert);
        await p.transition(id, { type: "firing", alert, rule: null }, "alertmanager");
        continue;
      }
      await noteChange(p, alert);
    }
    fresh.push({ alert, decision: decide(policy, { ...alert, status: "firing" }), target: null });
  }

  const queue = fresh.filter(({ decision, alert }) => needsTarget(decision) && alert.status === "firing");
  await Promise.all(
    Array.from({ length: LOOKUPS }, async () => {
      for (let item = queue.shift(); item !== undefined; item = queue.shift()) item.target = await lookUp(p, item);
    }),
  );

  for (const { alert, decision, target } of fresh) {
    const id = await place(p, policy, { alert, decision, target });
    if (id !== null) toConsider.add(id);
  }
  return toConsider;
}

/** Whether the decision depends on a workload of the cluster. */
export function needsTarget(decision: Decision): boolean {
  return (
    decision.target !== null &&
    (decision.decision === "remediate" || decision.decision === "diagnose" || decision.decision === "hold")
  );
}

/** The cluster not answering leaves the target open: the incident is opened without, and resolved when considered. */
async function lookUp(p: PipelinePorts, item: { alert: Alert; decision: Decision }): Promise<Target | null> {
  if (item.decision.target === null) return null;
  try {
    const found = await resolveTarget(item.decision.target, item.alert, p.reader);
    return "target" in found ? found.target : null;
  } catch (error) {
    if (!(error instanceof ClusterError)) throw error;
    p.log.warn({ error }, "the cluster did not answer while a target was looked up");
    return null;
  }
}

/** Joins the target's incident or opens one; the id if it is to be considered. */
async function place(
  p: PipelinePorts,
  policy: Policy,
  of: { alert: Alert; decision: Decision; target: Target | null },
): Promise<string | null> {
  const { alert, decision, target } = of;
  const now = p.clock.now();
  const cluster = decision.target?.cluster ?? alert.labels["cluster"] ?? p.settings.cluster;
  await heartbeat(p, policy, alert);
  if (target !== null) {
    const there = await p.records.byTarget(`${target.cluster}/${target.uid}`);
    const record = there === null ? null : await p.records.get(there);
    if (record !== null && joins(policy, record, decision)) return join(p, record.id, { alert, decision });
  }
  const record = newRecord(alert, { cluster, decision, target, now });
  const created = await p.records.create(record, {
    at: now,
    incident: record.id,
    event: "opened",
    from: "none",
    to: "open",
    who: "alertmanager",
    says: `${alert.labels["alertname"] ?? ""} ${alert.status}`,
  });
  p.metrics.decisions.inc({ decision: decision.decision });
  if (created.created) {
    if (target !== null && alert.status === "firing") {
      await p.facts.noteFiring(`${target.cluster}/${target.kind}/${target.namespace}/${target.name}`, now);
    }
    return record.id;
  }
  // Another worker was faster: by identity it is the same alert, by target it is an incident to join.
  if (created.because === "target") return join(p, created.incident, { alert, decision });
  const event =
    alert.status === "firing"
      ? ({ type: "firing", alert, rule: decision.rule?.name ?? null } as const)
      : ({ type: "resolved", identity: alert.identity, endsAt: alert.endsAt, lastSeen: alert.receivedAt } as const);
  await p.transition(created.incident, event, "alertmanager");
  return created.incident;
}

async function join(p: PipelinePorts, id: string, of: { alert: Alert; decision: Decision }): Promise<string | null> {
  const moved = await p.transition(
    id,
    { type: "firing", alert: of.alert, rule: of.decision.rule?.name ?? null },
    "alertmanager",
  );
  return moved.record?.state === "open" ? id : null;
}

/**
 * Alerts of a target belong to its incident while it is live. Once it has ended they still do while any of its alerts
 * fires, unless the new alert's rule stands before the one that decided: that one must get its own chance.
 */
function joins(policy: Policy, record: IncidentRecord, decision: Decision): boolean {
  if (isLive(record.state)) return true;
  if (record.resolved || record.reason === "joined") return false;
  const place = (name: string | null) =>
    policy.rules.find((rule) => rule.name === name)?.position ?? Number.POSITIVE_INFINITY;
  return place(decision.rule?.name ?? null) >= place(record.rule);
}

async function noteChange(p: PipelinePorts, alert: Alert): Promise<void> {
  await p.facts.noteChange(alert.fingerprint, `${alert.status} ${alert.startsAt}`, alert.receivedAt);
}

async function heartbeat(p: PipelinePorts, policy: Policy, alert: Alert): Promise<void> {
  if (alert.status !== "firing") return;
  const decision = decide(policy, alert);
  if (decision.rule?.does.what === "heartbeat") await p.facts.noteHeartbeat(decision.rule.name, alert.receivedAt);
}
