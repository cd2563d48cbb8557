/** Ports of the cellar: what the stages need of Redis. Implemented in store/. */
import type { IncidentRecord, StormMember } from "./incident.js";
import type { Line } from "./line.js";

export interface AuditEntry {
  at: number;
  incident: string;
  event: string;
  /** State before and after. */
  from: string;
  to: string;
  who: string;
  says: string;
}

/** `record` is what was stored, with the `rev` that was drawn. */
export type Created =
  | { created: true; record: IncidentRecord }
  | { created: false; incident: string; because: "identity" | "target" | "id" };

/**
 * Records, changed by compare-and-set on `rev`. Errors: UnavailableError where Redis cannot be reached.
 * `targetKey` is `cluster/uid`.
 */
export interface RecordStore {
  get(id: string): Promise<IncidentRecord | null>;
  /** The incident that holds this alert, live or ended. */
  byIdentity(identity: string): Promise<string | null>;
  /** As `byIdentity`, for alerts read from Alertmanager's API, which cuts startsAt to milliseconds. */
  byMillisecond(fingerprint: string, startsAtMs: number): Promise<string | null>;
  /** The newest incident of the target, live or ended. */
  byTarget(targetKey: string): Promise<string | null>;
  /** Stores a new record unless its id, one of its alerts, or a live incident of its target is there already. */
  create(record: IncidentRecord, audit: AuditEntry): Promise<Created>;
  /** Writes `record` if the stored `rev` is still `record.rev`; answers it with the one drawn. Null: read again, apply again. */
  save(record: IncidentRecord, audit: AuditEntry): Promise<IncidentRecord | null>;
  /** Ids that the sweep looks after. */
  attention(): Promise<string[]>;
  /** Takes an id whose record has expired off the sweep's list. */
  forget(id: string): Promise<void>;
  /** Newest first. */
  recent(limit: number): Promise<IncidentRecord[]>;
}

/** One line per incident, kept longer than its record; written with the record. Errors: UnavailableError. */
export interface LineStore {
  /** Notes since when lines are kept, once: what opened before that is not known. */
  begin(now: number): Promise<void>;
  /**
   * Lines of incidents that opened in the period, oldest first. `unread`: of another version. `since`: nothing is known of
   * before; null where no line was ever kept.
   */
  between(from: number, to: number): Promise<{ lines: Line[]; unread: number; since: number | null }>;
}

/** How far the store has come: a name drawn when it began, and a counter that only rises. */
export interface StoreEpoch {
  epoch: string;
  tick: number;
}

/** What the API server said of a plan that was only tried. */
export interface DryRunAnswer {
  refused: boolean;
  says: string;
}

/** Small facts that several stages share and that may be lost without harm to safety. */
export interface FactStore {
  /** Notes that a fingerprint changed state; `key` tells repeats of one change apart. */
  noteChange(fingerprint: string, key: string, at: number): Promise<void>;
  changes(fingerprint: string): Promise<number[]>;
  /** Notes that a workload began to fire. */
  noteFiring(workload: string, at: number): Promise<void>;
  firing(since: number): Promise<{ workload: string; since: number }[]>;
  /** Since when a storm is open; null when none is. */
  stormOpen(): Promise<number | null>;
  /** Opens a storm, or keeps the open one open until `until` at least; since when it is open. */
  keepStorm(now: number, until: number): Promise<number>;
  /** Notes that a storm tells for this incident. */
  joinStorm(storm: string, member: StormMember): Promise<void>;
  /** The first of them by time, and how many there are in all. */
  stormMembers(storm: string): Promise<{ members: StormMember[]; total: number }>;
  /** True for one caller in each `forMs`: that one sees to it that the storm is told of anew. */
  claimTelling(storm: string, forMs: number): Promise<boolean>;
  /** The hands' answer about the plan with this nonce; null while there is none. */
  dryRun(nonce: string): Promise<DryRunAnswer | null>;
  noteDryRun(nonce: string, answer: DryRunAnswer): Promise<void>;
  /** Writes a little, as a Redis that is full refuses and one that only reads does not notice. Errors: UnavailableError. */
  probe(): Promise<void>;
  /** The store's own wall clock, milliseconds. Errors: UnavailableError. */
  now(): Promise<number>;
  /** Counts on; null where no epoch was begun. */
  tick(): Promise<StoreEpoch | null>;
  beginEpoch(epoch: string): Promise<void>;
  /** True for one caller until `forMs` have passed, or until it gives the claim back. */
  claimMemory(who: string, forMs: number): Promise<boolean>;
  /** Gives it back; nothing where it is somebody else's by now. */
  releaseMemory(who: string): Promise<void>;
  noteHeartbeat(rule: string, at: number): Promise<void>;
  heartbeats(): Promise<Record<string, number>>;
  /** A process says that it lives; gone `ttlMs` after its last word. */
  present(holder: string, ttlMs: number): Promise<void>;
  isPresent(holder: string): Promise<boolean>;
  deadLetter(entry: { at: number; why: string; sample: string }): Promise<void>;
}
