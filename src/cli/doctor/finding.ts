import { systemClock } from "../../clock.js";
import { messageOf } from "../../errors.js";

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

/** 0 when all is well, 1 with warnings, 2 with errors. */
export function exitOf(findings: readonly Finding[]): 0 | 1 | 2 {
  if (findings.some((f) => f.level === "error")) return 2;
  return findings.some((f) => f.level === "warning") ? 1 : 0;
}

/** Each client has deadlines of its own; this one holds whatever they add up to. */
const SECTION_MS = 20_000;

/** The findings of one section; what it throws, or that it hangs, is a finding. */
export async function section(check: string, look: Promise<Finding[]>): Promise<Finding[]> {
  const late = new AbortController();
  const timeout = systemClock
    .sleep(SECTION_MS, late.signal)
    .then(() => [
      error(check, `no answer within ${SECTION_MS / 1000} s`, "it hangs: is there a firewall or a proxy in between?"),
    ]);
  try {
    return await Promise.race([look, timeout]);
  } catch (fault) {
    return [error(check, messageOf(fault), "this check itself failed: look at the message")];
  } finally {
    late.abort();
  }
}

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
