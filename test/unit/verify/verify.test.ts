import { describe, expect, it } from "vitest";
import { UnavailableError } from "../../../src/errors.js";
import {
  conditionOf,
  datedSelectors,
  endCanBeTold,
  holdsAt,
  longestWindow,
  selectorsOf,
  shortenWindows,
} from "../../../src/verify/expression.js";
import type { AlertingRule, MetricsReader, Sample } from "../../../src/verify/metrics.js";
import { ruleWindowMs, symptomOf } from "../../../src/verify/symptom.js";
import { judge, type LookLine } from "../../../src/verify/verdict.js";

const NOW = 1_000_000;
const RATE =
  'sum by (namespace, service) (rate(http_requests_total{code=~"5.."}[5m])) / sum by (namespace, service) (rate(http_requests_total[5m])) > 0.05';
const GAUGE = "queue_depth > 10";
const COUNT = "increase(failures_total[1h]) > 5";
const KSM =
  'max_over_time(kube_pod_container_status_waiting_reason{reason="CrashLoopBackOff", job="kube-state-metrics"}[5m]) >= 1';

describe("expressions", () => {
  it.each([
    [RATE, ">", 0.05],
    [KSM, ">=", 1],
    ["(a > 3)", ">", 3],
    ["up == 0", "==", 0],
    ["a < 80 / 100", "<", 0.8],
    ["a > 200 * 1024 * 1024", ">", 209_715_200],
    ["a > (14.4 * (1 - 0.99))", ">", 14.4 * (1 - 0.99)],
    ["a < -1", "<", -1],
    ["# why it is so\na == 0 # and more", "==", 0],
    ["max by (x) (a > 3)", ">", 3],
  ])("%s has a threshold", (expr, op, value) => {
    expect(conditionOf(expr)).toMatchObject({ kind: "threshold", threshold: { op, value } });
  });

  it.each([
    ["a > bool 1", "answers"],
    ["nonsense((", "answers"],
    ["", "answers"],
    ["a", "answers"],
    ["sum(a)", "answers"],
    ["topk(3, a > 1)", "answers"],
    ["absent(up)", "absent"],
    ["absent_over_time(up[1h])", "absent"],
  ])("%s: %s", (expr, kind) => {
    expect(conditionOf(expr)).toEqual({ kind, expr });
  });

  it.each([
    ["a > b", "a > bool b", ["a", "b"]],
    ["a >= on (x) group_left (y) b", "a >= bool on (x) group_left (y) b", ["a", "b"]],
    ["a > on(x) 1", "a > bool on(x) 1", ["a", "1"]],
    ["(a / b) != (c)", "(a / b) != bool (c)", ["(a / b)", "(c)"]],
    ["a > 5m", "a > bool 5m", ["a", "5m"]],
  ])("%s is compared by %s", (expr, bool, sides) => {
    expect(conditionOf(expr)).toEqual({ kind: "compared", bool, sides });
  });

  it("takes apart what is joined, each as far as it goes", () => {
    expect(conditionOf("(max(a > 1) without (w) and on (x) b) or c unless d < e")).toEqual({
      kind: "joined",
      by: "or",
      expr: "(max(a > 1) without (w) and on (x) b) or c unless d < e",
      left: {
        kind: "joined",
        by: "and",
        expr: "max(a > 1) without (w) and on (x) b",
        left: { kind: "threshold", threshold: { left: "a", op: ">", value: 1 } },
        right: { kind: "answers", expr: "b" },
      },
      right: {
        kind: "joined",
        by: "unless",
        expr: "c unless d < e",
        left: { kind: "answers", expr: "c" },
        right: { kind: "compared", bool: "d < bool e", sides: ["d", "e"] },
      },
    });
  });

  it.each([
    ["a > 5", true],
    ["a > b and c", true],
    ["absent(a)", true],
    ['kube_pod_status_reason{reason="Evicted"}', true],
    ["a", false],
    ["a and b > 5", false],
    ["a > 5 or b", false],
    ["vector(1)", false],
  ])("whether the end of %s can be told: %s", (expr, told) => {
    expect(endCanBeTold(conditionOf(expr))).toBe(told);
  });

  it("leaves the windows of what counts or adds up (H29)", () => {
    const counts = "increase(a[1h]) > 5 and sum(count_over_time(b[30m])) > 2 and changes(c[10m] offset 1m) == 0";
    expect(shortenWindows(counts, 60_000)).toBe(counts);
    expect(shortenWindows("max_over_time(a[5m]) == 0 and sum(irate(b[5m] offset 1m)) > 1", 60_000)).toBe(
      "max_over_time(a[60s]) == 0 and sum(irate(b[60s] offset 1m)) > 1",
    );
  });

  it("cuts windows by the grammar, never inside a text", () => {
    expect(shortenWindows('rate(a{x="[5m]"}[5m]) + rate(b[30s])', 60_000)).toBe(
      'rate(a{x="[5m]"}[60s]) + rate(b[30s])',
    );
    expect(longestWindow(RATE)).toBe(300_000);
  });

  it.each([
    ["a > 5", ["a"]],
    ['rate(a{x="y"}[60s]) > 5', []],
    ['increase(a{x="y"}[1h]) / b offset 5m', ['a{x="y"}', "b"]],
    ["increase(a[1h]) + rate(a[30s])", []],
    ["vector(1) > 0", []],
    ["max_over_time(rate(a[30s])[1h:30s])", ["a"]],
  ])("%s looks back further than two minutes for %j", (expr, dated) => {
    expect(datedSelectors(expr, 120_000)).toEqual(dated);
  });

  it("finds the selectors with metric and job", () => {
    expect(selectorsOf(KSM)).toMatchObject([
      { metric: "kube_pod_container_status_waiting_reason", job: "kube-state-metrics" },
    ]);
  });

  it.each([
    [">", 2, true],
    [">", 1, false],
    ["<=", 1, true],
    ["!=", 1, false],
  ] as const)("%s 1 holds for %d: %s", (op, value, expected) => {
    expect(holdsAt(value, { op, value: 1 })).toBe(expected);
  });
});

