import { verifyApproval } from "../approval/seal.js";
import { iso } from "../clock.js";
import { planOpKey } from "../execution/keys.js";
import type { LeaseView } from "../execution/lease.js";
import { redactAll } from "../log.js";
import { planDigest } from "../plan/plan.js";
import type { ChainEntry, Link } from "../record/chain.js";
import type { Approval, IncidentRecord, Plan } from "../record/incident.js";

/** What is known beside the record. */
export interface Evidence {
  at: number;
  install: string;
  /** The incident's own links, oldest first. */
  links: { link: Link; entry: ChainEntry }[];
  /** How the chain stands: `verdict` and its words. */
  chain: { verdict: string; says: string; firstSeq: number | null; head: string | null };
  /** The target's Lease, or why it was not read. */
  lease: { value: LeaseView | null } | { why: string };
  /** Keys for seals; null where there are none here. */
  keys: readonly string[] | null;
}

export type AuditDocument = ReturnType<typeof auditDocument>;

/** One incident in one document, times as RFC 3339. Nothing stands in it that may not stand in the log. */
export function auditDocument(record: IncidentRecord, evidence: Evidence) {
  const [opened] = evidence.links;
  return redactAll({
    v: 1,
    exportedAt: iso(evidence.at),
    install: evidence.install,
    incident: {
      id: record.id,
      cluster: record.cluster,
      target: record.target,
      rule: record.rule,
      runbook: record.runbook,
      severity: record.severity,
      state: record.state,
      reason: record.reason,
      says: record.says,
      wouldHave: record.wouldHave,
      handOff: record.handOff,
      joined: record.joined,
      requestedBy: record.requestedBy,
      openedAt: iso(record.openedAt),
      endedAt: time(record.endedAt),
    },
    alerts: record.alerts.map((alert) => ({
      ...alert,
      receivedAt: iso(alert.receivedAt),
      lastSeen: iso(alert.lastSeen),
    })),
    plan: record.plan === null ? null : planOf(record.plan),
    previousPlan: record.previousPlan === null ? null : planOf(record.previousPlan),
    approvals: { needed: record.needed, given: record.approvals.map((one) => approvalOf(one, record, evidence.keys)) },
    guards: record.guards.map((one) => ({ ...one, time: iso(one.time) })),
    run:
      record.run === null
        ? null
        : {
            id: record.run.id,
            leaseTransitions: record.run.token,
            startedAt: iso(record.run.startedAt),
            effectAt: time(record.run.effectAt),
            steps: record.run.steps.map((step) => ({ ...step, at: iso(step.at) })),
            abort: record.run.abort === null ? null : { by: record.run.abort.by, at: iso(record.run.abort.at) },
          },
    effects: effectsOf(record, evidence.lease),
    verification: (record.run?.looks ?? []).map((look) => ({ ...look, at: iso(look.at) })),
    pages: {
      state: record.page,
      why: record.pageWhy,
      resolve: record.pageResolve,
      dedupKey: record.dedupKey,
      told: evidence.links
        .filter(({ entry }) => entry.event === "paged" || entry.event === "pageResolved")
        .map(({ entry }) => ({ at: iso(entry.at), says: entry.says })),
    },
    slack: record.slack,
    diagnosis: record.diagnosis,
    timeline: record.timeline.map((line) => ({ ...line, at: iso(line.at) })),
    transitions: evidence.links.map(({ link, entry }) => ({
      seq: link.seq,
      ...entry,
      at: iso(entry.at),
      prev: link.prev,
      hash: link.hash,
      entry: link.text,
    })),
    /** False where the stream was cut since: the first transitions of this incident are not in it any more. */
    transitionsComplete: opened?.entry.from === "none",
    chain: evidence.chain,
  }) as Readonly<Record<string, unknown>>;
}

function planOf(plan: Plan) {
  return {
    digest: plan.digest,
    /** Computed again from what is written here. */
    digestHolds: planDigest(plan) === plan.digest,
    sentence: plan.sentence,
    runbook: plan.runbook,
    version: plan.version,
    params: plan.params,
    target: plan.target,
    changes: plan.changes,
    loses: plan.loses,
    takes: plan.takes,
    undo: plan.undo,
    risk: plan.risk ?? null,
    steps: plan.steps,
    undoSteps: plan.undoSteps,
    evidence: plan.evidence,
    autonomy: plan.autonomy,
    dryRun: plan.dryRun,
    createdAt: iso(plan.createdAt),
    expiresAt: iso(plan.expiresAt),
  };
}

function approvalOf(approval: Approval, record: IncidentRecord, keys: readonly string[] | null) {
  const bound = {
    incident: record.id,
    nonce: approval.nonce,
    digest: approval.digest,
    by: approval.by,
    at: approval.at,
  };
  const { plan } = record;
  return {
    by: approval.by,
    name: approval.name,
    at: iso(approval.at),
    digest: approval.digest,
    ofThisPlan: plan !== null && plan.nonce === approval.nonce && plan.digest === approval.digest,
    seal:
      keys === null
        ? "not checked: set NIGHTSHIFT_SECRET as the running install has it"
        : keys.some((key) => key !== "" && verifyApproval(key, bound, approval.mac))
          ? "holds"
          : "does not hold: it was made with another key, or by somebody who can write Redis",
  };
}

/** What the target's Lease says was done: operations are named by the steps of the plan, where it is of this plan. */
function effectsOf(record: IncidentRecord, lease: Evidence["lease"]) {
  if ("why" in lease) return { read: false, why: lease.why };
  if (lease.value === null) return { read: true, lease: null, operations: [], open: null, ends: [] };
  const { ledger, name } = lease.value;
  const steps = new Map<string, string>();
  for (const plan of [record.previousPlan, record.plan])
    for (const step of [...(plan?.steps ?? []), ...(plan?.undoSteps ?? [])])
      if (plan) steps.set(planOpKey(record.identity, plan, step), step);
  const fingerprints = new Set(record.alerts.map((alert) => alert.fingerprint));
  return {
    read: true,
    lease: name,
    operations: ledger.ops
      .filter((op) => steps.has(op.key) || fingerprints.has(op.fingerprint))
      .map((op) => ({ step: steps.get(op.key) ?? null, key: op.key, at: op.at })),
    open: ledger.run?.incident === record.id ? ledger.open : null,
    ends: ledger.ends.filter((end) => end.identity === record.identity || end.run === record.run?.id),
  };
}

function time(ms: number | null): string | null {
  return ms === null ? null : iso(ms);
}
