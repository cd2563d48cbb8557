/** Every accepted alert has exactly one ending, and somebody was brought where nothing could be done. Silence is a failure. */
import { effectsOf } from "./effects.js";
import type { History, HistoryEvent, IncidentSeen, RequestEvent, TargetSeen, Violation } from "./history.js";

const OUTCOMES = ["remediated", "held", "suppressed"];

export interface Accepted {
  identity: string;
  at: number;
  event: HistoryEvent;
}

/** Firing alerts whose webhook was answered with 2xx, each once, by its first such answer. */
export function acceptedAlerts(history: History): Accepted[] {
  const out = new Map<string, Accepted>();
  for (const event of history.events) {
    if (event.kind !== "webhook" || event.answer === null || event.answer >= 300) continue;
    for (const alert of event.alerts) {
      const identity = `${alert.fingerprint}@${alert.startsAt}`;
      if (alert.status === "firing" && !out.has(identity)) out.set(identity, { identity, at: event.at, event });
    }
  }
  return [...out.values()];
}

/** The API cuts startsAt to milliseconds: the same alert caught up from there has another identity and is the same. */
export function sameAlert(a: string, b: string): boolean {
  const [fingerA = "", startA = ""] = a.split("@");
  const [fingerB = "", startB = ""] = b.split("@");
  return fingerA === fingerB && (startA === startB || Date.parse(startA) === Date.parse(startB));
}

/** Accepted alerts that no incident holds: forgotten with the store's memory, or lost. */
export function missingAlerts(history: History): { lost: Accepted[]; forgotten: Accepted[] } {
  const missing = acceptedAlerts(history).filter(({ identity }) => incidentsOf(history, identity).length === 0);
  const forgotten = missing.filter(
    ({ identity, at }) =>
      !history.end.firing.some((one) => sameAlert(one, identity)) &&
      history.events.some((event) => event.kind === "nemesis" && event.forgets && event.at >= at),
  );
  return { lost: missing.filter((one) => !forgotten.includes(one)), forgotten };
}

function incidentsOf(history: History, identity: string): IncidentSeen[] {
  return history.end.incidents.filter((incident) => incident.identities.some((one) => sameAlert(one, identity)));
}

export function everyAlertEnds(history: History): Violation[] {
  const out: Violation[] = [];
  for (const { identity, event } of missingAlerts(history).lost)
    out.push({
      invariant: "I7",
      says: `alert ${identity} was answered with 2xx and no incident holds it`,
      trace: [event],
    });
  for (const { identity, event } of acceptedAlerts(history)) {
    const open = incidentsOf(history, identity).find((incident) => !OUTCOMES.includes(incident.state));
    if (open !== undefined)
      out.push({
        invariant: "I7",
        says: `alert ${identity}: ${open.id} is ${open.state} at the end, expected an outcome`,
        trace: [event],
      });
  }
  for (const incident of history.end.incidents) out.push(...toldRightly(history, incident));
  out.push(...effectsTold(history));
  if (history.end.outstanding !== null)
    out.push({ invariant: "I7", says: `it did not come to rest: ${history.end.outstanding}`, trace: [] });
  return out;
}

function toldRightly(history: History, incident: IncidentSeen): Violation[] {
  const pages = history.events.filter((event) => event.kind === "page" && event.action === "trigger");
  const paged = (key: string) => pages.some((page) => page.kind === "page" && page.key === key);
  switch (incident.state) {
    case "held": {
      const elsewhere =
        incident.joined === null ? undefined : history.end.incidents.find((one) => one.id === incident.joined);
      if (paged(incident.dedupKey) || (elsewhere !== undefined && paged(elsewhere.dedupKey))) return [];
      return [
        {
          invariant: "I7",
          says: `${incident.id} is held (${incident.reason}) and PagerDuty never got its page: the silence is complete`,
          trace: pages.slice(-2),
        },
      ];
    }
    case "remediated": {
      const effect = effectsOf(history).find(({ target }) => target?.uid === incident.uid);
      if (effect !== undefined) return [];
      return [{ invariant: "I7", says: `${incident.id} says remediated, and nothing was ever written`, trace: [] }];
    }
    case "suppressed":
      return incident.reason === null || incident.reason === ""
        ? [{ invariant: "I7", says: `${incident.id} is suppressed without a reason`, trace: [] }]
        : [];
    default:
      return [];
  }
}

/** What was over, and told by page or message, when the store forgot it: nobody needs to hear of it again. */
function toldBeforeTheLoss(history: History, effect: RequestEvent, target: TargetSeen): boolean {
  const named = (text: string) => text.includes(`/${target.name}`);
  return (
    history.events.some((event) => event.kind === "nemesis" && event.forgets && event.at >= effect.done) &&
    history.events.some(
      (event) =>
        (event.kind === "page" && event.action === "trigger" && named(event.summary)) ||
        (event.kind === "slack" && /Remediated|A person is needed/.test(event.text) && named(event.text)),
    )
  );
}

/** What was written is told: an incident of that target that says so, or a page about the run. */
function effectsTold(history: History): Violation[] {
  const out: Violation[] = [];
  for (const { event, target } of effectsOf(history)) {
    if (target === null) {
      out.push({
        invariant: "I7",
        says: `a write to ${event.object} ${event.namespace}/${event.name} belongs to no alert`,
        trace: [event],
      });
      continue;
    }
    const told =
      history.end.incidents.some(
        (incident) => incident.uid === target.uid && (incident.state === "remediated" || incident.state === "held"),
      ) ||
      history.events.some((page) => page.kind === "page" && page.key.startsWith("nightshift/ended-run/")) ||
      toldBeforeTheLoss(history, event, target);
    if (!told && history.end.outstanding === null)
      out.push({
        invariant: "I7",
        says: `${target.name} was written to, and no incident or page says so`,
        trace: [event],
      });
  }
  return out;
}
