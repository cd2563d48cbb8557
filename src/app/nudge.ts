/** The job that follows on a change of a record: part of the composition root. */
import type { Clock } from "../clock.js";
import { leaseName } from "../execution/keys.js";
import type { Log } from "../log.js";
import { type Job, JOB_VERSION } from "../queue/jobs.js";
import type { IncidentRecord } from "../record/incident.js";
import type { Nudge } from "../record/machine.js";
import type { TransitionPorts } from "../record/transition.js";

/** What a run reports on its way is told together after so long: people read it no later, and it does not hold the run up. */
const PROGRESS_MS = 250;
/** A message that is due later than this renders what changes until then: no second one is asked for. */
const SURELY_MS = 50;
/** Past so many incidents what is due of them is forgotten, oldest first: that costs one job more. */
const MOST = 1000;

export function createNudge(of: {
  add(job: Job, delayMs: number): Promise<void>;
  /** Whether anybody has a Slack: without one there is nothing to tell but what PagerDuty is to be told. */
  slack: boolean;
  clock: Clock;
  log: Log;
}): TransitionPorts["nudge"] {
  /** When the progress of an incident will be told, by the monotonic clock. */
  const due = new Map<string, number>();
  return async (incident, kind, record) => {
    if (kind === "tell" && !of.slack && !record.storm && record.page !== "wanted" && record.pageResolve !== "wanted")
      return;
    const { job, delayMs } = nudgeOf(incident, kind, { record, now: of.clock.now() });
    const progress = job.kind === "tell" && delayMs > 0;
    if (progress) {
      const now = of.clock.monotonic();
      if (now < (due.get(incident) ?? 0) - SURELY_MS) return;
      due.delete(incident);
      due.set(incident, now + delayMs);
      if (due.size > MOST) due.delete(due.keys().next().value ?? "");
    }
    await of.add(job, delayMs).catch((error: unknown) => {
      if (progress) due.delete(incident);
      of.log.warn({ incident, kind, error }, "a nudge was lost; the sweep repairs it");
    });
  };
}

function nudgeOf(
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
  if (kind === "carryOut" && record.target !== null)
    return { job: { v, kind, incident, lease: leaseName(record.cluster, record.target.uid) }, delayMs: 0 };
  const onItsWay = kind === "tell" && (record.state === "approved" || record.state === "running");
  return { job: { v, kind, incident }, delayMs: onItsWay ? PROGRESS_MS : 0 };
}
