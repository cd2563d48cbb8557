/** Considers one open incident: match → resolve → diagnose → plan → guard → record. Part of the hall. */
import { redact } from "./log.js";
import { ClusterError, nameOf } from "./cluster.js";
import { messageOf, NewerError, UnavailableError } from "./errors.js";
import { leaseName, planOpKey } from "./execution/keys.js";
import type { LeaseView } from "./execution/lease.js";
import type { JobEnd } from "./execution/ports.js";
import { oneLook } from "./one-look.js";
import { needsTarget, type Opened } from "./pipeline-open.js";
import type { PipelinePorts } from "./pipeline-ports.js";
import { type Activity, type Ends, planAhead, remediate } from "./pipeline-remediate.js";
import { joinsStorm, type Storm, stormLooms, stormOf, stormWakes } from "./pipeline-storm.js";
import { decide } from "./policy/decide.js";
import { type Decision, type Rule, wakesPeople } from "./policy/policy.js";
import { type IncidentRecord, isLive } from "./record/incident.js";
import type { Event } from "./record/machine.js";
import type { Reason } from "./record/reasons.js";
import type { AnyRemedy, Diagnosis } from "./runbook.js";
import { resolveTarget } from "./target/resolve.js";

const DONE: JobEnd = { end: "done" };
const again = (inMs: number): JobEnd => ({ end: "again", inMs });
const WHO = "nightshift";
/** The Lease is held by somebody else's run: looked at again this soon. */
const LEASE_HELD_MS = 5000;
const UNAVAILABLE_MS = 2000;
/** A record past its deadline pages again this much later, while it stays undecided. */
const OVERDUE_AGAIN_MS = 15 * 60_000;

export async function considerIncident(p: PipelinePorts, incident: string): Promise<JobEnd> {
  const record = await p.records.get(incident);
  if (record === null || record.state !== "open") return DONE;
  return considerOpened(p, { record, look: oneLook(p.reader), fresh: false });
}

/** As `considerIncident`, for who has just read or written the record, and taken the look that all of it rests on. */
export async function considerOpened(p: PipelinePorts, opened: Opened): Promise<JobEnd> {
  const { record } = opened;
  const incident = record.id;
  try {
    return await considered(p, opened);
  } catch (error) {
    // Something could not be asked, or went wrong. No outcome without the Lease; a passed deadline brings a person.
    const asked = error instanceof ClusterError || error instanceof UnavailableError || error instanceof NewerError;
    if (asked) p.log.warn({ incident, error }, "could not be considered yet");
    else p.log.error({ incident, error }, "an incident could not be considered");
    if (p.clock.now() < record.deadline) return again(UNAVAILABLE_MS);
    const says = `it could not be decided in time: ${messageOf(error)}`;
    await p.transition(incident, { type: "overdue", says, deadline: p.clock.now() + OVERDUE_AGAIN_MS }, WHO);
    return again(5 * UNAVAILABLE_MS);
  }
}

