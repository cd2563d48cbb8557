/** What the engine needs, declared by it; app.ts fills it. The engine never imports another stage. */
import type { Clock } from "../clock.js";
import type { ClusterReader, ClusterWriter } from "../cluster.js";
import type { Log } from "../log.js";
import type { GuardTrace, IncidentRecord } from "../record/incident.js";
import type { Reason } from "../record/reasons.js";
import type { RecordStore } from "../record/store.js";
import type { Transition } from "../record/transition.js";
import type { AnyRemedy, Runbook, Sample, Symptom } from "../runbook.js";
import type { LeaseStore, LeaseView } from "./lease.js";

/** Points at which a worker may die, for the tests that make it die there. PROTOCOL section 4's brackets. */
export const brackets = [
  "fence",
  "take",
  "look",
  "settle",
  "check",
  "intent",
  "effect",
  "answer",
  "done",
  "end",
  "copy",
] as const;
export type Bracket = (typeof brackets)[number];

/** What becomes of the job: `again` puts it back as a delayed job. */
export type JobEnd = { end: "done" } | { end: "again"; inMs: number };

export type Verdict =
  | { verdict: "successful" | "failed" | "inconclusive"; says: string }
  /** `baking`: it helped, and is watched for a while. */
  | { verdict: null; againMs: number; baking: boolean };

/** One look before an effect. */
export interface Looking {
  /** The cluster as it is seen in this look, by the rights that the guards read with. */
  reader: ClusterReader;
  /** All guards, control ConfigMap and cooldown included, judge the record as it stands by this look. */
  check(record: IncidentRecord): Promise<{ held: { reason: Reason; says: string } | null; trace: GuardTrace[] }>;
}

export interface EnginePorts {
  clock: Clock;
  log: Log;
  /** Pod UID and a random word per process start: a restarted worker is another holder. */
  holder: string;
  records: RecordStore;
  transition: Transition;
  leases: LeaseStore;
  holderLives(view: LeaseView): Promise<boolean>;
  reader: ClusterReader;
  writer: ClusterWriter;
  /** Asks Prometheus; null where it cannot be asked. */
  measure(expr: string): Promise<Sample[] | null>;
  runbook(name: string): Runbook | undefined;
  /** Whether any firing alert of the incident is active at an Alertmanager now. */
  activity(record: IncidentRecord): Promise<"active" | "not-active" | "unknown">;
  /** Begins to ask, live, for what the guards will judge by. */
  look(record: IncidentRecord, remedy: AnyRemedy): Looking;
  /** Reserves the budget before the first intent; a "no" comes as reason and sentence. */
  reserve(record: IncidentRecord, run: string): Promise<{ reason: Reason; says: string } | null>;
  closeBudget(run: string): Promise<void>;
  symptom(record: IncidentRecord): Promise<Symptom>;
  verdict(record: IncidentRecord, remedy: AnyRemedy): Promise<Verdict>;
  /** Milliseconds that an effect may take until its fate counts as unknown; less than a third of the Lease. */
  effectTimeoutMs: number;
  renewMs: number;
  /** Milliseconds between two tries of an eviction that a disruption budget does not allow now, and until it is given up. */
  evictEveryMs: number;
  evictWithinMs: number;
  /** Called at each bracket; tests die here. */
  at(bracket: Bracket, about: { incident: string; step: string }): Promise<void>;
  /** A call that was made, for metrics: `applied`, `conflict`, `refused`, `unknown`. */
  effectAnswered(runbook: string, answer: string): void;
}
