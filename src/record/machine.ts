/**
 * The life of an incident as a pure state machine: PROTOCOL section 3, one `case` per row. A pair that is not in the
 * table changes nothing and answers why. On a lost compare-and-set the caller reads again and applies the event again.
 */
import type { Alert } from "../alert/alert.js";
import { wakesPeople } from "../policy/policy.js";
import { verdictWords } from "../shadow/shadow.js";
import type { Event, Nudge, Posted } from "./events.js";
import { type IncidentAlert, type IncidentRecord, isLive } from "./incident.js";
import { type Outcome, type Reason, reasons } from "./reasons.js";

export type { Event, Nudge } from "./events.js";

export type Change = { changed: true; record: IncidentRecord; nudges: Nudge[] } | { changed: false; why: string };

/** Applies one event at wall-clock time `now` (ms). Never mutates `record`; never touches `rev`, which the store draws. */
export function apply(record: IncidentRecord, event: Event, now: number): Change {
  const next = copyOf(record);
  const done = (...nudges: Nudge[]): Change => {
    next.updatedAt = now;
    return { changed: true, record: next, nudges };
  };
  const no = (why: string): Change => ({ changed: false, why });
  const tokenHolds = (token: number) => record.state === "running" && record.run?.token === token;

  switch (event.type) {
    case "firing": {
      const known = next.alerts.find((a) => a.identity === event.alert.identity);
      if (known) {
        known.count += 1;
        known.lastSeen = Math.max(known.lastSeen, event.alert.receivedAt);
        return done();
      }
      next.alerts.push(incidentAlert(event.alert, event.rule));
      // A new firing alert of the target means that the cause is still there, unless this incident's own end was seen.
      next.resolved = next.alerts.every((a) => a.status === "resolved");
      // The worst of its alerts is the incident's severity; one that wakes people wakes them for the ask that is open.
      if (wakesPeople(event.alert.labels) && !wakesPeople({ severity: record.severity })) {
        next.severity = event.alert.labels["severity"] ?? "";
        next.pageSeverity = "critical";
        if (record.state === "waiting" && record.page === "none") wantPage(next, "ask");
      }
      note(next, now, "joined", `${event.alert.labels["alertname"] ?? "an alert"} joined`);
      return done("tell");
    }
    case "resolved": {
      const known = next.alerts.find((a) => a.identity === event.identity);
      if (!known) return no("no such alert in this incident");
      if (known.status === "resolved") return no("already resolved");
      known.status = "resolved";
      known.endsAt = event.endsAt;
      known.lastSeen = Math.max(known.lastSeen, event.lastSeen);
      next.resolved = next.alerts.every((a) => a.status === "resolved");
      note(next, now, "resolved", `${known.labels["alertname"] ?? "the alert"} resolved`);
      if (!next.resolved) return done("tell");
      if (next.state === "open") return done("consider");
      if (next.state === "waiting" || next.state === "approved") {
        end(next, now, {
          outcome: "suppressed",
          reason: "resolved",
          says: "every alert of it resolved before anything was done",
        });
      } else if (!isLive(next.state) && next.paging === "instead" && next.page === "sent") next.pageResolve = "wanted";
      return done("tell");
    }
    case "diagnosed":
      next.diagnosis = event.diagnosis;
      return done();
    case "targeted":
      if (record.state !== "open") return no(`it is ${record.state}`);
      next.target = event.target;
      next.rule = event.rule;
      next.runbook = event.runbook;
      return done();
    case "lost":
      if (record.state !== "open") return no(`it is ${record.state}`);
      next.state = "running";
      next.lost = true;
      note(next, now, "lost", "the target's Lease holds an unfinished run of this alert: it is being settled");
      return done("carryOut");
    case "suppressed":
    case "held":
      if (record.state !== "open") return no(`it is ${record.state}`);
      if (event.type === "suppressed") next.wouldHave = event.wouldHave ?? null;
      next.handOff = event.handOff ?? null;
      next.joined = event.joined ?? null;
      next.plan = event.plan ?? null;
      next.diagnosis = event.diagnosis ?? record.diagnosis;
      if (event.guards) next.guards = event.guards;
      if (event.shadow) next.shadow = event.shadow;
      // What joined a storm is told and paged for by the storm's own record.
      end(next, now, { outcome: event.type, reason: event.reason, says: event.says, quiet: next.joined !== null });
      return done("tell");
    case "asked":
      if (record.state !== "open") return no(`it is ${record.state}`);
      post(next, event);
      next.state = "waiting";
      next.deadline = event.plan.expiresAt;
      next.needed = event.needed;
      if (event.page) wantPage(next, "ask");
      note(next, now, "asked", event.plan.sentence);
      return done("tell", "expire");
    case "decidedByPolicy":
      if (record.state !== "open") return no(`it is ${record.state}`);
      post(next, event);
      next.state = "approved";
      next.approvals = [event.approval];
      next.needed = 0;
      note(next, now, "approved", `${event.plan.sentence}: approved by the policy`);
      return done("carryOut", "tell");
    case "yes": {
      if (record.state !== "waiting") return no(alreadyDecided(record));
      if (event.approval.nonce !== record.plan?.nonce || event.approval.digest !== record.plan.digest) {
        return no("this plan is no longer known");
      }
      if (now >= record.plan.expiresAt) return no("the ask has expired");
      if (record.approvals.some((a) => a.by === event.approval.by))
        return no(`${event.approval.name} has already approved`);
      next.approvals.push(event.approval);
      note(next, now, "approval", `approved by ${event.approval.name} (${next.approvals.length} of ${next.needed})`);
      if (next.approvals.length < next.needed) return done("tell");
      next.state = "approved";
      next.deadline = now + 60_000;
      return done("carryOut", "tell");
    }
    case "no":
      if (record.state !== "waiting") return no(alreadyDecided(record));
      if (event.nonce !== record.plan?.nonce) return no("this plan is no longer known");
      end(next, now, { outcome: "held", reason: "denied", says: event.says });
      return done("tell");
    case "expired":
      if (record.state !== "waiting") return no(alreadyDecided(record));
      if (event.nonce !== record.plan?.nonce) return no("this plan is no longer known");
      if (now < record.plan.expiresAt) return no("the ask has not expired yet");
      end(next, now, {
        outcome: "held",
        reason: "expired",
        says: `nobody answered within ${minutes(record.plan.expiresAt - record.plan.createdAt)}`,
      });
      return done("tell");
    case "replan":
      // A fresh plan on a person's press. Only where nothing was done: an ask that ended so, or what a storm held.
      if (record.state !== "held" || record.storm || !["expired", "denied", "storm"].includes(record.reason ?? ""))
        return no(alreadyDecided(record));
      if (record.resolved) return no("every alert of it has resolved");
      next.state = "open";
      next.reason = null;
      next.says = "";
      next.endedAt = null;
      next.joined = null;
      next.deadline = now + 60_000;
      next.previousPlan = record.plan;
      next.plan = null;
      next.approvals = [];
      note(next, now, "replan", `a new plan was asked for by ${event.by}`);
      return done("consider", "tell");
    case "start":
      if (record.state !== "approved") return no(`it is ${record.state}`);
      if (record.resolved || !event.active) {
        end(next, now, {
          outcome: "suppressed",
          reason: "not-active",
          says: "the alert is no longer active: nothing was done",
        });
        return done("tell");
      }
      next.state = "running";
      next.run = {
        id: event.run,
        token: event.token,
        startedAt: now,
        effectAt: null,
        steps: [],
        looks: [],
        memo: null,
        abort: null,
      };
      note(next, now, "started", record.plan?.sentence ?? "started");
      return done("tell");
    case "resume":
      if (record.state !== "running") return no(`it is ${record.state}`);
      if (!next.run) return record.lost ? done() : no("it holds no run");
      if (event.token <= next.run.token) return no(`token ${event.token} is not newer than ${next.run.token}`);
      next.run.token = event.token;
      return done();
    case "stepDone":
      if (!tokenHolds(event.token) || !next.run) return no("the run belongs to somebody else by now");
      if (next.run.steps.some((s) => s.name === event.step)) return no("already noted");
      next.run.steps.push({ name: event.step, at: event.at, says: event.says });
      next.run.effectAt = event.at;
      note(next, event.at, "effect", `${event.step}: ${event.says}`);
      return done("tell");
    case "look":
      if (!tokenHolds(event.token) || !next.run) return no("the run belongs to somebody else by now");
      next.run.looks.push(event.look);
      next.run.memo = event.memo as never;
      return done("tell");
    case "changedWorld":
      if (!tokenHolds(event.token)) return no("the run belongs to somebody else by now");
      next.guards = event.guards.length > 0 ? event.guards : next.guards;
      if (next.replans >= 1) {
        end(next, now, { outcome: "held", reason: "changed-world", says: event.says });
        return done("tell");
      }
      next.replans += 1;
      next.state = "open";
      next.previousPlan = record.plan;
      next.plan = null;
      next.approvals = [];
      next.run = null;
      next.says = event.says;
      next.deadline = now + 60_000;
      note(next, now, "changed-world", event.says);
      return done("consider", "tell");
    case "stopped":
      if (!tokenHolds(event.token)) return no("the run belongs to somebody else by now");
      if (event.guards.length > 0) next.guards = event.guards;
      end(next, now, {
        outcome: event.reason === "not-active" ? "suppressed" : "held",
        reason: event.reason,
        says: event.says,
      });
      return done("tell");
    case "ended":
      if (record.state !== "running" && record.state !== "approved") return no(`it is ${record.state}`);
      end(next, now, { outcome: event.outcome, reason: event.reason, says: event.says });
      return done("tell");
    case "abort":
      if (record.state !== "running" || !next.run) return no(alreadyDecided(record));
      if (next.run.abort) return no(`${next.run.abort.by} has already asked to stop it`);
      next.run.abort = { by: event.by, at: now };
      note(next, now, "abort", `${event.by} asked to stop it: at the next safe point`);
      return done("carryOut", "tell");
    case "stillFiring":
      if (record.state !== "suppressed") return no(`it is ${record.state}`);
      end(next, now, { outcome: "held", reason: "still-firing", says: event.says });
      return done("tell");
    case "settled":
      // Looked at again and found quiet: the sweep need not come back.
      if (record.state !== "suppressed" || record.deadline === 0) return no(`it is ${record.state}`);
      next.deadline = 0;
      return done();
    case "compared":
      // Once: whoever reads a second time finds it read.
      if (!record.shadow) return no("nothing is to be compared");
      if (record.shadow.reading !== null) return no("what people did has been read");
      next.shadow = { ...record.shadow, before: null, reading: event.reading };
      note(next, now, "compared", `${verdictWords[event.reading.verdict]}: ${event.reading.says}`);
      return done("tell");
    case "stormSeen": {
      if (!record.storm || record.storm.overAt !== null) return no("it is no storm, or it is over");
      const told = record.page !== "none";
      const news = event.cause !== null && event.cause !== record.storm.cause;
      const wanted = event.page && !told;
      if (!news && !wanted && event.evidence.join("\n") === record.storm.evidence.join("\n")) return no("nothing new");
      // A cause that was found once is kept while nothing better is: what heals first must not wipe it out.
      next.storm = { ...record.storm, cause: event.cause ?? record.storm.cause, evidence: event.evidence };
      if (wanted || (told && news && record.storm.cause === null)) wantPage(next, "held");
      if (news) note(next, now, "cause", `suspected common cause: ${event.cause ?? ""}`);
      // The cause is looked for just before the storm is told of: no need to be told again.
      return wanted ? done("tell") : done();
    }
    case "stormOver":
      if (!record.storm || record.storm.overAt !== null) return no("it is no storm, or it is over");
      next.storm = { ...record.storm, overAt: now };
      if (event.resolve && record.page === "sent") next.pageResolve = "wanted";
      note(next, now, "over", event.says);
      return done("tell");
    case "memoryLost":
      // The store may be an older one: an ask in it may have been answered since. A run is settled by its Lease's ledger.
      if (record.state === "running") {
        if (record.lost) return no("it is being settled already");
        next.lost = true;
        note(next, now, "lost", event.says);
        return done("carryOut");
      }
      if (record.state !== "waiting" && record.state !== "approved") return no(`it is ${record.state}`);
      end(next, now, { outcome: "held", reason: "lost-memory", says: event.says });
      return done("tell");
    case "orphan":
      if (record.state === "approved" || record.state === "running") return no(`it is ${record.state}`);
      next.state = "running";
      next.lost = true;
      next.joined = null;
      note(next, now, "orphan", event.says);
      return done("carryOut");
    case "overdue":
      // A passed deadline pages; it never decides the outcome, because the target's Lease may say otherwise.
      if (!isLive(record.state)) return no(`it is ${record.state}`);
      if (now < record.deadline) return no("its deadline has not passed");
      next.deadline = event.deadline;
      next.says = event.says;
      wantPage(next, "held");
      note(next, now, "overdue", event.says);
      return done("tell");
    case "paged":
      if (record.page !== "wanted" || record.pageWhy !== event.why) return no("no page is wanted");
      next.page = "sent";
      note(next, now, "paged", event.why === "ask" ? "PagerDuty has the plan" : "PagerDuty was told");
      return done();
    case "pageResolved":
      if (record.pageResolve !== "wanted") return no("no resolve is wanted");
      next.pageResolve = "sent";
      return done();
    case "posted":
      next.slack = event.slack;
      return done();
  }
}

