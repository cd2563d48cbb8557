/** The job that follows on a change of a record: part of the composition root. */
import { type Job, JOB_VERSION } from "../queue/jobs.js";
import type { IncidentRecord } from "../record/incident.js";
import type { Nudge } from "../record/machine.js";

/** What a run reports on its way is told together after so long: people read it no later, and it does not hold the run up. */
const PROGRESS_MS = 250;

export function nudgeOf(
  incident: string,
  kind: Nudge,
  of: { record: IncidentRecord; now: number },
): { job: Job; delayMs: number } {
  const { record, now } = of;
  const v = JOB_VERSION;
  if (kind === "expire")
    return {
      job: { v, kind, incident, nonce: record.plan?.nonce ?? "" },
      delayMs: record.plan === null ? 0 : record.plan.expiresAt - now,
    };
  const onItsWay = kind === "tell" && (record.state === "approved" || record.state === "running");
  return { job: { v, kind, incident }, delayMs: onItsWay ? PROGRESS_MS : 0 };
}
