import { systemClock } from "../../clock.js";

/** One thing that was looked at. `how` says how to mend what is not well. */
export interface Finding {
  check: string;
  level: "ok" | "warning" | "error";
  says: string;
  how: string;
}

export const ok = (check: string, says: string): Finding => ({ check, level: "ok", says, how: "" });
export const warning = (check: string, says: string, how: string): Finding => ({ check, level: "warning", says, how });
export const error = (check: string, says: string, how: string): Finding => ({ check, level: "error", says, how });

/** Two seconds of skew warn, fifteen stop: half a Lease. */
const SKEW_WARN_MS = 2000;
const SKEW_STOP_MS = 15_000;

/** Compares a clock with ours. */
export function skew(who: string, theirs: number): Finding {
  const off = Math.abs(theirs - systemClock.now());
  const says = `${Math.round(off / 100) / 10} s from ours`;
  if (off > SKEW_STOP_MS)
    return error(`clock of ${who}`, says, "synchronise the clocks (NTP): deadlines and approvals depend on them");
  return off > SKEW_WARN_MS
    ? warning(`clock of ${who}`, says, "synchronise the clocks (NTP)")
    : ok(`clock of ${who}`, says);
}