function metrics(of: {
  expr?: string;
  samples?: Sample[];
  up?: number[];
  scrapes?: number;
  newest?: number | null;
  dated?: Record<string, string>;
  broken?: boolean;
  rules?: Partial<AlertingRule>[];
}): MetricsReader {
  return {
    async query(expr) {
      if (of.broken) throw new UnavailableError("X", "Prometheus answered 500");
      const up = /^(min|count)_over_time\(up\{/.exec(expr)?.[1];
      if (up === "min") return (of.up ?? []).map((value) => ({ labels: {}, value, at: NOW }));
      if (up === "count") return (of.up ?? []).map(() => ({ labels: {}, value: of.scrapes ?? 4, at: NOW }));
      if (expr.includes("(timestamp("))
        return of.newest === null ? [] : [{ labels: of.dated ?? {}, value: (of.newest ?? NOW) / 1000, at: NOW }];
      return of.samples ?? [];
    },
    async alertingRules() {
      if (of.broken) throw new UnavailableError("X", "Prometheus answered 500");
      return (of.rules ?? [{}]).map((rule) => ({
        name: "HighErrorRate",
        expr: of.expr ?? RATE,
        forMs: 60_000,
        keepFiringForMs: 0,
        labels: { severity: "critical" },
        everyMs: 15_000,
        ...rule,
      }));
    },
  };
}

const alert = {
  labels: { alertname: "HighErrorRate", namespace: "n", service: "s", severity: "critical", cluster: "c" },
};
const sample = (
  value: number,
  labels: Record<string, string> = { namespace: "n", service: "s" },
  at = NOW,
): Sample => ({ labels, value, at });
const settings = { maxAgeMs: 120_000, windowMs: 60_000, now: NOW };

describe("the symptom", () => {
  it.each([
    ["a value above the threshold", { samples: [sample(0.2)] }, "present"],
    ["a value below it", { samples: [sample(0.01)] }, "gone"],
    ["zero", { samples: [sample(0)] }, "gone"],
    ["no series at all (H16)", { samples: [] }, "unknown"],
    ["no requests: not a number (H16)", { samples: [sample(Number.NaN)] }, "unknown"],
    ["a sample of three minutes ago (H16)", { expr: GAUGE, samples: [sample(0)], newest: NOW - 180_000 }, "unknown"],
    ["one that would be trouble (G13)", { expr: GAUGE, samples: [sample(99)], newest: NOW - 180_000 }, "unknown"],
    ["a sample of a minute ago", { expr: GAUGE, samples: [sample(0)], newest: NOW - 60_000 }, "gone"],
    [
      "a count over an hour whose target died (H16)",
      { expr: COUNT, samples: [sample(2)], newest: NOW - 600_000 },
      "unknown",
    ],
    [
      "a count over an hour whose target has no sample any more (H16)",
      { expr: COUNT, samples: [sample(2)], newest: null },
      "unknown",
    ],
    [
      "a count over an hour, another target's being fresh (H16)",
      { expr: COUNT, samples: [sample(2)], dated: { service: "other" } },
      "unknown",
    ],
    [
      "a count whose labels the rule renames",
      {
        expr: 'label_replace(increase(x[1h]), "service", "$1", "app", "(.*)") > 5',
        samples: [sample(2)],
        dated: { service: "other" },
      },
      "gone",
    ],
    ["a count over an hour", { expr: COUNT, samples: [sample(2)] }, "gone"],
    ["two sides of old samples (H16)", { expr: "a > b", samples: [sample(0)], newest: NOW - 180_000 }, "unknown"],
    [
      "a series that is there again, of old (H16)",
      { expr: "absent(a)", samples: [], newest: NOW - 180_000 },
      "unknown",
    ],
    ["another service's series only", { samples: [sample(0, { namespace: "n", service: "other" })] }, "unknown"],
    ["Prometheus away (H29)", { broken: true }, "unknown"],
    ["no such rule", { rules: [] }, "unknown"],
    [
      "a rule of the name with other labels",
      { rules: [{ labels: { severity: "warning" } }], samples: [sample(0)] },
      "unknown",
    ],
    ["a state of kube-state-metrics that has ended, its exporter up", { expr: KSM, samples: [], up: [1] }, "gone"],
    ["the same, scraped too seldom to see the end (H16)", { expr: KSM, samples: [], up: [1], scrapes: 1 }, "unknown"],
    ["the same with the exporter down (H16)", { expr: KSM, samples: [], up: [0] }, "unknown"],
    ["the same with the exporter unknown (H16)", { expr: KSM, samples: [], up: [] }, "unknown"],
    ["an expression without threshold that still answers", { expr: "a and b > 2", samples: [sample(3)] }, "present"],
  ])("%s is %s", async (_what, of, state) => {
    expect((await symptomOf(alert, metrics(of as Parameters<typeof metrics>[0]), settings)).state).toBe(state);
  });

  /** What each query answers; a query that is not named answers nothing. */
  const answering = (expr: string, answers: Record<string, number[]>): MetricsReader => ({
    ...metrics({ expr }),
    query: async (asked) =>
      asked.includes("(timestamp(") ? [sample(NOW / 1000)] : (answers[asked] ?? []).map((value) => sample(value)),
  });
  const SLOW = "a > 5 and on (service) traffic > 1";

  it.each([
    ["the whole holds", SLOW, { [SLOW]: [9] }, "present"],
    ["the trouble is gone", SLOW, { a: [3], traffic: [0] }, "gone"],
    ["only the traffic is gone (H16)", SLOW, { a: [9], traffic: [0.5] }, "unknown"],
    ["the trouble has no data (H16)", SLOW, { traffic: [7] }, "unknown"],
    ["the trouble is no number (H16)", SLOW, { a: [Number.NaN], traffic: [0] }, "unknown"],
    ["an exception stands in its way", "a > 5 unless b", { a: [9], b: [1] }, "unknown"],
    ["both alternatives are gone", "a > 5 or b > 5", { a: [1], b: [1] }, "gone"],
    ["one alternative has no data (H16)", "a > 5 or b > 5", { a: [1] }, "unknown"],
    [
      "either window of a burn rate",
      "(a > 2 and b > 2) or (c > 1 and d > 1)",
      { a: [1], b: [9], c: [0], d: [9] },
      "gone",
    ],
    ["one side is larger", "a > b", { "a > bool b": [1], a: [3], b: [2] }, "present"],
    ["it no longer is", "a > b", { "a > bool b": [0], a: [1], b: [2] }, "gone"],
    ["a side is no number (H16)", "a > b / c", { "a > bool b / c": [0], a: [1], "b / c": [Number.NaN] }, "unknown"],
    ["a side has no data (H16)", "a > b", { a: [1] }, "unknown"],
    ["a series is absent", "absent(a)", { "absent(a)": [1] }, "present"],
    ["it is there again", "absent(a)", {}, "gone"],
  ])("of an expression of parts, where %s (%s)", async (_what, expr, answers, state) => {
    expect((await symptomOf(alert, answering(expr, answers as Record<string, number[]>), settings)).state).toBe(state);
  });

  it("asks as the rule does where a cut window has no samples, and is not sooner done with it (H16)", async () => {
    const expr = "rate(a[5m]) > 5";
    const seldom = (value: number) => ({
      ...metrics({ expr }),
      query: async (asked: string) =>
        asked.includes("[60s]") ? [] : [sample(asked.includes("timestamp") ? NOW / 1000 : value)],
    });

    expect((await symptomOf(alert, seldom(9), settings)).state).toBe("present");
    expect((await symptomOf(alert, seldom(3), settings)).state).toBe("gone");
    expect((await symptomOf(alert, seldom(Number.NaN), settings)).state).toBe("unknown");
  });

  it("asks of an exporter's last two minutes, however long the window is", async () => {
    const asked: string[] = [];
    const expr = 'increase(kube_pod_container_status_restarts_total{job="kube-state-metrics"}[1h]) > 5';
    const of = metrics({ expr, samples: [], up: [1] });
    const query = (one: string) => {
      asked.push(one);
      return of.query(one);
    };
    expect((await symptomOf(alert, { ...of, query }, settings)).state).toBe("gone");
    expect(asked).toContain('min_over_time(up{job="kube-state-metrics"}[120s])');
  });

  it("asks how old the samples are by the labels that the alert and its series share", async () => {
    const asked: string[] = [];
    const of = metrics({ expr: GAUGE, samples: [sample(0)] });
    const query = (expr: string) => {
      asked.push(expr);
      return of.query(expr);
    };
    await symptomOf(alert, { ...of, query }, settings);
    expect(asked).toContain("max by (alertname, namespace, service, cluster) (timestamp(queue_depth))");
  });

  it("is unknown without Prometheus", async () => {
    expect((await symptomOf(alert, null, settings)).state).toBe("unknown");
  });

  it("may outlive its cause by the rule's window, for and keep_firing_for", async () => {
    expect(await ruleWindowMs(alert, metrics({ rules: [{ keepFiringForMs: 5000 }] }))).toBe(300_000 + 60_000 + 5000);
  });
});

describe("the verdict", () => {
  const look = (world: string, symptom: string): LookLine => ({ at: 0, world, symptom, says: `${world}/${symptom}` });
  const good = look("good", "gone");
  const verdict = (looks: LookLine[], more: Partial<Parameters<typeof judge>[0]> = {}) =>
    judge({
      looks,
      settings: { samples: 4, everyMs: 30_000, bakeMs: 0 },
      now: 0,
      since: 0,
      giveUpAt: 600_000,
      active: "not-active",
      ...more,
    });

  it.each([
    ["four good looks and an alert that is over", [good, good, good, good], {}, "successful"],
    ["three", [good, good, good], {}, null],
    ["four with one bad in between", [good, good, look("waiting", "gone"), good, good], {}, null],
    [
      "four good ones while the alert still fires inside its own window",
      [good, good, good, good],
      { active: "active" },
      null,
    ],
    ["the same past that window", [good, good, good, good], { active: "active", now: 600_000 }, "failed"],
    [
      "four good ones, no Alertmanager to ask, time over",
      [good, good, good, good],
      { active: "unknown", now: 600_000 },
      "inconclusive",
    ],
    ["a world that will not come by itself", [look("bad", "unknown")], {}, "failed"],
    ["time over and the symptom there (H19)", [look("good", "present")], { now: 600_000 }, "failed"],
    ["time over and never healthy (H25)", [look("waiting", "gone")], { now: 600_000 }, "failed"],
    ["time over and no data (H16)", [look("good", "unknown")], { now: 600_000 }, "inconclusive"],
    ["time over and nothing seen (H29)", [], { now: 600_000 }, "inconclusive"],
  ] as [string, LookLine[], object, string | null][])("of %s", (_what, looks, more, expected) => {
    expect(verdict(looks, more).verdict).toBe(expected);
  });

  it("comes only after the bake, and not when it came back meanwhile (H19)", () => {
    const settings = { samples: 4, everyMs: 30_000, bakeMs: 600_000 };
    const four = [good, good, good, good];

    expect(verdict(four, { settings, now: 599_000, giveUpAt: 720_000 })).toEqual({
      verdict: null,
      againMs: 1000,
      baking: true,
    });
    expect(verdict(four, { settings, now: 600_000, giveUpAt: 720_000 }).verdict).toBe("successful");
    expect(verdict([...four, look("good", "present")], { settings, now: 720_000, giveUpAt: 720_000 }).verdict).toBe(
      "failed",
    );
    expect(verdict([...four, look("bad", "gone")], { settings, now: 300_000, giveUpAt: 720_000 }).verdict).toBe(
      "failed",
    );
  });

  it("is never successful without enough good looks (H29)", () => {
    for (const world of ["good", "waiting", "bad", "", "undefined"]) {
      for (const symptom of ["gone", "present", "unknown", "NaN"]) {
        if (world === "good" && symptom === "gone") continue;
        expect(verdict([good, good, good, look(world, symptom)], { now: 600_000 }).verdict).not.toBe("successful");
      }
    }
  });
});
