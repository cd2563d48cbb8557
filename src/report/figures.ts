/** The report's figures: counts and medians over the lines of a period. Pure; the text and `--json` show the same. */
import type { Line } from "../record/line.js";
import type { Reason } from "../record/reasons.js";
import { type AlertTimes, timesOf } from "./times.js";

const WEEK_MS = 7 * 24 * 3600_000;
export const MOST_WEEKS = 52;

export type Counts = Record<string, number>;

/** What became of one rule with one runbook. Every number counts incidents. */
export interface RuleFigures {
  rule: string | null;
  runbook: string | null;
  incidents: number;
  asked: number;
  approved: number;
  approvedByPolicy: number;
  verified: number;
  failed: number;
  /** Done, and whether it was or helped could not be told. */
  cannotTell: number;
  undone: number;
  /** A person decided otherwise: said no, stopped the run, put the change back. */
  overruled: { denied: number; aborted: number; reverted: number };
  expired: number;
  /** By guard; an incident that several held counts at each. */
  heldBy: Counts;
  /** Other reasons why nothing was done, by reason. */
  notDone: Counts;
  /** Only observed or proposed, with a plan. */
  wouldHave: {
    plans: number;
    agree: number;
    differ: number;
    nothing: number;
    unknown: number;
    /** Not yet read. */
    due: number;
    /** Read late. */
    late: number;
    heldBy: Counts;
    /** People did the same although a guard would have held it. */
    agreeAlthoughHeld: number;
  };
  /** Only observed, and the runbook had no plan. */
  noPlan: { incidents: number; acted: number };
}

export interface Report {
  v: 1;
  weeks: number;
  /** RFC 3339. */
  from: string;
  to: string;
  /** Since when anything is known; null where nothing is. Later than `from`: only a part of the period is covered. */
  knownSince: string | null;
  complete: boolean;
  /** Lines of another version, which are not counted. */
  unread: number;
  incidents: { all: number; remediated: number; held: number; suppressed: number; live: number };
  rules: RuleFigures[];
  alerts: AlertTimes[];
  /** Alerts for which nothing was ever verified, and nothing planned that people did too. */
  withoutRemedy: { alert: string; incidents: number; planned: number; reasons: Counts }[];
}

export interface Period {
  weeks: number;
  from: number;
  to: number;
}

export function periodOf(weeks: number, now: number): Period {
  return { weeks, from: now - weeks * WEEK_MS, to: now };
}

export function reportOf(
  period: Period,
  found: { lines: readonly Line[]; unread: number; since: number | null },
): Report {
  const { lines, since } = found;
  const state = (name: Line["state"]) => lines.filter((line) => line.state === name).length;
  const [remediated, held, suppressed] = [state("remediated"), state("held"), state("suppressed")];
  const iso = (ms: number) => new Date(ms).toISOString();
  return {
    v: 1,
    weeks: period.weeks,
    from: iso(period.from),
    to: iso(period.to),
    knownSince: since === null ? null : iso(since),
    complete: since !== null && since <= period.from && found.unread === 0,
    unread: found.unread,
    incidents: { all: lines.length, remediated, held, suppressed, live: lines.length - remediated - held - suppressed },
    rules: [...grouped(lines, (line) => JSON.stringify([line.rule, line.runbook])).values()]
      .map(ruleFigures)
      .sort((a, b) => b.incidents - a.incidents),
    alerts: timesOf(grouped(lines, (line) => line.alert)),
    withoutRemedy: withoutRemedy(grouped(lines, (line) => line.alert)),
  };
}

const FAILED = reasonSet("verify-failed", "forbidden", "refused", "error");
const CANNOT_TELL = reasonSet("inconclusive", "cannot-tell", "lost-memory");
/** What is told elsewhere, or is no remedy that was not done. */
const ELSEWHERE = reasonSet(
  "denied",
  "expired",
  "aborted",
  "reverted",
  "undone",
  "observed",
  "proposed",
  "resolved",
  "not-active",
  "diagnosis",
  "escalated",
);

