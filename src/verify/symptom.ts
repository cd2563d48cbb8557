import { type Alert, alertName } from "../alert/alert.js";
import { messageOf } from "../errors.js";
import type { Symptom } from "../runbook.js";
import { holdsAt, longestWindow, selectorsOf, shortenWindows, thresholdOf } from "./expression.js";
import type { AlertingRule, MetricsReader, Sample } from "./metrics.js";
import { quoted } from "./quoted.js";

export interface SymptomSettings {
  /** A sample older than this says nothing about now. */
  maxAgeMs: number;
  /** Windows are cut to this. */
  windowMs: number;
  now: number;
}

/** Whether the alerting rule's own expression holds for this alert's target now. What cannot be told is "unknown". */
export async function symptomOf(
  alert: Pick<Alert, "labels">,
  metrics: MetricsReader | null,
  settings: SymptomSettings,
): Promise<Symptom> {
  const name = alertName(alert);
  const unknown = (says: string): Symptom => ({ state: "unknown", says });
  if (metrics === null) return unknown("PROMETHEUS_URL is not set: nothing is known about the symptom");
  try {
    const rule = ruleFor(alert, await metrics.alertingRules(name));
    if (rule === null) return unknown(`Prometheus has no alerting rule ${name} that fits the alert`);
    return await evaluate(alert, rule, { metrics, settings });
  } catch (error) {
    return unknown(`Prometheus could not be asked: ${messageOf(error)}`);
  }
}

/** How long the alert may outlive its cause by the rule's own doing: longest window, `for` and `keep_firing_for`. */
export async function ruleWindowMs(alert: Pick<Alert, "labels">, metrics: MetricsReader | null): Promise<number> {
  if (metrics === null) return 0;
  const rule = ruleFor(alert, await metrics.alertingRules(alertName(alert)));
  return rule === null ? 0 : longestWindow(rule.expr) + rule.forMs + rule.keepFiringForMs;
}

/** Of several rules with one name, the one whose own labels the alert carries. */
function ruleFor(alert: Pick<Alert, "labels">, rules: readonly AlertingRule[]): AlertingRule | null {
  const fits = rules.filter((rule) =>
    Object.entries(rule.labels).every(([name, value]) => value.includes("{{") || alert.labels[name] === value),
  );
  return fits[0] ?? null;
}

interface Asking {
  metrics: MetricsReader;
  settings: SymptomSettings;
}

async function evaluate(alert: Pick<Alert, "labels">, rule: AlertingRule, of: Asking): Promise<Symptom> {
  const { metrics, settings } = of;
  // Four evaluations must fit into a window, or a rate has nothing to be made of.
  const expr = shortenWindows(rule.expr, Math.max(settings.windowMs, 4 * rule.everyMs));
  const threshold = thresholdOf(expr);
  if (threshold === null) {
    const mine = (await metrics.query(expr)).filter((sample) => belongs(sample, alert, rule));
    if (mine.length > 0) return { state: "present", says: `the expression of ${rule.name} still holds` };
    return absent(alert, rule, of);
  }
  const mine = (await metrics.query(threshold.left)).filter((sample) => belongs(sample, alert, rule));
  const usable = mine.filter((sample) => !Number.isNaN(sample.value) && settings.now - sample.at <= settings.maxAgeMs);
  if (usable.length === 0) {
    if (mine.length > 0)
      return { state: "unknown", says: `${rule.name}: too little traffic, its value is not a number` };
    return absent(alert, rule, of);
  }
  const value = usable.map((sample) => sample.value);
  const still = usable.some((sample) => holdsAt(sample.value, threshold));
  const says = `${rule.name}: ${value.map(short).join(", ")}, fires at ${threshold.op} ${threshold.value}`;
  return { state: still ? "present" : "gone", says };
}

/**
 * No series for the target. That says nothing, with one exception: kube-state-metrics shows a state only while it
 * lasts, so with its exporter up and fresh, the absence of a `kube_…` series is the state's end.
 */
async function absent(alert: Pick<Alert, "labels">, rule: AlertingRule, of: Asking): Promise<Symptom> {
  const selectors = selectorsOf(rule.expr);
  const job = selectors.find((selector) => selector.job !== null)?.job ?? alert.labels["job"];
  if (selectors.length > 0 && selectors.every((selector) => selector.metric.startsWith("kube_")) && job !== undefined) {
    const up = (await of.metrics.query(`up{job=${quoted(job)}}`)).filter(
      (sample) => of.settings.now - sample.at <= of.settings.maxAgeMs,
    );
    if (up.length > 0 && up.every((sample) => sample.value === 1))
      return { state: "gone", says: `${rule.name}: its series has ended while ${job} is being scraped` };
  }
  return { state: "unknown", says: `${rule.name}: no data for the target` };
}

/** A series is the alert's when no label that both carry differs; labels that the rule adds are not the series'. */
function belongs(sample: Sample, alert: Pick<Alert, "labels">, rule: AlertingRule): boolean {
  return Object.entries(sample.labels).every(
    ([name, value]) =>
      name === "__name__" || name in rule.labels || alert.labels[name] === undefined || alert.labels[name] === value,
  );
}

function short(value: number): string {
  return Number.isInteger(value) ? String(value) : value.toPrecision(3);
}