/** A copy down to whatever an event changes in place; all else is replaced whole. */
function copyOf(record: IncidentRecord): IncidentRecord {
  return {
    ...record,
    alerts: record.alerts.map((alert) => ({ ...alert })),
    approvals: [...record.approvals],
    timeline: [...record.timeline],
    run: record.run && { ...record.run, steps: [...record.run.steps], looks: [...record.run.looks] },
  };
}

/** An alert as a record keeps it. */
export function incidentAlert(alert: Alert, rule: string | null): IncidentAlert {
  return { ...alert, rule, count: 1, lastSeen: alert.receivedAt };
}

/** Whether a record needs the sweep's attention: live, a page outstanding, left alone as no longer active, or to be compared. */
export function needsAttention(record: IncidentRecord): boolean {
  return (
    isLive(record.state) ||
    record.page === "wanted" ||
    record.pageResolve === "wanted" ||
    record.shadow?.reading === null ||
    (record.storm !== undefined && record.storm.overAt === null) ||
    (record.state === "suppressed" &&
      record.deadline !== 0 &&
      (record.reason === "not-active" || record.reason === "resolved"))
  );
}

function post(next: IncidentRecord, event: Posted): void {
  next.plan = event.plan;
  next.diagnosis = event.diagnosis ?? next.diagnosis;
  next.guards = event.guards;
  next.others = event.others;
  next.approvals = [];
  next.reason = null;
  // After a changed world the sentence stays: it says why the plan before this one no longer held.
  if (next.replans === 0) next.says = "";
}

