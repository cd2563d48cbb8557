/**
 * The sweep: at start, each minute, on any replica, any number at once. It repairs what a lost nudge, a crash or a lost
 * Redis left behind, by looking at records, Leases and Alertmanagers. PROTOCOL section 9.
 */
import type { Alert } from "./alert/alert.js";
import { activeAlert } from "./alert/active.js";
import { nameOf } from "./cluster.js";
import { messageOf } from "./errors.js";
import { parseOutcome } from "./execution/carry-out.js";
import type { LeaseView } from "./execution/lease.js";
import { directPage } from "./notify/pager-event.js";
import type { PipelinePorts } from "./pipeline-ports.js";
import { sweepStorm } from "./pipeline-storm.js";
import { JOB_VERSION } from "./queue/jobs.js";
import { isLive, type IncidentRecord } from "./record/incident.js";
import { lostRecord } from "./record/open.js";
import { reasons } from "./record/reasons.js";

const WHO = "sweep";
/** Two group_intervals at Alertmanager's default of 5 min: an alert left alone as inactive must be gone by then. */
const STILL_FIRING_MS = 10 * 60_000;
/** A passed deadline pages again this much later while nothing changes. */
const OVERDUE_AGAIN_MS = 15 * 60_000;
/** A record younger than this has its own nudge under way. */
const GRACE_MS = 5000;
/** A run past this age without an end is a person's business, whatever it waits for. */
const RUN_OVERDUE_MS = 60 * 60_000;

export interface SweepPorts extends PipelinePorts {
  open(alerts: readonly Alert[]): Promise<void>;
  revive(): Promise<string[]>;
}

/** Whether every round succeeded. `missing` carries, from one round to the next, the alerts that no record held: a webhook may just be under way. */
export async function sweep(p: SweepPorts, missing: Set<string>): Promise<boolean> {
  const rounds: [string, () => Promise<void>][] = [
    ["records", () => sweepRecords(p)],
    ["leases", () => sweepLeases(p)],
    ["alertmanagers", () => catchUp(p, missing)],
    ["heartbeats", () => heartbeats(p)],
    ["failed jobs", () => failedJobs(p)],
  ];
  let failed = false;
  for (const [round, run] of rounds) {
    try {
      await run();
    } catch (error) {
      failed = true;
      p.log.warn({ round, error }, "a round of the sweep did not succeed");
    }
  }
  p.metrics.sweeps.inc({ result: failed ? "failed" : "ok" });
  return !failed;
}

async function sweepRecords(p: SweepPorts): Promise<void> {
  const ids = await p.records.attention();
  p.metrics.incidents.set(ids.length);
  const now = p.clock.now();
  let storms = 0;
  const asks: { age: number; overdue: number }[] = [];
  for (const id of ids) {
    try {
      const record = await p.records.get(id);
      if (record?.state === "waiting" && record.plan)
        asks.push({ age: now - record.plan.createdAt, overdue: now - record.plan.expiresAt });
      if (record?.storm && record.storm.overAt === null) storms += 1;
      if (record === null) await p.records.forget(id);
      else await sweepRecord(p, record);
    } catch (error) {
      p.log.warn({ incident: id, error }, "a record could not be swept");
    }
  }
  const most = (ms: number[]) => Math.max(0, ...ms) / 1000;
  p.metrics.storms.set(storms);
  p.metrics.asks.set(asks.length);
  p.metrics.oldestAsk.set(most(asks.map((ask) => ask.age)));
  p.metrics.askOverdue.set(most(asks.map((ask) => ask.overdue)));
}

async function sweepRecord(p: SweepPorts, record: IncidentRecord): Promise<void> {
  const now = p.clock.now();
  const nudge = (kind: "consider" | "carryOut" | "tell") => p.add({ v: JOB_VERSION, kind, incident: record.id });
  if (record.page === "wanted" || record.pageResolve === "wanted") await nudge("tell");
  if (record.storm) return sweepStorm(p, record);
  if (now - record.updatedAt < GRACE_MS) return;
  if (record.state === "open") await nudge("consider");
  if (record.state === "approved" || record.state === "running") await nudge("carryOut");
  if (record.state === "waiting" && record.plan && now >= record.plan.expiresAt) {
    await p.transition(record.id, { type: "expired", nonce: record.plan.nonce }, WHO);
  } else if (isLive(record.state) && record.state !== "waiting") {
    const due =
      record.state === "running" && record.run
        ? Math.max(record.deadline, record.run.startedAt + RUN_OVERDUE_MS)
        : record.deadline;
    if (now >= due) {
      const says = `it has been ${record.state} past its deadline of ${new Date(due).toISOString()}: a person should look`;
      await p.transition(record.id, { type: "overdue", says, deadline: now + OVERDUE_AGAIN_MS }, WHO);
    }
  }
  if (record.state === "suppressed" && p.alertmanagers && now - (record.endedAt ?? now) >= STILL_FIRING_MS) {
    let quiet = true;
    for (const alert of record.alerts) {
      const activity = await p.alertmanagers.activity(alert.identity);
      if (activity !== "not-active") quiet = false;
      if (activity !== "active") continue;
      const says = `${alert.labels["alertname"] ?? "the alert"} was left alone as no longer active, and fires`;
      await p.transition(record.id, { type: "stillFiring", says }, WHO);
      return;
    }
    if (quiet) await p.transition(record.id, { type: "settled" }, WHO);
  }
}

