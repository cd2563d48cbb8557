/**
 * A guard is a check that may hold a plan. It answers with a reason, never with an exception; one that cannot be
 * evaluated counts as tripped. A new guard is one new file in guards/, found by directory scan.
 */
import type { ClockVerdict } from "../clock-watch.js";
import type { ClusterReader } from "../cluster.js";
import type { IncidentRecord, Plan } from "../record/incident.js";
import type { Reason } from "../record/reasons.js";
import type { GuardSettings, Policy, Rule } from "../policy/policy.js";
import type { AnyRemedy, Symptom, Target } from "../runbook.js";
import type { Ledger } from "../execution/ledger.js";
import type { StormView } from "./storm.js";

/** Whether an alert is firing, asked of every configured Alertmanager now. */
export type Activity = "active" | "not-active" | "unknown";

/** A pause set by a person, kept in the control ConfigMap. */
export interface Pause {
  /** `all`, `cluster:NAME`, `namespace:NAME`, `runbook:NAME`. */
  scope: string;
  by: string;
  why: string;
  /** Milliseconds; null for until somebody lifts it. */
  until: number | null;
}

/** The control ConfigMap as it was last read. `unreadable` means stopped. */
export type Control = { state: "readable"; pauses: Pause[] } | { state: "unreadable"; why: string };

/** An effect that was reserved or made, from the budgets' Lease. */
export interface BudgetEntry {
  run: string;
  cluster: string;
  namespace: string;
  target: string;
  /** Milliseconds. */
  at: number;
  /** Still under way. */
  open: boolean;
}

/** Past firings of the same fingerprint, whatever their startsAt. */
export interface FingerprintHistory {
  /** Times at which its state changed (firing or resolved), milliseconds, oldest first. */
  changes: number[];
  /** Times at which a remedy was begun for it automatically. */
  attempts: number[];
}

/**
 * What a guard may look at, read live and once for all guards of one gate; a rejection counts as "cannot be evaluated".
 */
export interface GuardWorld {
  activity(identity: string): Promise<Activity>;
  symptom(): Promise<Symptom>;
  /** The target's ledger; null where no Lease exists yet. */
  ledger(): Promise<Ledger | null>;
  budget(): Promise<BudgetEntry[]>;
  control(): Promise<Control>;
  storm(): Promise<StormView>;
  /** What the other clocks say of ours. */
  clock(): Promise<ClockVerdict>;
  history(fingerprint: string): Promise<FingerprintHistory>;
  /** Whether the writer's identity may do what the runbook needs, with the first thing that it may not. */
  bound(): Promise<{ ok: boolean; missing: string }>;
  /** Whether the approvals on the record carry valid MACs for this plan. */
  approvals(plan: Plan): { valid: number; needed: number; says: string };
}

export interface GuardContext {
  at: "plan" | "effect";
  incident: IncidentRecord;
  rule: Rule;
  policy: Policy;
  plan: Plan;
  target: Target;
  runbook: Pick<AnyRemedy, "name" | "risk" | "needs" | "kinds">;
  settings: GuardSettings;
  cluster: ClusterReader;
  world: GuardWorld;
  /** Nightshift's own namespace: always protected. */
  ownNamespace: string;
  /** Wall clock, milliseconds. */
  now: number;
}

export type GuardVerdict =
  | { holds: false; says: string; expected: string; found: string }
  | { holds: true; reason: Reason; says: string; expected: string; found: string };

export interface Guard {
  /** The file's name: `freshness`. */
  name: string;
  /** Place in the gate's order, from 1; cheap and decisive ones first. */
  order: number;
  /** `fixed` guards can never be overruled. */
  overrule: "fixed" | "one" | "two";
  /** One sentence for the docs. */
  summary: string;
  evaluate(context: GuardContext): Promise<GuardVerdict>;
}

export function passes(says: string, expected: string, found: string): GuardVerdict {
  return { holds: false, says, expected, found };
}

export function holds(reason: Reason, says: string, values: { expected: string; found: string }): GuardVerdict {
  return { holds: true, reason, says, ...values };
}