function end(
  next: IncidentRecord,
  now: number,
  how: { outcome: Outcome; reason: Reason | null; says: string; quiet?: boolean },
): void {
  next.state = how.outcome;
  next.reason = how.reason;
  next.says = how.says;
  next.endedAt = now;
  if (how.outcome === "held" && !how.quiet) wantPage(next, "held");
  if (how.outcome === "remediated" && next.paging === "instead" && next.page === "sent") next.pageResolve = "wanted";
  note(next, now, "ended", how.reason === null ? how.says : `${how.outcome}: ${reasons[how.reason]}. ${how.says}`);
}

function wantPage(next: IncidentRecord, why: "ask" | "held"): void {
  next.page = "wanted";
  next.pageWhy = why;
}

function note(next: IncidentRecord, at: number, what: string, says: string): void {
  next.timeline.push({ at, what, says });
  // A flapping alert must not grow its record without end: the oldest lines but the first go.
  if (next.timeline.length > 200) next.timeline.splice(1, next.timeline.length - 200);
}

function alreadyDecided(record: IncidentRecord): string {
  const by = record.approvals.map((a) => a.name).join(", ");
  if (record.state === "approved" || record.state === "running") return `already approved by ${by || "the policy"}`;
  if (record.state === "waiting") return "it is waiting for an answer";
  if (record.reason !== null) return `already decided: ${reasons[record.reason]}`;
  return `it is ${record.state}`;
}

function minutes(ms: number): string {
  return ms < 60_000 ? `${Math.round(ms / 1000)} s` : `${Math.round(ms / 60_000)} min`;
}
