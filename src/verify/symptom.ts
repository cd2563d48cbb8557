import { type Alert, alertName } from "../alert/alert.js";
import { messageOf } from "../errors.js";
import type { Symptom } from "../runbook.js";
import {
  type Condition,
  conditionOf,
  holdsAt,
  longestWindow,
  selectorsOf,
  shortenWindows,
  statesOnly,
  type Threshold,
} from "./expression.js";
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
  const { settings } = of;
  // Four evaluations must fit into a window, or a rate has nothing to be made of.
  const expr = shortenWindows(rule.expr, Math.max(settings.windowMs, 4 * rule.everyMs));
  return ask(conditionOf(expr), { alert, rule, ...of });
}

interface Question extends Asking {
  alert: Pick<Alert, "labels">;
  rule: AlertingRule;
}

async function ask(condition: Condition, q: Question): Promise<Symptom> {
  const { name } = q.rule;
  if (condition.kind === "threshold") return pastThreshold(condition.threshold, q);
  if (condition.kind === "compared") return compared(condition, q);
  if ((await mine(condition.expr, q)).length > 0)
    return {
      state: "present",
      says: condition.kind === "absent" ? `${name}: its series is absent` : `the expression of ${name} still holds`,
    };
  if (condition.kind === "absent") return { state: "gone", says: `${name}: its series is there again` };
  if (condition.kind === "answers") return noSeries(condition.expr, q);
  return joined(condition, q);
}

/**
 * An expression of several parts that does not answer. What `and` and `unless` join is the trouble on the left, and on the
 * right what makes it worth an alert, enough traffic for instance. The trouble must be gone; the rest proves nothing.
 */
async function joined({ by, left, right }: Condition & { kind: "joined" }, q: Question): Promise<Symptom> {
  const parts = await Promise.all((by === "or" ? [left, right] : [left]).map((part) => ask(part, q)));
  const says = parts.map((part) => part.says).join("; ");
  if (parts.every((part) => part.state === "gone")) return { state: "gone", says };
  const there = parts.some((part) => part.state === "present");
  return { state: "unknown", says: there ? `${says}; only what that is joined with by \`${by}\` has changed` : says };
}

async function compared({ bool, sides }: Condition & { kind: "compared" }, q: Question): Promise<Symptom> {
  const { name } = q.rule;
  const [found = [], ...values] = await Promise.all([bool, ...sides].map((expr) => mine(expr, q)));
  if (found.length === 0) return noSeries(bool, q);
  // Whatever is compared with no number is false.
  if (values.flat().some((sample) => Number.isNaN(sample.value)))
    return { state: "unknown", says: `${name}: too little traffic, its value is not a number` };
  return found.some((sample) => sample.value !== 0)
    ? { state: "present", says: `${name}: its comparison still holds` }
    : { state: "gone", says: `${name}: its comparison no longer holds` };
}

/** Samples of the alert's own target. */
async function mine(expr: string, q: Question): Promise<Sample[]> {
  return (await q.metrics.query(expr)).filter((sample) => belongs(sample, q.alert, q.rule));
}

async function pastThreshold(threshold: Threshold, q: Question): Promise<Symptom> {
  const { rule, settings } = q;
  const found = await mine(threshold.left, q);
  const usable = found.filter((sample) => !Number.isNaN(sample.value) && settings.now - sample.at <= settings.maxAgeMs);
  if (usable.length === 0) {
    if (found.length > 0)
      return { state: "unknown", says: `${rule.name}: too little traffic, its value is not a number` };
    return noSeries(threshold.left, q);
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
async function noSeries(expr: string, q: Question): Promise<Symptom> {
  const { rule, settings } = q;
  const job = selectorsOf(expr).find((selector) => selector.job !== null)?.job ?? q.alert.labels["job"];
  if (statesOnly(expr) && job !== undefined) {
    const up = (await q.metrics.query(`up{job=${quoted(job)}}`)).filter(
      (sample) => settings.now - sample.at <= settings.maxAgeMs,
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