async function considered(p: PipelinePorts, opened: Opened): Promise<JobEnd> {
  let { record } = opened;
  const lead = leading(p, record);
  const move = async (event: Event): Promise<JobEnd> => {
    const moved = await p.transition(record.id, event, WHO, record);
    if (moved.changed && !isLive(moved.record.state))
      p.metrics.decideSeconds.observe((p.clock.now() - record.openedAt) / 1000);
    return DONE;
  };
  const held = (reason: Reason, says: string, more: Partial<Extract<Event, { type: "held" }>> = {}) =>
    move({ type: "held", reason, says, ...more });
  const suppressed = (reason: Reason, says: string, more: Partial<Extract<Event, { type: "suppressed" }>> = {}) =>
    move({ type: "suppressed", reason, says, ...more });

  const { decision } = lead;
  // Whoever resolves the target reads it, and the plan rests on that very reading.
  const { look } = opened;
  if (needsTarget(decision) && record.target === null && decision.target !== null && !record.resolved) {
    const found = await resolveTarget(decision.target, lead.alert, look);
    if (!("target" in found)) {
      const storm = await stormOf(p, record, decision);
      if (storm !== null) return inStorm(p, record, { decision, storm, held, suppressed });
      return held(found.reason, found.says);
    }
    const other = await p.records.byTarget(`${found.target.cluster}/${found.target.uid}`);
    const there = other === null || other === record.id ? null : await p.records.get(other);
    if (there && isLive(there.state)) {
      for (const alert of record.alerts) await p.transition(there.id, { type: "firing", alert, rule: alert.rule }, WHO);
      return suppressed("joined", `${nameOf(found.target)} has the incident ${there.id}`, { joined: there.id });
    }
    const moved = await p.transition(
      record.id,
      { type: "targeted", target: found.target, rule: decision.rule?.name ?? null, runbook: decision.runbook },
      WHO,
    );
    if (!moved.changed) return DONE;
    record = moved.record;
  } else if (decision.rule?.name !== record.rule && record.target !== null) {
    const moved = await p.transition(
      record.id,
      { type: "targeted", target: record.target, rule: decision.rule?.name ?? null, runbook: decision.runbook },
      WHO,
    );
    if (!moved.changed) return DONE;
    record = moved.record;
  }

  // An outcome is recorded only after the target's Lease was read.
  const remedy = decision.runbook === null ? undefined : p.runbooks.get(decision.runbook);
  // Asked while the Lease is read: none of them waits for another.
  const activity = decision.decision === "remediate" && !record.resolved ? incidentActivity(p, record) : null;
  const looming = joinsStorm(decision, record.severity) && !record.resolved ? stormLooms(p, decision) : null;
  const subject = record;
  const reading = record.target && p.leases.read(leaseName(record.cluster, record.target.uid));
  const ends: Ends | null =
    remedy?.kind === "remedy" && activity !== null && reading !== null
      ? {
          decision,
          remedy,
          look,
          lease: reading,
          looming,
          activity,
          diagnose: (reader) => diagnose({ ...p, reader }, subject, { runbook: remedy.diagnosis, params: {} }),
          held,
          suppressed,
        }
      : null;
  // The plan is made while the Lease is read, and dropped where that decides: not in a storm, where nothing is looked at, and
  // not where it was considered before, which may be the fifth time that it waits for another run.
  const early = opened.fresh && ends !== null && looming !== null;
  const ahead = early ? looming.then(({ looms }) => (looms ? undefined : planAhead(p, subject, ends))) : null;
  for (const asked of [activity, looming, reading, ahead]) asked?.catch(() => undefined);
  if (record.target !== null) {
    const lease = await reading;
    const run = lease?.ledger.run;
    if (run?.begun && run.identity === record.identity) return move({ type: "lost" });
    if (lease && remedy?.kind === "remedy" && decision.decision === "remediate" && !record.resolved) {
      const busy = (run && run.incident !== record.id) || (await p.holderLives(lease));
      if (busy && run?.begun && (await forgotten(p, lease, run.incident)))
        return held(
          "lost-memory",
          `${run.id} was begun on ${nameOf(record.target)} and Redis forgot it: its Lease says what was done`,
        );
      if (busy)
        return p.clock.now() < record.deadline
          ? again(LEASE_HELD_MS)
          : held("lease-held", `${nameOf(record.target)} is being worked on by ${run?.id ?? lease.holder}`);
      const before = doneBefore(p, record, {
        rule: decision.rule,
        remedy,
        ops: lease.ledger.ops,
        ends: lease.ledger.ends,
      });
      if (before !== null) return held("done-before", before);
    }
  }
  if (record.resolved) return suppressed("not-active", "every alert of it had resolved before it was considered");
  if (decision.decision === "ignore") return suppressed(decision.reason ?? "ignored", decision.says);
  const storm = looming === null ? null : await stormOf(p, record, decision, looming);
  if (storm !== null) return inStorm(p, record, { decision, storm, held, suppressed });
  if (decision.decision === "escalate") return held(decision.reason ?? "escalated", decision.says);

  if (decision.decision === "diagnose" || decision.decision === "hold" || remedy?.kind !== "remedy") {
    const name = remedy?.kind === "remedy" ? remedy.diagnosis : (decision.runbook ?? "");
    const diagnosis = await diagnose(p, record, {
      runbook: name,
      params: remedy?.kind === "remedy" ? {} : decision.params,
    });
    const found = diagnosis === null ? {} : { diagnosis };
    if (decision.decision === "hold") return held(decision.reason ?? "protected", decision.says, found);
    const says = decision.says || "read only: nothing is changed";
    return wakesPeople({ severity: record.severity })
      ? held("diagnosis", says, found)
      : suppressed("diagnosis", says, found);
  }
  if (ends === null) return held("error", "a remedy without a target");
  return remediate(p, record, ends, (await ahead) ?? undefined);
}

