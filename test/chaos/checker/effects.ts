/** What Nightshift did to the world: its accepted writes outside its own namespace, fences apart. */
import { createHash } from "node:crypto";
import type { History, RequestEvent, TargetSeen, Violation } from "./history.js";

const LIVE_READ_MS = 10_000;
const PAUSE_MS = 5_000;

export interface Effect {
  event: RequestEvent;
  target: TargetSeen | null;
  step: string;
}

export function requestsOf(history: History): RequestEvent[] {
  return history.events.filter((event) => event.kind === "request");
}

function isWrite(event: RequestEvent): boolean {
  return ["create", "update", "patch", "delete", "deletecollection"].includes(event.verb) && !event.dryRun;
}

/** A write that Nightshift sent to something that is not its own; a review of rights is a question, not a write. */
export function isOutside(history: History, event: RequestEvent): boolean {
  return event.bot && isWrite(event) && event.namespace !== history.own && !event.object.endsWith("AccessReview");
}

function changed(event: RequestEvent): boolean {
  if (event.status === null || event.status >= 300) return false;
  if (event.before === null || event.after === null) return true;
  return event.before.resourceVersion !== event.after.resourceVersion || event.subresource === "eviction";
}

export function effectsOf(history: History): Effect[] {
  return requestsOf(history)
    .filter((event) => isOutside(history, event) && !event.fence && changed(event))
    .sort((a, b) => a.done - b.done)
    .map((event) => {
      const target = targetOf(history, event);
      return { event, target, step: event.op?.step ?? (event.subresource === "eviction" ? "evict" : "unnamed") };
    });
}

/** The workload that a request is about: by UID, or for a Pod and an autoscaler by the Lease whose intent names it. */
function targetOf(history: History, event: RequestEvent): TargetSeen | null {
  const uid = event.before?.uid ?? event.after?.uid ?? "";
  const direct = history.targets.find((target) => target.uid === uid);
  if (direct !== undefined) return direct;
  const intent = leasesBefore(history, event).findLast((lease) => lease.lease?.open?.uid === uid);
  return history.targets.find((target) => target.uid === intent?.lease?.target) ?? null;
}

/** Accepted writes of Leases before `event` was applied, in the order in which they were; within a millisecond as they were seen. */
function leasesBefore(history: History, event: RequestEvent): RequestEvent[] {
  const all = requestsOf(history);
  const place = all.indexOf(event);
  const earlier = (one: RequestEvent, index: number) =>
    one.done < event.done || (one.done === event.done && index < place);
  return all
    .filter((one, index) => one.lease !== null && one.status !== null && one.status < 300 && earlier(one, index))
    .sort((a, b) => a.done - b.done);
}

const about = (event: RequestEvent) =>
  `${event.verb} ${event.object} ${event.namespace}/${event.name} with operation ${event.op?.key ?? "none"}`;

/** At most one effect per alert, step and target, over any number of deliveries, workers and crashes. */
export function onceEach(history: History): Violation[] {
  const seen = new Map<string, Effect[]>();
  for (const effect of effectsOf(history)) {
    // One target has one alert here, whatever its startsAt is called: a second effect under another one counts as well.
    const key = `${effect.target?.uid ?? effect.event.before?.uid ?? effect.event.name} ${effect.step}`;
    seen.set(key, [...(seen.get(key) ?? []), effect]);
  }
  return [...seen.values()]
    .filter((effects) => effects.length > 1)
    .map((effects) => ({
      invariant: "I1",
      says: `${effects.length} effects of step ${effects[0]?.step} on ${effects[0]?.target?.name ?? effects[0]?.event.name}, expected 1`,
      trace: effects.map((effect) => effect.event),
    }));
}

/** Each effect carries the version that a live read by Nightshift returned at most ten seconds before it was sent. */
export function liveReads(history: History): Violation[] {
  const out: Violation[] = [];
  for (const { event } of effectsOf(history)) {
    const insists = event.insists;
    const held = insists !== "" && (insists === event.before?.resourceVersion || insists === event.before?.uid);
    const reads = requestsOf(history).filter(
      (read) =>
        read.bot &&
        (read.verb === "get" || read.verb === "list") &&
        !read.cached &&
        read.at <= event.at &&
        read.object === event.object &&
        (read.after?.resourceVersion === insists || read.after?.uid === insists),
    );
    const last = reads.at(-1);
    if (!held)
      out.push({
        invariant: "I2",
        says: `${about(event)} insists on ${insists || "nothing"}, the object was at ${event.before?.resourceVersion ?? "none"}`,
        trace: [event],
      });
    else if (last === undefined || event.at - last.at > LIVE_READ_MS)
      out.push({
        invariant: "I2",
        says: `${about(event)}: no live read of that version in the ${LIVE_READ_MS / 1000} s before`,
        trace: last === undefined ? [event] : [last, event],
      });
  }
  return out;
}

