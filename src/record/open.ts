import type { Alert } from "../alert/alert.js";
import { dedupKeyOf, incidentId } from "../alert/identity.js";
import { type Decision, wakesPeople } from "../policy/policy.js";
import type { Target } from "../target/target.js";
import { type IncidentRecord, RECORD_VERSION } from "./incident.js";
import { incidentAlert } from "./machine.js";

/** Every firing alert is decided within this long; a passed deadline pages. */
export const DECIDE_WITHIN_MS = 60_000;

/** A fresh record for an alert that no record holds yet; with a resolved alert it is the tombstone. */
export function newRecord(
  alert: Alert,
  of: { cluster: string; decision: Decision; target: Target | null; now: number },
): IncidentRecord {
  const { decision, now } = of;
  const id = incidentId(of.cluster, of.target?.uid ?? null, alert.identity);
  const severity = alert.labels["severity"] ?? "";
  return {
    v: RECORD_VERSION,
    rev: "",
    id,
    cluster: of.cluster,
    target: of.target,
    named: decision.target,
    identity: alert.identity,
    requestedBy: null,
    dedupKey: dedupKeyOf(alert.groupKey, id),
    severity,
    alerts: [incidentAlert(alert, decision.rule?.name ?? null)],
    state: "open",
    reason: null,
    says: "",
    resolved: alert.status === "resolved",
    lost: false,
    replans: 0,
    wouldHave: null,
    handOff: null,
    rule: decision.rule?.name ?? null,
    runbook: decision.runbook,
    others: [],
    plan: null,
    previousPlan: null,
    approvals: [],
    needed: 0,
    run: null,
    diagnosis: null,
    guards: [],
    page: "none",
    pageWhy: null,
    pageResolve: "none",
    paging: decision.rule?.escalate.paging ?? "alongside",
    pageSeverity: pageSeverity(severity, decision),
    slack: null,
    timeline: [{ at: now, what: "opened", says: `${alert.labels["alertname"] ?? "an alert"} ${alert.status}` }],
    openedAt: now,
    deadline: now + DECIDE_WITHIN_MS,
    updatedAt: now,
    endedAt: null,
    joined: null,
  };
}

/**
 * The record of a begun run that Redis forgot, rebuilt from what its Lease says: only to be settled and told, never to be
 * carried on.
 */
export function lostRecord(
  run: { incident: string; identity: string; runbook: string },
  target: Target,
  now: number,
): IncidentRecord {
  const [fingerprint = "", startsAt = ""] = run.identity.split("@");
  const alert: Alert = {
    identity: run.identity,
    fingerprint,
    startsAt,
    endsAt: null,
    status: "firing",
    labels: { alertname: "unknown: forgotten with Redis" },
    annotations: {},
    generatorURL: "",
    groupKey: null,
    receiver: "",
    externalURL: "",
    receivedAt: now,
  };
  const decision: Decision = {
    decision: "hold",
    reason: "lost-memory",
    says: "",
    rule: null,
    runbook: run.runbook,
    params: {},
    target: null,
  };
  const record = newRecord(alert, { cluster: target.cluster, decision, target, now });
  return {
    ...record,
    id: run.incident,
    dedupKey: dedupKeyOf(null, run.incident),
    state: "running",
    lost: true,
    pageSeverity: "critical",
  };
}

function pageSeverity(severity: string, decision: Decision): IncidentRecord["pageSeverity"] {
  const asked = decision.rule?.escalate.severity ?? "from-alert";
  if (asked !== "from-alert") return asked;
  if (wakesPeople({ severity })) return "critical";
  return severity === "warning" || severity === "info" ? severity : "error";
}
