/** The checker: one history in, violations out. It imports nothing of the engine, on purpose: test/contract says so. */
import { acceptedAlerts, everyAlertEnds, missingAlerts } from "./alerts.js";
import { effectsOf, fencedAndApproved, liveReads, neverBlind, onceEach, pauseHolds, withinBudget } from "./effects.js";
import type { History, Violation } from "./history.js";
import { floorHolds, inertWords, oneWriter } from "./world.js";

export interface Checked {
  violations: Violation[];
  /** Webhooks answered with 2xx, and the distinct firing alerts in them. */
  webhooks: number;
  alerts: number;
  effects: number;
  /** Accepted alerts that no incident holds. */
  lost: number;
  /** The same, where the store had been emptied or set back and nothing fires any more. */
  forgotten: number;
  /** Effects beyond the first of their kind. */
  doubled: number;
}

const rules = [
  onceEach,
  liveReads,
  fencedAndApproved,
  floorHolds,
  oneWriter,
  pauseHolds,
  everyAlertEnds,
  neverBlind,
  withinBudget,
  inertWords,
];

export function check(history: History): Checked {
  const missing = missingAlerts(history);
  const violations = rules.flatMap((rule) => rule(history));
  return {
    violations,
    webhooks: history.events.filter((e) => e.kind === "webhook" && e.answer !== null && e.answer < 300).length,
    alerts: acceptedAlerts(history).length,
    effects: effectsOf(history).length,
    lost: missing.lost.length,
    forgotten: missing.forgotten.length,
    doubled: violations.filter((v) => v.invariant === "I1").reduce((sum, v) => sum + v.trace.length - 1, 0),
  };
}