/** Told by the storm's own message and page; nothing is looked at or planned for it. */
async function inStorm(
  p: PipelinePorts,
  record: IncidentRecord,
  of: Pick<Ends, "decision" | "held" | "suppressed"> & { storm: Storm },
): Promise<JobEnd> {
  const { decision, storm } = of;
  const joined = { joined: storm.id };
  if (decision.decision === "remediate" && decision.rule?.autonomy === "observe") {
    if (wakesPeople({ severity: record.severity })) await stormWakes(p, storm.id);
    const wouldHave = `I would have held it: ${storm.says}`;
    return of.suppressed("observed", `rule ${decision.rule.name} has autonomy observe`, { ...joined, wouldHave });
  }
  const quiet = decision.decision === "diagnose" && !wakesPeople({ severity: record.severity });
  if (quiet) return of.suppressed("storm", storm.says, joined);
  await stormWakes(p, storm.id);
  return of.held("storm", storm.says, joined);
}

/**
 * Whether nobody is left who could end a begun run. Waiting for its end would be for nothing: while this incident lives, the
 * target is its own, and the sweep cannot have the run settled.
 */
async function forgotten(p: PipelinePorts, lease: LeaseView, incident: string): Promise<boolean> {
  return !(await p.holderLives(lease)) && (await p.records.get(incident)) === null;
}

interface Lead {
  decision: Decision;
  alert: IncidentRecord["alerts"][number];
}

/** Among the firing alerts the rule that stands first wins. */
function leading(p: PipelinePorts, record: IncidentRecord): Lead {
  const policy = p.policy();
  const firing = record.alerts.filter((alert) => alert.status === "firing");
  const all = (firing.length > 0 ? firing : record.alerts).map((alert) => ({
    alert,
    decision: decide(policy, { ...alert, status: "firing" }),
  }));
  all.sort(
    (a, b) =>
      (a.decision.rule?.position ?? Number.MAX_SAFE_INTEGER) - (b.decision.rule?.position ?? Number.MAX_SAFE_INTEGER),
  );
  const [first] = all;
  if (!first) throw new Error(`incident ${record.id} holds no alert`);
  return first;
}

function doneBefore(
  p: PipelinePorts,
  record: IncidentRecord,
  of: {
    rule: Rule | null;
    remedy: AnyRemedy;
    ops: { key: string; at: string }[];
    ends: { identity: string; outcome: string; at: string }[];
  },
): string | null {
  const window = of.rule?.guards.budget.target.withinMs ?? 0;
  const recent = of.ops.filter((op) => p.clock.now() - Date.parse(op.at) < window).at(-1);
  if (recent)
    return `an operation on this target at ${recent.at} lies within the cooldown of ${Math.round(window / 60_000)} min: a person should look why it still fires`;
  const ended = of.ends.findLast((end) => end.identity === record.identity);
  if (ended) return `a run for this very alert ended as ${ended.outcome} at ${ended.at}`;
  const { plan } = record;
  return plan?.steps.some((step) => of.ops.some((op) => op.key === planOpKey(record.identity, plan, step)))
    ? "a step for this very alert is already in the target's ledger"
    : null;
}

async function diagnose(
  p: PipelinePorts,
  record: IncidentRecord,
  of: { runbook: string; params: unknown },
): Promise<Diagnosis | null> {
  const runbook = p.runbooks.get(of.runbook);
  if (runbook?.kind !== "diagnosis" || record.target === null) return null;
  try {
    return await runbook.diagnose({
      target: record.target,
      params: runbook.params.parse(of.params ?? {}),
      alerts: record.alerts,
      cluster: p.reader,
      measure: p.measure,
      probe: p.probe,
      now: p.clock.now(),
      redact,
      logLines: p.settings.logLines,
    });
  } catch (error) {
    // A diagnosis that fails never stops what follows: the person is told that there is none, and why.
    return { headline: [`no diagnosis: ${redact(messageOf(error))}`], details: [], logs: [] };
  }
}

/** Whether any firing alert of the incident is active at an Alertmanager now. */
export async function incidentActivity(p: PipelinePorts, record: IncidentRecord): Promise<Activity> {
  if (p.alertmanagers === null) return "unknown";
  let unknown = false;
  for (const alert of record.alerts) {
    if (alert.status !== "firing") continue;
    const activity = await p.alertmanagers.activity(alert.identity);
    if (activity === "active") return "active";
    if (activity === "unknown") unknown = true;
  }
  return unknown ? "unknown" : "not-active";
}
