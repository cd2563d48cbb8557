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
  const alert = unseen(run.identity, "unknown: forgotten with Redis", now);
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

/** `storm-` and the time at which it opened: whoever sees it makes the same record. */
export function stormId(openSince: number): string {
  return `storm-${openSince}`;
}

/** The record of a storm: held from the first moment, without alerts of its own. */
export function stormRecord(of: {
  cluster: string;
  openSince: number;
  tripped: string;
  quietMs: number;
  now: number;
}): IncidentRecord {
  const id = stormId(of.openSince);
  const decision: Decision = {
    decision: "hold",
    reason: "storm",
    says: of.tripped,
    rule: null,
    runbook: null,
    params: null,
    target: null,
  };
  const alert = unseen(`storm@${of.openSince}`, "storm", of.now);
  return {
    ...newRecord(alert, { cluster: of.cluster, decision, target: null, now: of.now }),
    id,
    dedupKey: dedupKeyOf(null, id),
    alerts: [],
    state: "held",
    reason: "storm",
    says: of.tripped,
    severity: "critical",
    pageSeverity: "critical",
    paging: "instead",
    storm: { tripped: of.tripped, cause: null, evidence: [], quietMs: of.quietMs, overAt: null },
    timeline: [{ at: of.now, what: "storm", says: `${of.tripped}: nothing is changed until it is over` }],
    endedAt: of.now,
  };
}

/** Stands for an alert that was never received, or whose record is gone. */
function unseen(identity: string, alertname: string, now: number): Alert {
  const [fingerprint = "", startsAt = ""] = identity.split("@");
  return {
    identity,
    fingerprint,
    startsAt,
    endsAt: null,
    status: "firing",
    labels: { alertname },
    annotations: {},
    generatorURL: "",
    groupKey: null,
    receiver: "",
    externalURL: "",
    receivedAt: now,
  };
}

function pageSeverity(severity: string, decision: Decision): IncidentRecord["pageSeverity"] {
  const asked = decision.rule?.escalate.severity ?? "from-alert";
  if (asked !== "from-alert") return asked;
  if (wakesPeople({ severity })) return "critical";
  return severity === "warning" || severity === "info" ? severity : "error";
}