/** Runs that were begun and have no worker; ends that nobody was told of. A live holder's worker ends its own. */
async function sweepLeases(p: SweepPorts): Promise<void> {
  // The front may not write Leases: the hands look after them.
  if (p.engine === null) return;
  for (const lease of await p.leases.all((error) => p.log.warn({ error }, "a Lease could not be swept"))) {
    const { run } = lease.ledger;
    if (run !== null && !(await p.holderLives(lease))) {
      const record = await p.records.get(run.incident);
      const underWay = record?.state === "approved" || record?.state === "running";
      if (!run.begun && !underWay) {
        await p.leases.write(lease.name, lease, {
          holder: "",
          token: lease.token + 1,
          ledger: { ...lease.ledger, run: null },
        });
      } else if (run.begun && record !== null && !underWay) {
        await p.transition(
          record.id,
          {
            type: "orphan",
            run: run.id,
            says: `the target's Lease holds the unfinished run ${run.id}: it is being settled`,
          },
          WHO,
        );
      } else if (run.begun && record === null) await rebuild(p, lease);
    }
    await tellEnds(p, lease);
  }
}

/** A begun run whose record is gone (Redis lost it): it is rebuilt, so that the run is settled and a person is told. */
async function rebuild(p: SweepPorts, lease: LeaseView): Promise<void> {
  const { run } = lease.ledger;
  if (run === null || lease.target === null) return;
  const now = p.clock.now();
  const record = lostRecord(run, lease.target, now);
  const says = `run ${run.id} was begun and its record is gone: it is being settled from the target's Lease`;
  const audit = { at: now, incident: record.id, event: "orphan", from: "none", to: "running", who: WHO, says } as const;
  const created = await p.records.create(record, audit);
  // The alert has a record of its own by now (its end was heard of after the loss): the run is settled apart from it.
  if (!created.created && created.because === "identity") await p.records.create({ ...record, alerts: [] }, audit);
  await p.add({ v: JOB_VERSION, kind: "carryOut", incident: record.id });
}

async function tellEnds(p: SweepPorts, lease: LeaseView): Promise<void> {
  const untold = lease.ledger.ends.filter((end) => !end.told);
  if (untold.length === 0) return;
  const settled = new Set<string>();
  for (const end of untold) {
    const id = await p.records.byIdentity(end.identity);
    const record = id === null ? null : await p.records.get(id);
    if (record?.state === "approved" || record?.state === "running") continue;
    const parsed = parseOutcome(end.outcome);
    const shown =
      record !== null && (record.state === "held" ? record.page === "sent" : record.state === parsed.outcome);
    if (!shown && record?.page !== "wanted") {
      if (p.pager === null) continue;
      const target = lease.target === null ? lease.name : nameOf(lease.target);
      const words = parsed.reason === null ? "it was remediated" : reasons[parsed.reason];
      const summary = `Run ${end.run} on ${target} ended at ${end.at}: ${words}. Nightshift's record does not show it.`;
      await p.pager.send(
        directPage({ key: `nightshift/ended-run/${end.run}`, summary }, { url: p.settings.url, now: p.clock.now() }),
      );
      p.metrics.pages.inc({ result: "direct" });
    } else if (!shown) continue;
    settled.add(`${end.identity} ${end.run}`);
  }
  if (settled.size === 0) return;
  const ends = lease.ledger.ends.map((end) =>
    settled.has(`${end.identity} ${end.run}`) ? { ...end, told: true } : end,
  );
  // Somebody else may write first; the next round comes.
  await p.leases.write(lease.name, lease, {
    holder: lease.holder,
    token: lease.token,
    ledger: { ...lease.ledger, ends },
  });
}

/** Every alert that fires and that no record holds, seen twice a round apart, goes through the same door as a webhook. */
async function catchUp(p: SweepPorts, missing: Set<string>): Promise<void> {
  if (p.alertmanagers === null) return;
  const unknown: { key: string; alert: Alert }[] = [];
  for (const found of await p.alertmanagers.active()) {
    const key = `${found.fingerprint}@${Date.parse(found.startsAt)}`;
    if ((await p.records.byMillisecond(found.fingerprint, Date.parse(found.startsAt))) !== null) continue;
    unknown.push({ key, alert: activeAlert(found, p.clock.now()) });
  }
  const twice = unknown.filter(({ key }) => missing.has(key)).map(({ alert }) => alert);
  missing.clear();
  for (const { key } of unknown) missing.add(key);
  if (twice.length > 0) {
    p.log.info({ alerts: twice.length }, "alerts that fire and were not known are caught up");
    await p.open(twice);
  }
}

async function heartbeats(p: SweepPorts): Promise<void> {
  const seen = await p.facts.heartbeats();
  const now = p.clock.now();
  for (const rule of p.policy().rules) {
    if (rule.does.what !== "heartbeat") continue;
    const at = seen[rule.name];
    // The first beat starts the watch: a rule that never beat may belong to an Alertmanager that is still being set up.
    if (at === undefined || now - at <= rule.does.everyMs || p.pager === null) continue;
    const summary = `The heartbeat ${rule.name} has been silent for ${Math.round((now - at) / 60_000)} min (expected every ${Math.round(rule.does.everyMs / 60_000)} min): Prometheus or Alertmanager may be down.`;
    await p.pager.send(directPage({ key: `nightshift/heartbeat/${rule.name}`, summary }, { url: p.settings.url, now }));
  }
}

async function failedJobs(p: SweepPorts): Promise<void> {
  for (const given of await p.revive()) {
    p.log.error({ job: given }, "a job failed in three rounds");
    await p.pager
      ?.send(
        directPage(
          { key: "nightshift/failed-job", summary: `A job of Nightshift keeps failing: ${given}` },
          { url: p.settings.url, now: p.clock.now() },
        ),
      )
      .catch((error: unknown) => p.log.warn({ says: messageOf(error) }, "could not page about a failed job"));
  }
}
