/**
 * The audit's hash chain: every stored transition is one entry, bound to the one before it. What is hashed here in the
 * process and again when it is verified; store/chain-script.ts makes the links inside the script that commits the record.
 */
import { createHash } from "node:crypto";
import { redact } from "../log.js";
import { canonical, sha256 } from "../plan/digest.js";
import type { IncidentRecord } from "./incident.js";
import type { AuditEntry } from "./store.js";

/**
 * Entries that are kept at least: the stream is cut only above this many, so a shorter one that does not begin with
 * number 1 was cut by somebody else. Raising it makes streams that were cut at the old length look like that for a while.
 */
export const TRAIL_LENGTH = 200_000;

/** What an entry says. Its canonical JSON (RFC 8785) is stored as it was hashed. */
export interface ChainEntry extends AuditEntry {
  run: string | null;
  /** Digest of the plan that the record holds after the transition. */
  plan: string | null;
}

/** An entry in its place. All hashes are hex SHA-256. */
export interface Link {
  /** The stream's own id, `milliseconds-number` by Redis' clock. */
  id: string;
  seq: number;
  /** Hash of the link before; of number 1 a random value. */
  prev: string;
  hash: string;
  /** The entry's canonical JSON. */
  text: string;
}

export interface Head {
  seq: number;
  hash: string;
  /** Of its link, to find it again. */
  id: string;
}

/** Where a head that was kept stands now. `trimmed`: the stream has been cut behind it, which is no fault. */
export type Whereabouts = "in-chain" | "trimmed" | "lost";

/** The chain as it is kept. Errors: UnavailableError. */
export interface AuditTrail {
  /** Null where there is none: nothing was ever written, or it is gone. */
  head(): Promise<Head | null>;
  whereIs(head: Head): Promise<Whereabouts>;
  /** Every link up to the head of this moment, oldest first; how many the stream holds, and that head. */
  read(take: (link: Link) => void): Promise<{ head: Head | null; length: number }>;
}

/** The text that is hashed and stored: nothing stands in it that may not stand in the log. */
export function entryText(audit: AuditEntry, record: IncidentRecord): string {
  const entry: ChainEntry = {
    ...audit,
    who: redact(audit.who),
    says: redact(audit.says),
    run: record.run?.id ?? null,
    plan: record.plan?.digest ?? null,
  };
  return canonical(entry);
}

/** SHA-256 over 64 bytes: the hash before, and the SHA-256 of the text. */
export function linkHash(prev: string, text: string): string {
  return createHash("sha256")
    .update(Buffer.from(prev, "hex"))
    .update(Buffer.from(sha256(text), "hex"))
    .digest("hex");
}

/** Null where the text is no entry. */
export function entryOf(text: string): ChainEntry | null {
  try {
    const value = JSON.parse(text) as ChainEntry | null;
    return typeof value === "object" && value !== null && typeof value.incident === "string" ? value : null;
  } catch {
    return null;
  }
}
