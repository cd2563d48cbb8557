/** From alerts to records: who is known, who joins, who opens an incident of its own. Part of the hall's `consider`. */
import type { Alert } from "./alert/alert.js";
import { ClusterError, type ClusterReader } from "./cluster.js";
import { oneLook } from "./one-look.js";
import { decide } from "./policy/decide.js";
import type { Decision, Policy } from "./policy/policy.js";
import type { PipelinePorts } from "./pipeline-ports.js";
import { isLive, type IncidentRecord } from "./record/incident.js";
import { newRecord } from "./record/open.js";
import { resolveTarget } from "./target/resolve.js";
import type { Target } from "./target/target.js";

/** An alert that nobody knows yet, and what was found out about it. */
interface Fresh {
  alert: Alert;
  decision: Decision;
  target: Target | null;
  look: ClusterReader;
}

/** Targets of one webhook are looked up side by side, at most this many at once. */
const LOOKUPS = 8;

/** An open record, and the look at the cluster that all that is decided about it rests on. */
export interface Opened {
  record: IncidentRecord;
  look: ClusterReader;
  /** Opened just now: nobody has considered it yet, and nothing is known to be in the way. */
  fresh: boolean;
}

/**
 * Stores every alert in a record and returns the incidents that are to be considered, each with what was just opened, or
 * with null where it was there before. Errors: UnavailableError.
 */
export async function openAlerts(p: PipelinePorts, alerts: readonly Alert[]): Promise<Map<string, Opened | null>> {
  const policy = p.policy();
  const fresh: Fresh[] = [];
  const toConsider = new Map<string, Opened | null>();

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
        const moved = await p.transition(id, { type: "firing", alert, rule: null }, "alertmanager");
        // Undecided still: whoever took this webhook before may have died before anybody was told to decide.
        if (moved.record?.state === "open") toConsider.set(id, null);
        continue;
      }
    }
    const decision = decide(policy, { ...alert, status: "firing" });
    fresh.push({ alert, decision, target: null, look: oneLook(p.reader) });
  }

  const queue = fresh.filter(({ alert }) => alert.status === "firing");
  await Promise.all(
    Array.from({ length: LOOKUPS }, async () => {
      for (let item = queue.shift(); item !== undefined; item = queue.shift())
        [item.target] = await Promise.all([lookUp(p, item), noteChange(p, item.alert)]);
    }),
  );

  for (const one of fresh) {
    const placed = await place(p, policy, one);
    if (placed !== null) toConsider.set(placed.id, placed.opened);
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
async function lookUp(p: PipelinePorts, item: Fresh): Promise<Target | null> {
  if (item.decision.target === null || !needsTarget(item.decision)) return null;
  try {
    const found = await resolveTarget(item.decision.target, item.alert, item.look);
    return "target" in found ? found.target : null;
  } catch (error) {
    if (!(error instanceof ClusterError)) throw error;
    p.log.warn({ error }, "the cluster did not answer while a target was looked up");
    // A look keeps its errors: whoever considers it asks anew.
    item.look = oneLook(p.reader);
    return null;
  }
}

/** Joins the target's incident or opens one; null where nobody has to consider it. */
async function place(
  p: PipelinePorts,
  policy: Policy,
  of: Fresh,
): Promise<{ id: string; opened: Opened | null } | null> {
  const { alert, decision, target, look } = of;
  const now = p.clock.now();
  const cluster = decision.target?.cluster ?? alert.labels["cluster"] ?? p.settings.cluster;
  await heartbeat(p, policy, alert);
  if (target !== null) {
    const there = await p.records.byTarget(`${target.cluster}/${target.uid}`);
    const record = there === null ? null : await p.records.get(there);
    if (record !== null && joins(policy, record, decision)) return join(p, record.id, { alert, decision });
  }
  const record = newRecord(alert, { cluster, decision, target, now });
  const begins = target !== null && alert.status === "firing";
  const [created] = await Promise.all([
    p.records.create(record, {
      at: now,
      incident: record.id,
      event: "opened",
      from: "none",
      to: "open",
      who: "alertmanager",
      says: `${alert.labels["alertname"] ?? ""} ${alert.status}`,
    }),
    // Noted also where another worker was faster: it is the same moment.
    begins && p.facts.noteFiring(`${target.cluster}/${target.kind}/${target.namespace}/${target.name}`, now),
  ]);
  p.metrics.decisions.inc({ decision: decision.decision });
  if (created.created) return { id: record.id, opened: { record: created.record, look, fresh: true } };
  // Another worker was faster: by identity it is the same alert, by target it is an incident to join.
  if (created.because === "target") return join(p, created.incident, { alert, decision });
  const event =
    alert.status === "firing"
      ? ({ type: "firing", alert, rule: decision.rule?.name ?? null } as const)
      : ({ type: "resolved", identity: alert.identity, endsAt: alert.endsAt, lastSeen: alert.receivedAt } as const);
  await p.transition(created.incident, event, "alertmanager");
  return { id: created.incident, opened: null };
}

async function join(
  p: PipelinePorts,
  id: string,
  of: { alert: Alert; decision: Decision },
): Promise<{ id: string; opened: null } | null> {
  const moved = await p.transition(
    id,
    { type: "firing", alert: of.alert, rule: of.decision.rule?.name ?? null },
    "alertmanager",
  );
  return moved.record?.state === "open" ? { id, opened: null } : null;
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
