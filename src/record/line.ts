/**
 * What stays of an incident when its record is gone: one small line, for the report. Pure. It is written in the same
 * change as the record and kept for a year, where a record is kept for 90 days.
 */
import { z } from "zod";
import { inert } from "../alert/inert.js";
import { verdicts, type ShadowVerdict } from "../shadow/shadow.js";
import { type IncidentRecord, isLive, liveStates, type State } from "./incident.js";
import { outcomes, type Reason } from "./reasons.js";

/** Raised when a line of the old shape cannot be read by the new code; the report counts those that it cannot read. */
export const LINE_VERSION = 1;

export interface Line {
  id: string;
  /** When its first alert was accepted, milliseconds. */
  openedAt: number;
  /** When it was decided or ended; null while it is live. */
  endedAt: number | null;
  state: State;
  reason: Reason | null;
  rule: string | null;
  runbook: string | null;
  /** Name of the alert that the deciding rule matched. Foreign text. */
  alert: string;
  /** A plan was made. */
  planned: boolean;
  /** People were asked. */
  asked: boolean;
  /** Who said yes. */
  approved: "people" | "policy" | null;
  /** At least one effect was made. */
  wrote: boolean;
  /** Guards that held when it was last checked. */
  held: string[];
  /** When the last of its alerts had resolved; null while one fires. */
  resolvedAt: number | null;
  /** What people did where it was only observed or proposed; `due` until that is read, null elsewhere. */
  people: ShadowVerdict | "due" | null;
  /** It was read so late that the report says so. */
  late: boolean;
}

/** Reasons after which there is nothing to report: the policy says that nobody is to be told, or another incident has it. */
const UNTOLD: ReadonlySet<Reason | null> = new Set<Reason>(["ignored", "heartbeat", "unmanaged", "joined"]);

/** Null where the incident has no place in a report. */
export function lineOf(record: IncidentRecord): Line | null {
  // A storm's own record tells of others, which each have a line.
  if (UNTOLD.has(record.reason) || record.storm !== undefined) return null;
  const telling = record.alerts.find((alert) => alert.rule === record.rule) ?? record.alerts[0];
  const approvals = record.approvals.filter((one) => one.by !== "policy");
  const asked =
    record.timeline.some((entry) => entry.what === "asked") ||
    approvals.length > 0 ||
    record.reason === "expired" ||
    record.reason === "denied";
  const { shadow } = record;
  return {
    id: record.id,
    openedAt: record.openedAt,
    endedAt: isLive(record.state) ? null : record.endedAt,
    state: record.state,
    reason: record.reason,
    rule: record.rule,
    runbook: record.runbook,
    alert: inert(telling?.labels["alertname"] ?? "", 120),
    planned: record.plan !== null || record.previousPlan !== null,
    asked,
    approved:
      approvals.length > 0 && approvals.length >= record.needed
        ? "people"
        : record.approvals.some((one) => one.by === "policy")
          ? "policy"
          : null,
    wrote: record.run?.effectAt != null,
    held: holding(record),
    resolvedAt: record.resolved ? resolvedAt(record) : null,
    people: shadow === undefined ? null : (shadow.reading?.verdict ?? "due"),
    late: (shadow?.reading?.lateMs ?? 0) > 0,
  };
}

/** In a storm no guard is asked one by one: its record holds them all. */
function holding(record: IncidentRecord): string[] {
  const held = record.guards.filter((guard) => guard.holds).map((guard) => guard.guard);
  return record.joined !== null && held.length === 0 ? ["storm"] : held;
}

/** When the last alert ended as Alertmanager says; where it says nothing usable, when we heard of it. */
function resolvedAt(record: IncidentRecord): number {
  const ends = record.alerts.map((alert) => {
    const said = Date.parse(alert.endsAt ?? "");
    return said >= record.openedAt && said <= alert.lastSeen ? said : alert.lastSeen;
  });
  return Math.max(record.openedAt, ...ends);
}

/** Version, times, words and flags as one JSON array: about 150 bytes. The id stands beside it. */
export function writeLine(line: Line): string {
  const flags = Number(line.planned) + 2 * Number(line.asked) + 4 * Number(line.wrote) + 8 * Number(line.late);
  return JSON.stringify([
    LINE_VERSION,
    line.openedAt,
    line.endedAt,
    line.state,
    line.reason,
    line.rule,
    line.runbook,
    line.alert,
    flags,
    line.approved,
    line.held,
    line.resolvedAt,
    line.people,
  ]);
}

const nullable = z.string().nullable();
const stored = z.tuple([
  z.literal(LINE_VERSION),
  z.number(),
  z.number().nullable(),
  z.enum([...liveStates, ...outcomes]),
  nullable,
  nullable,
  nullable,
  z.string(),
  z.number(),
  z.enum(["people", "policy"]).nullable(),
  z.array(z.string()),
  z.number().nullable(),
  z.enum([...verdicts, "due"]).nullable(),
]);

/** Null for a line of another version, or one that is none. */
export function readLine(id: string, text: string): Line | null {
  let parts: unknown = null;
  try {
    parts = JSON.parse(text);
  } catch {
    return null;
  }
  const parsed = stored.safeParse(parts);
  if (!parsed.success) return null;
  const [, openedAt, endedAt, state, reason, rule, runbook, alert, flags, approved, held, resolved, people] =
    parsed.data;
  return {
    id,
    openedAt,
    endedAt,
    state,
    // Later versions may know more reasons: they are shown as they are.
    reason: reason as Reason | null,
    rule,
    runbook,
    alert,
    planned: (flags & 1) !== 0,
    asked: (flags & 2) !== 0,
    approved,
    wrote: (flags & 4) !== 0,
    held,
    resolvedAt: resolved,
    people,
    late: (flags & 8) !== 0,
  };
}
