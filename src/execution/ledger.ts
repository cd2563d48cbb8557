/** The ledger in a target's Lease: what survives anything. PROTOCOL section 2; the format is fixed. */
import { fingerprintIn } from "../alert/identity.js";
import { iso } from "../clock.js";

export interface LedgerRun {
  id: string;
  incident: string;
  identity: string;
  runbook: string;
  /** Digest of the plan's `from` facts, for the page that tells of a lost run. */
  from: string;
  steps: string[];
  /** The run is being undone. */
  undo: boolean;
  /** Set with the first intent. */
  begun: boolean;
}

export interface LedgerOpen {
  key: string;
  object: { apiVersion: string; kind: string; namespace: string; name: string; uid: string };
  resourceVersion: string;
  generation: number;
  /** The effect is an eviction: it carries the pod's UID and no key, and nothing on the pod is fenced. */
  evicts?: true;
  /** RFC 3339. */
  at: string;
}

export interface Ledger {
  v: number;
  run: LedgerRun | null;
  open: LedgerOpen | null;
  ops: { key: string; fingerprint: string; at: string }[];
  ends: { identity: string; run: string; outcome: string; at: string; told: boolean }[];
}

/** Raised when a ledger of the old shape cannot be read by the new code. */
export const LEDGER_VERSION = 1;

export const emptyLedger: Ledger = { v: LEDGER_VERSION, run: null, open: null, ops: [], ends: [] };

/** `ops` += key, `open` = null. */
export function settledDone(ledger: Ledger, key: string, record: { identity: string }, now: number): Ledger {
  const fingerprint = fingerprintIn(record.identity);
  const ops = ledger.ops.some((op) => op.key === key)
    ? ledger.ops
    : [...ledger.ops, { key, fingerprint, at: iso(now) }];
  return { ...ledger, ops, open: null };
}

/** `ends` += outcome, `run` = null, `open` = null. */
export function endedLedger(
  ledger: Ledger,
  record: { identity: string },
  how: { outcome: string; now: number },
): Ledger {
  const run = ledger.run?.id ?? "";
  const ends = [
    ...ledger.ends,
    { identity: record.identity, run, outcome: how.outcome, at: iso(how.now), told: false },
  ];
  return { ...ledger, open: null, run: null, ends };
}
