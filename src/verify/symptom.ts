import { type Alert, alertName } from "../alert/alert.js";
import { messageOf } from "../errors.js";
import type { Symptom } from "../runbook.js";
import {
  type Condition,
  conditionOf,
  datedSelectors,
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

/** More selectors than this tell nothing new about how old a value is. */
const MOST_DATED = 4;
const RENAMES = /\b(label_replace|label_join|group_left|group_right)\b/;

interface Asking {
  metrics: MetricsReader;
  settings: SymptomSettings;
}

async function evaluate(alert: Pick<Alert, "labels">, rule: AlertingRule, of: Asking): Promise<Symptom> {
  const { settings } = of;
  // Four evaluations must fit into a window, or a rate has nothing to be made of.
  const expr = shortenWindows(rule.expr, Math.max(settings.windowMs, 4 * rule.everyMs));
  const q: Question = { alert, rule, ...of, empty: false };
  const seen = await ask(conditionOf(expr), q);
  if (seen.state !== "unknown" || !q.empty || expr === rule.expr) return seen;
  // What is scraped less often than that has no samples in a cut window: then as the rule asks.
  return ask(conditionOf(rule.expr), q);
}

interface Question extends Asking {
  alert: Pick<Alert, "labels">;
  rule: AlertingRule;
  /** Set where there were no series. */
  empty: boolean;
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
  if (condition.kind === "absent")
    return (await stale(condition.expr, q)) ?? { state: "gone", says: `${name}: its series is there again` };
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
  const [old, found = [], ...values] = await Promise.all([
    stale(bool, q),
    ...[bool, ...sides].map((expr) => mine(expr, q)),
  ]);
  if (found.length === 0) return noSeries(bool, q);
  if (old !== null) return old;
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
  const { rule } = q;
  const [old, found] = await Promise.all([stale(threshold.left, q), mine(threshold.left, q)]);
  if (found.length === 0) return noSeries(threshold.left, q);
  if (old !== null) return old;
  const usable = found.filter((sample) => !Number.isNaN(sample.value));
  if (usable.length === 0)
    return { state: "unknown", says: `${rule.name}: too little traffic, its value is not a number` };
  const value = usable.map((sample) => sample.value);
  const still = usable.some((sample) => holdsAt(sample.value, threshold));
  const says = `${rule.name}: ${value.map(short).join(", ")}, fires at ${threshold.op} ${threshold.value}`;
  return { state: still ? "present" : "gone", says };
}

/**
 * Why the samples behind a value are too old to tell; null where they are fresh. Prometheus dates an answer by when it was
 * asked, so how old its newest sample is must be asked for. A window holds on to a dead target's samples: the target itself
 * has none then.
 */
async function stale(expr: string, q: Question): Promise<Symptom | null> {
  const { rule, settings, alert } = q;
  const dated = datedSelectors(expr, Math.max(settings.maxAgeMs, settings.windowMs, 4 * rule.everyMs));
  if (dated.length === 0) return null;
  const by = Object.keys(alert.labels).filter((name) => /^[a-zA-Z_]\w*$/.test(name) && !(name in rule.labels));
  const found = await Promise.all(
    dated.slice(0, MOST_DATED).map((selector) => q.metrics.query(`max by (${by.join(", ")}) (timestamp(${selector}))`)),
  );
  const own = found.flat().filter((sample) => belongs(sample, alert, rule));
  // Where the expression renames labels, the series' own need not be the alert's.
  const usable = own.length === 0 && RENAMES.test(expr) ? found.flat() : own;
  const age = settings.now - Math.max(...usable.map((sample) => sample.value * 1000));
  if (age <= settings.maxAgeMs) return null;
  const newest = Number.isFinite(age) ? `the newest sample is ${Math.round(age / 1000)} s old` : "no sample is fresh";
  return {
    state: "unknown",
    says: `${rule.name}: ${newest}, expected one of the last ${settings.maxAgeMs / 1000} s`,
  };
}

/**
 * No series for the target. That says nothing, with one exception: kube-state-metrics shows a state only while it lasts,
 * so the absence of a `kube_…` series is the state's end, if its exporter was up at every scrape of the window (of its last
 * `maxAge`, if it is longer), and there were at least two of them.
 */
async function noSeries(expr: string, q: Question): Promise<Symptom> {
  const { rule, settings } = q;
  const job = selectorsOf(expr).find((selector) => selector.job !== null)?.job ?? q.alert.labels["job"];
  if (statesOnly(expr) && job !== undefined) {
    const window = longestWindow(expr);
    const seconds = Math.round(Math.min(window || settings.maxAgeMs, settings.maxAgeMs) / 1000);
    const up = `up{job=${quoted(job)}}[${seconds}s]`;
    const [least, scrapes] = await Promise.all([
      q.metrics.query(`min_over_time(${up})`),
      q.metrics.query(`count_over_time(${up})`),
    ]);
    const often = scrapes.every((sample) => sample.value >= (window === 0 ? 1 : 2));
    if (least.length > 0 && often && least.every((sample) => sample.value === 1))
      return { state: "gone", says: `${rule.name}: its series has ended while ${job} is being scraped` };
  }
  q.empty = true;
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
