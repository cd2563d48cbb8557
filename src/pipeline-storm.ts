/** A storm: one record, one message and one page for many incidents that begin at once. Part of the hall. */
import { nameOf } from "./cluster.js";
import { commonCause } from "./guard/common-cause.js";
import { firstToFail, isWorkload, trips, workloadOf } from "./guard/storm.js";
import type { PipelinePorts, StormFacts } from "./pipeline-ports.js";
import { type Decision, type GuardSettings, wakesPeople } from "./policy/policy.js";
import { JOB_VERSION } from "./queue/jobs.js";
import type { IncidentRecord } from "./record/incident.js";
import { stormId, stormRecord } from "./record/open.js";

const WHO = "nightshift";
/** A storm lasts this long at least, whatever the policy says: a shorter one would open anew for every alert. */
const LEAST_MS = 10_000;
/** The page waits this long for the storm to show how wide it is, so that it can name a cause. */
const GATHER_MS = 3000;
/** This many times the workloads that make a storm make a wide one. */
const WIDE = 3;
/** The message is edited at most this often, however many join. */
const TELL_EVERY_MS = 5000;

export interface Storm {
  id: string;
  says: string;
}

/** Whether there may be a storm, and by what: two questions to Redis, none to the cluster. Changes nothing. */
export async function stormLooms(p: PipelinePorts, decision: Decision): Promise<StormFacts & { looms: boolean }> {
  const { storm } = decision.rule?.guards ?? p.policy().guards;
  const [open, lately] = await Promise.all([p.facts.stormOpen(), p.facts.firing(p.clock.now() - storm.withinMs)]);
  return { looms: open !== null || lately.length >= storm.workloads, open, lately };
}

/** The storm that this incident is part of; null where there is none, or where its target is the likely cause. */
export async function stormOf(
  p: PipelinePorts,
  record: IncidentRecord,
  decision: Decision,
  looming = stormLooms(p, decision),
): Promise<Storm | null> {
  const { storm } = decision.rule?.guards ?? p.policy().guards;
  const { looms, open } = await looming;
  if (!looms) return null;
  const view = await p.storm(storm);
  if (record.target !== null && isWorkload(firstToFail(view), record.target)) return null;
  const tripped = trips(view, storm, p.clock.now());
  if (tripped === null && open === null) return null;
  return joinStorm(p, record, { storm, tripped });
}

/** Opens or keeps the storm, and lets its message tell of this incident too. Errors: UnavailableError. */
export async function joinStorm(
  p: PipelinePorts,
  record: IncidentRecord,
  of: { storm: GuardSettings["storm"]; tripped: string | null },
): Promise<Storm> {
  const going = of.tripped === null ? await p.facts.stormOpen() : null;
  const openSince = going ?? (await keep(p, of.storm));
  const id = stormId(openSince);
  if ((await p.records.get(id)) === null) await open(p, { openSince, ...of });
  await p.facts.joinStorm(id, {
    incident: record.id,
    alertname: record.alerts[0]?.labels["alertname"] ?? "",
    subject: record.target
      ? nameOf(record.target)
      : (record.named?.namespace ?? record.alerts[0]?.labels["namespace"] ?? ""),
    at: record.openedAt,
  });
  if (await p.facts.claimTelling(id, TELL_EVERY_MS)) await tellSoon(p, id, TELL_EVERY_MS);
  return { id, says: `${of.tripped ?? "a storm is going on"}: it is told together with the others, in ${id}` };
}

/** What would have woken somebody by itself wakes them by the storm's page. */
export async function stormWakes(p: PipelinePorts, id: string): Promise<void> {
  await p.transition(id, { type: "stormSeen", cause: null, evidence: [], page: true }, WHO);
}

