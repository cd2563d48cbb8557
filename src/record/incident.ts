/** The record of an incident: the truth that the queue only nudges. Plain JSON, changed by compare-and-set on `rev`. */
import type { Alert } from "../alert/alert.js";
import type { Change, Diagnosis, Json, Risk } from "../runbook.js";
import type { Autonomy } from "../policy/policy.js";
import type { Shadow } from "../shadow/shadow.js";
import type { NamedTarget, Target } from "../target/target.js";
import type { Outcome, Reason } from "./reasons.js";

/** Raised when a record of the old shape cannot be read by the new code. */
export const RECORD_VERSION = 1;

export const liveStates = ["open", "waiting", "approved", "running"] as const;
export type LiveState = (typeof liveStates)[number];
export type State = LiveState | Outcome;

export interface IncidentAlert extends Alert {
  /** Deliveries seen. */
  count: number;
  lastSeen: number;
  /** The rule that matches it, null where none does. */
  rule: string | null;
}

/** One verdict of one guard, kept with its two values for `why`. */
export interface GuardTrace {
  guard: string;
  at: "plan" | "effect";
  time: number;
  holds: boolean;
  reason: Reason | null;
  says: string;
  expected: string;
  found: string;
}

/** A posted plan: what people say yes to. */
export interface Plan {
  incident: string;
  runbook: string;
  version: number;
  params: Json;
  target: Target;
  sentence: string;
  verb: string;
  changes: Change[];
  loses: string;
  takes: string;
  undo: string;
  /** Where the plan raises the runbook's class. */
  risk?: Risk;
  steps: string[];
  undoSteps: string[];
  facts: Json;
  evidence: string[];
  /** Hex SHA-256; see plan/plan.ts for what it covers. */
  digest: string;
  /** 128 random bits as hex, fresh for every posted plan. */
  nonce: string;
  createdAt: number;
  expiresAt: number;
  autonomy: Autonomy;
  /** Whether the API server accepted the change in a dry run, in words. */
  dryRun: string;
}

export interface Approval {
  /** `slack:U123`, `pagerduty:P123`, `cli:name`, or `policy` for autonomy auto. */
  by: string;
  name: string;
  at: number;
  nonce: string;
  digest: string;
  /** HMAC by the key that is not in Redis. */
  mac: string;
}

export interface RunState {
  id: string;
  /** The Lease's `leaseTransitions` under which it last ran; "changed world" and "stopped" compare it. */
  token: number;
  startedAt: number;
  /** When the last effect was known to be done. */
  effectAt: number | null;
  steps: { name: string; at: number; says: string }[];
  /** Looks of the verification so far. */
  looks: { at: number; world: string; symptom: string; says: string }[];
  memo: Json;
  /** A person pressed Abort: honoured at the next safe point. */
  abort: { by: string; at: number } | null;
}

/** A line of the incident's story, for thread, `why` and PagerDuty. */
export interface TimelineEntry {
  at: number;
  /** Machine-readable kind, e.g. `opened`, `planned`, `approved`, `effect`, `ended`. */
  what: string;
  says: string;
}

export interface IncidentRecord {
  v: number;
  /** Random, changed with every write. */
  rev: string;
  id: string;
  cluster: string;
  /** Null while, or because, it cannot be resolved. */
  target: Target | null;
  named: NamedTarget | null;
  /** Identity of the alert that opened it; the op keys and the Lease's ledger name it. */
  identity: string;
  /** For an incident that a person opened: the request's id stands for the identity. */
  requestedBy: string | null;
  dedupKey: string;
  severity: string;
  alerts: IncidentAlert[];
  state: State;
  reason: Reason | null;
  /** A sentence with the values behind `reason`. */
  says: string;
  /** The opening alert's resolved was accepted: nothing starts any more. */
  resolved: boolean;
  /** The record was rebuilt from a Lease: the run is settled, never carried on. */
  lost: boolean;
  /** How often a changed world led to a new plan. */
  replans: number;
  /** "would have" of an observed incident. */
  wouldHave: string | null;
  /** What people did where Nightshift only observed or proposed; absent where it decided otherwise, and in older records. */
  shadow?: Shadow;
  handOff: string | null;
  rule: string | null;
  runbook: string | null;
  /** Plans of other rules that matched alerts of this incident, not taken. */
  others: string[];
  plan: Plan | null;
  /** Digest of the plan before this one, to show what changed. */
  previousPlan: Plan | null;
  approvals: Approval[];
  needed: number;
  run: RunState | null;
  diagnosis: Diagnosis | null;
  guards: GuardTrace[];
  page: "none" | "wanted" | "sent";
  /** What the page is about; `ask` and `held` are told apart in words only. */
  pageWhy: "ask" | "held" | null;
  /** PagerDuty was told `resolve` (paging: instead only). */
  pageResolve: "none" | "wanted" | "sent";
  paging: "alongside" | "instead";
  pageSeverity: "critical" | "error" | "warning" | "info";
  slack: { channel: string; ts: string; thread: number } | null;
  timeline: TimelineEntry[];
  openedAt: number;
  /** Until when it must be decided or looked at again; a passed one pages. Milliseconds. */
  deadline: number;
  updatedAt: number;
  endedAt: number | null;
  /** Link to the incident that it joined: one of the same target, or the storm that it is part of. */
  joined: string | null;
  /** Only on the record of a storm: what is told of it. The incidents in it are in the facts (StormMember). */
  storm?: StormState;
}

/** A storm's record is an incident without alerts or target, held from the first moment; nothing is ever planned for it. */
export interface StormState {
  /** What tripped it, in words. */
  tripped: string;
  /** The suspected common cause, in words; null while none can be told. */
  cause: string | null;
  /** What speaks for it, or what else the workloads have in common. */
  evidence: string[];
  /** How long it must be quiet until it is over, milliseconds. */
  quietMs: number;
  overAt: number | null;
}

/** One incident that is told by its storm. */
export interface StormMember {
  incident: string;
  alertname: string;
  /** `Kind namespace/name`, or the namespace alone where the target is not known. */
  subject: string;
  /** Milliseconds. */
  at: number;
}

export function isLive(state: State): state is LiveState {
  return (liveStates as readonly string[]).includes(state);
}
