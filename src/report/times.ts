/** How long an alert lasted: until Nightshift had verified its remedy, and until it resolved without Nightshift. Pure. */
import type { Line } from "../record/line.js";

/** Both are counted from when the first alert was accepted, milliseconds. A median of none is null. */
export interface AlertTimes {
  alert: string;
  /** Until the remedy was verified; the time for which it is watched afterwards is in it. */
  verified: { incidents: number; medianMs: number | null };
  /** Until every alert of it had resolved, where Nightshift wrote nothing. */
  withoutUs: {
    incidents: number;
    medianMs: number | null;
    /** Whether people did something to the target, as far as that was read. */
    peopleActed: number;
    nothingSeen: number;
    notKnown: number;
  };
}

export function timesOf(byAlert: ReadonlyMap<string, readonly Line[]>): AlertTimes[] {
  const out: AlertTimes[] = [];
  for (const [alert, lines] of byAlert) {
    const verified = lines.filter((line) => line.state === "remediated" && line.endedAt !== null);
    const alone = lines.filter((line) => !line.wrote && line.state !== "remediated" && line.resolvedAt !== null);
    if (verified.length + alone.length === 0) continue;
    const peopleActed = alone.filter((line) => ["agree", "differ", "acted"].includes(line.people ?? "")).length;
    const nothingSeen = alone.filter((line) => line.people === "nothing").length;
    out.push({
      alert,
      verified: {
        incidents: verified.length,
        medianMs: median(verified.map((line) => (line.endedAt ?? 0) - line.openedAt)),
      },
      withoutUs: {
        incidents: alone.length,
        medianMs: median(alone.map((line) => (line.resolvedAt ?? 0) - line.openedAt)),
        peopleActed,
        nothingSeen,
        notKnown: alone.length - peopleActed - nothingSeen,
      },
    });
  }
  const size = (one: AlertTimes) => one.verified.incidents + one.withoutUs.incidents;
  return out.sort((a, b) => size(b) - size(a));
}

/** The middle one; of an even number the mean of the two in the middle. */
export function median(values: readonly number[]): number | null {
  const sorted = [...values].sort((a, b) => a - b);
  const half = Math.floor(sorted.length / 2);
  const [low, high] = [sorted[half - 1], sorted[half]];
  if (high === undefined) return null;
  return sorted.length % 2 === 1 || low === undefined ? high : (low + high) / 2;
}
