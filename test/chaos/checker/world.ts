/** What must stay true of the world whatever was written: enough pods, one writable primary, no hostile word carried on. */
import { effectsOf, isOutside, requestsOf } from "./effects.js";
import type { History, Violation } from "./history.js";

/** Ready pods never fall below the floor because of Nightshift: what a person changed since is theirs. */
export function floorHolds(history: History): Violation[] {
  const out: Violation[] = [];
  for (const { event, target } of effectsOf(history)) {
    const before = event.before?.replicas ?? null;
    const after = event.after?.replicas ?? null;
    if (before !== null && after !== null && after < before && event.op?.step.startsWith("undo:") !== true)
      out.push({
        invariant: "I4",
        says: `${event.object} ${event.name} was scaled down from ${before} to ${after}`,
        trace: [event],
      });
    if (target === null) continue;
    const had = history.events
      .filter((one) => one.kind === "ready" && one.uid === target.uid && one.at <= event.done)
      .at(-1);
    const floor = Math.min(target.floor, had?.kind === "ready" ? had.ready : 0);
    const touched = history.events.find((one) => one.kind === "human" && one.uid === target.uid && one.at > event.done);
    const fell = history.events.find(
      (one) =>
        one.kind === "ready" &&
        one.uid === target.uid &&
        one.at > event.done &&
        one.ready < floor &&
        (touched === undefined || one.at < touched.at),
    );
    if (fell !== undefined)
      out.push({
        invariant: "I4",
        says: `${target.name} fell to ${fell.kind === "ready" ? fell.ready : 0} ready pods after ${event.verb}, the floor is ${floor}`,
        trace: [event, fell],
      });
  }
  return out;
}

/** Never two writable instances of one database at a time. */
export function oneWriter(history: History): Violation[] {
  const writable = new Map<string, boolean>();
  for (const event of history.events) {
    if (event.kind !== "database") continue;
    writable.set(event.instance, event.writable);
    const writers = [...writable].filter(([, yes]) => yes).map(([name]) => name);
    if (writers.length > 1)
      return [{ invariant: "I5", says: `${writers.join(" and ")} are writable at once`, trace: [event] }];
  }
  return [];
}

/** Mentions that would ring everybody's phone. */
const MENTION = /<!(channel|here|everyone)\b|<@U|<!subteam/;

/** Nothing out of labels and annotations reaches a selector, a path, an object or a mention. */
export function inertWords(history: History): Violation[] {
  const out: Violation[] = [];
  for (const event of requestsOf(history)) {
    if (!event.bot) continue;
    const url = decodeURIComponent(event.url);
    const word = history.hostile.find(
      (one) => url.includes(one) || (isOutside(history, event) && event.body.includes(one)),
    );
    if (word !== undefined)
      out.push({
        invariant: "I10",
        says: `${event.verb} ${event.object} ${event.namespace}/${event.name} carries ${JSON.stringify(word)}`,
        trace: [event],
      });
  }
  for (const event of history.events) {
    if (event.kind !== "slack") continue;
    const mention = MENTION.exec(event.text);
    if (mention !== null)
      out.push({ invariant: "I10", says: `${event.method} mentions ${mention[0]}`, trace: [event] });
  }
  return out;
}