function ruleFigures(lines: readonly Line[]): RuleFigures {
  const count = (test: (line: Line) => boolean) => lines.filter(test).length;
  const because = (reason: Reason) => count((line) => line.reason === reason);
  const shadows = lines.filter((line) => line.people !== null);
  const planned = shadows.filter((line) => line.planned);
  const bare = shadows.filter((line) => !line.planned);
  const did = (what: Line["people"]) => planned.filter((line) => line.people === what).length;
  const failed = (line: Line) => line.approved !== null && line.held.length === 0 && FAILED.has(line.reason);
  return {
    rule: lines[0]?.rule ?? null,
    runbook: lines[0]?.runbook ?? null,
    incidents: lines.length,
    asked: count((line) => line.asked),
    approved: count((line) => line.approved === "people"),
    approvedByPolicy: count((line) => line.approved === "policy"),
    verified: count((line) => line.state === "remediated"),
    failed: count(failed),
    cannotTell: count((line) => CANNOT_TELL.has(line.reason)),
    undone: because("undone"),
    overruled: { denied: because("denied"), aborted: because("aborted"), reverted: because("reverted") },
    expired: because("expired"),
    heldBy: tally(
      lines
        .filter((line) => line.people === null)
        // In a storm an observed incident is neither looked at nor planned for.
        .filter((line) => line.state === "held" || line.reason === "observed" || line.reason === "storm")
        .flatMap((line) => line.held),
    ),
    notDone: tally(
      lines
        .filter((line) => line.state === "held" && line.held.length === 0 && !failed(line))
        .filter((line) => !CANNOT_TELL.has(line.reason) && !ELSEWHERE.has(line.reason))
        .map((line) => line.reason ?? "none"),
    ),
    wouldHave: {
      plans: planned.length,
      agree: did("agree"),
      differ: did("differ"),
      nothing: did("nothing"),
      unknown: did("unknown"),
      due: did("due"),
      late: planned.filter((line) => line.late).length,
      heldBy: tally(planned.flatMap((line) => line.held)),
      agreeAlthoughHeld: planned.filter((line) => line.held.length > 0 && line.people === "agree").length,
    },
    noPlan: { incidents: bare.length, acted: bare.filter((line) => line.people === "acted").length },
  };
}

function withoutRemedy(byAlert: ReadonlyMap<string, readonly Line[]>): Report["withoutRemedy"] {
  const out: Report["withoutRemedy"] = [];
  for (const [alert, lines] of byAlert) {
    // What is not over, or not yet read, may still turn out to be one.
    if (lines.some((line) => line.endedAt === null || line.people === "due")) continue;
    if (lines.some((line) => line.state === "remediated" || line.people === "agree")) continue;
    out.push({
      alert,
      incidents: lines.length,
      planned: lines.filter((line) => line.planned).length,
      reasons: tally(lines.map((line) => line.reason ?? "none")),
    });
  }
  return out.sort((a, b) => b.incidents - a.incidents);
}

function grouped(lines: readonly Line[], key: (line: Line) => string): Map<string, Line[]> {
  const out = new Map<string, Line[]>();
  for (const line of lines) {
    const group = out.get(key(line));
    if (group === undefined) out.set(key(line), [line]);
    else group.push(line);
  }
  return out;
}

/** How often each, the most frequent first. */
function tally(all: readonly string[]): Counts {
  const counts = new Map<string, number>();
  for (const one of all) counts.set(one, (counts.get(one) ?? 0) + 1);
  return Object.fromEntries([...counts].sort(([a, n], [b, m]) => m - n || (a < b ? -1 : 1)));
}

function reasonSet(...reasons: Reason[]): ReadonlySet<Reason | null> {
  return new Set<Reason | null>(reasons);
}