/** Nobody writes without the target's Lease, nor a plan that nobody said yes to, nor on a world that changed since. */
export function fencedAndApproved(history: History): Violation[] {
  const out: Violation[] = [];
  for (const { event, target } of effectsOf(history)) {
    const uid = event.before?.uid ?? "";
    const leases = leasesBefore(history, event).filter((one) => one.lease?.target === (target?.uid ?? uid));
    const now = leases.at(-1);
    const open = now?.lease?.open ?? null;
    const intended = open !== null && open.uid === uid && (event.op === null || open.key === event.op.key);
    if (!intended)
      out.push({
        invariant: "I3",
        says: `${about(event)}: the target's Lease has no intent for it`,
        trace: now === undefined ? [event] : [now, event],
      });
    else {
      // The intent as it was made: the oldest of the writes up to now that have had it without a break.
      const since = leases.findLastIndex(
        ({ lease }) => lease?.open?.key !== open.key || lease.open.resourceVersion !== open.resourceVersion,
      );
      const first = leases[since + 1];
      // An eviction names one pod's UID: while its own intent stands, a late one takes that pod or nothing.
      const moved = first?.lease?.token !== now?.lease?.token && event.subresource !== "eviction";
      if (moved || (event.insists !== open.resourceVersion && event.insists !== uid))
        out.push({
          invariant: "I3",
          says: `${about(event)}: its Lease had gone from token ${first?.lease?.token} to ${now?.lease?.token} when it was written`,
          trace: [first, now, event].filter((one) => one !== undefined),
        });
    }
    const run = event.op?.run ?? now?.lease?.run ?? "";
    if (target?.autonomy === "approve") out.push(...approvedFor(history, { event, run, target }));
  }
  return out;
}

function approvedFor(history: History, of: { event: RequestEvent; run: string; target: TargetSeen }): Violation[] {
  const { event, run, target } = of;
  const yes = history.events.find(
    (one) => one.kind === "click" && one.answer === "approve" && one.at <= event.at && runOf(one) === run,
  );
  if (yes === undefined)
    return [
      { invariant: "I3", says: `${about(event)}: nobody said yes to run ${run || "without a name"}`, trace: [event] },
    ];
  const edited = history.events.find(
    (one) => one.kind === "human" && one.uid === target.uid && one.at > yes.at && one.at < event.done,
  );
  return edited === undefined
    ? []
    : [
        {
          invariant: "I3",
          says: `${about(event)}: ${target.name} was changed by a person after the yes and before the write`,
          trace: [yes, edited, event],
        },
      ];
}

/** The name of the run that carries out one posted plan: fixed by the protocol, reckoned here independently. */
export function runOf(click: { incident: string; nonce: string }): string {
  const hash = createHash("sha256").update(`${click.incident}\n${click.nonce}`).digest("hex");
  return `run-${hash.slice(0, 20)}`;
}

/** No effect that was sent more than five seconds after everything was paused. */
export function pauseHolds(history: History): Violation[] {
  const pauses = history.events.filter((event) => event.kind === "pause");
  const out: Violation[] = [];
  for (const { event } of effectsOf(history)) {
    const last = pauses.filter((pause) => pause.at <= event.done).at(-1);
    if (last?.on && event.done - last.at > PAUSE_MS)
      out.push({
        invariant: "I6",
        says: `${about(event)} ${((event.done - last.at) / 1000).toFixed(1)} s after everything was paused, expected none after ${PAUSE_MS / 1000} s`,
        trace: [last, event],
      });
  }
  return out;
}

/** After an answer that never came, nothing of that operation is sent again before a fence and a look. */
export function neverBlind(history: History): Violation[] {
  const out: Violation[] = [];
  const byKey = new Map<string, RequestEvent[]>();
  for (const event of requestsOf(history)) {
    if (!isOutside(history, event) || event.op === null) continue;
    byKey.set(event.op.key, [...(byKey.get(event.op.key) ?? []), event]);
  }
  for (const sent of byKey.values()) {
    sent.sort((a, b) => a.at - b.at);
    for (const [index, event] of sent.entries()) {
      const earlier = sent[index - 1];
      if (earlier === undefined) continue;
      const refused = earlier.answered && earlier.status !== null && earlier.status >= 400 && earlier.status < 500;
      // What a frozen worker sends when it wakes is no second try: its intent is gone, and it was refused.
      const woke = event.status !== null && event.status >= 400 && !isIntended(history, event);
      if (refused || woke) continue;
      const applied = earlier.status !== null && earlier.status < 300 && earlier.done <= event.at;
      const fence = requestsOf(history).find(
        (one) => one.bot && one.fence && one.name === event.name && one.at >= earlier.at && one.at <= event.at,
      );
      const look = requestsOf(history).find(
        (one) =>
          fence !== undefined &&
          one.bot &&
          one.verb === "get" &&
          one.name === event.name &&
          one.at >= fence.done &&
          one.at <= event.at,
      );
      if (applied || look === undefined)
        out.push({
          invariant: "I8",
          says: `${about(event)} was sent again ${applied ? "although it had been applied" : "without a fence and a look after an answer that never came"}`,
          trace: [earlier, ...(fence === undefined ? [] : [fence]), event],
        });
    }
  }
  return out;
}

/** Whether the Lease holds this very intent at the moment of the request. */
function isIntended(history: History, event: RequestEvent): boolean {
  const leases = leasesBefore(history, event).filter((one) => one.done <= event.at);
  const touched = leases.filter((one) => one.lease?.open?.key === event.op?.key).at(-1)?.lease?.target;
  const open = leases.filter((one) => one.lease?.target === touched).at(-1)?.lease?.open;
  return open?.key === event.op?.key && open?.resourceVersion === event.insists;
}

/** No more effects in any window of the budget's length than it allows. */
export function withinBudget(history: History): Violation[] {
  const { effects: most, withinMs } = history.budget;
  const effects = effectsOf(history);
  for (const [index, effect] of effects.entries()) {
    const window = effects.slice(index).filter((other) => other.event.done - effect.event.done <= withinMs);
    if (window.length > most)
      return [
        {
          invariant: "I9",
          says: `${window.length} effects within ${withinMs / 60_000} min, the budget allows ${most}`,
          trace: window.map((one) => one.event),
        },
      ];
  }
  return [];
}