async function open(
  p: PipelinePorts,
  of: { openSince: number; storm: GuardSettings["storm"]; tripped: string | null },
): Promise<void> {
  const now = p.clock.now();
  const tripped = of.tripped ?? "many workloads began to fail at once";
  const record = stormRecord({
    cluster: p.settings.cluster,
    openSince: of.openSince,
    tripped,
    quietMs: of.storm.quietMs,
    now,
  });
  const made = await p.records.create(record, {
    at: now,
    incident: record.id,
    event: "storm",
    from: "none",
    to: "held",
    who: WHO,
    says: tripped,
  });
  if (!made.created) return;
  p.log.warn({ storm: record.id, says: tripped }, "a storm: nothing is changed until it is over");
  await tellSoon(p, record.id, GATHER_MS);
}

function keep(p: PipelinePorts, storm: GuardSettings["storm"]): Promise<number> {
  const now = p.clock.now();
  return p.facts.keepStorm(now, now + Math.max(storm.quietMs, LEAST_MS));
}

/** How long the storm's message still waits for others to join. */
export function gathers(p: PipelinePorts, record: IncidentRecord): number {
  return record.storm && record.storm.overAt === null ? record.openedAt + GATHER_MS - p.clock.now() : 0;
}

/** Looks anew for what the storm's workloads have in common, just before it is told of. Errors: UnavailableError. */
export async function suspect(p: PipelinePorts, record: IncidentRecord): Promise<void> {
  if (!record.storm || record.storm.overAt !== null) return;
  const { withinMs, workloads } = p.policy().guards.storm;
  const firing = (await p.facts.firing(record.openedAt - withinMs)).map(workloadOf);
  const namespaces = p.policy().clusters.find((one) => one.name === p.settings.cluster)?.namespaces ?? [];
  const since = Math.min(record.openedAt, ...firing.map((one) => one.since));
  const found = await commonCause({ workloads: firing, namespaces, cluster: p.reader, since });
  // A wide storm wakes a person whatever its alerts' severity.
  await p.transition(record.id, { type: "stormSeen", ...found, page: firing.length >= WIDE * workloads }, WHO);
}

/** The sweep's part: a storm that goes on is kept and told of; one that has been quiet for long enough is over. */
export async function sweepStorm(p: PipelinePorts, record: IncidentRecord): Promise<void> {
  if (!record.storm || record.storm.overAt !== null) return;
  const { storm } = p.policy().guards;
  const now = p.clock.now();
  const mine = (since: number | null) => since !== null && stormId(since) === record.id;
  if (mine(await p.facts.stormOpen()) && trips(await p.storm(storm), storm, now) !== null) await keep(p, storm);
  if (mine(await p.facts.stormOpen())) {
    await tellSoon(p, record.id, 0);
    return;
  }
  const { members, total } = await p.facts.stormMembers(record.id);
  let firing = 0;
  for (const member of members) {
    const one = await p.records.get(member.incident);
    if (one !== null && !one.resolved) firing += 1;
  }
  const says =
    firing === 0
      ? `it is over: all ${total} incidents of it have resolved`
      : `it is over: nothing new has failed for a while; ${firing} of ${total} incidents still fire and are a person's`;
  await p.transition(
    record.id,
    { type: "stormOver", says, resolve: firing === 0 && total === members.length },
    "sweep",
  );
}

async function tellSoon(p: PipelinePorts, id: string, delayMs: number): Promise<void> {
  await p
    .add({ v: JOB_VERSION, kind: "tell", incident: id }, delayMs)
    .catch((error: unknown) => p.log.warn({ storm: id, error }, "a nudge was lost; the sweep repairs it"));
}

/** Whether this alert is told by the storm, or by itself in spite of it. */
export function joinsStorm(decision: Decision, severity: string): boolean {
  if (decision.decision === "ignore") return false;
  // What the policy sends to a person as critical may be the cause of it all: that keeps its own page.
  if (decision.decision === "escalate")
    return !(decision.rule !== null && (wakesPeople({ severity }) || decision.rule.escalate.severity === "critical"));
  return true;
}
