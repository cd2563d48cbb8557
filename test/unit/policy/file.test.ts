import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { z } from "zod";
import { FaultsError } from "../../../src/errors.js";
import { type KnownRunbook, parsePolicy } from "../../../src/policy/file.js";
import { matchesAll, parseMatcher } from "../../../src/policy/matchers.js";
import { warningsOf } from "../../../src/policy/warnings.js";

const runbooks: KnownRunbook[] = [
  { name: "rollback-deployment", kind: "remedy", risk: "A", kinds: ["Deployment"], params: z.strictObject({}) },
  { name: "fail-over", kind: "remedy", risk: "C", kinds: ["StatefulSet"], params: z.strictObject({}) },
  { name: "diagnose-pods", kind: "diagnosis", risk: null, kinds: ["Pod", "Deployment"], params: z.strictObject({}) },
];
const HEAD = "apiVersion: nightshift.dev/v1\nclusters: [{ name: c, namespaces: [n] }]\n";
const RULE =
  "  - name: a\n    match: ['alertname=\"A\"']\n    runbook: rollback-deployment\n    target: { kind: Deployment, namespace: $labels.namespace, name: $labels.deployment }\n";

function faultsOf(text: string): readonly string[] {
  try {
    parsePolicy(text, "p.yaml", runbooks);
  } catch (error) {
    if (error instanceof FaultsError) return error.faults;
    throw error;
  }
  return [];
}

describe("the policy file", () => {
  it("is read with its defaults", () => {
    const policy = parsePolicy(`${HEAD}rules:\n${RULE}`, "p.yaml", runbooks);

    expect(policy.rules[0]).toMatchObject({
      name: "a",
      autonomy: "observe",
      does: { what: "runbook", runbook: "rollback-deployment", params: {} },
    });
    expect(policy.guards.budget.target).toEqual({ count: 1, withinMs: 1_800_000 });
    expect(policy.protected).toContain("kube-system");
    expect(warningsOf(policy)).toEqual([]);
  });

  it.each([
    ["an unknown key", `${HEAD}rule: []\nrules: []\n`, /^p\.yaml:3:1: unknown key rule$/],
    [
      "an unknown key in a rule",
      `${HEAD}rules:\n${RULE}    autonomi: auto\n`,
      /^p\.yaml:8:5: unknown key rules\.0\.autonomi$/,
    ],
    [
      "an unknown runbook",
      `${HEAD}rules:\n${RULE.replace("rollback-deployment", "reboot-moon")}`,
      /^p\.yaml:6:14: rule a: no runbook reboot-moon; there are /,
    ],
    [
      "two rules of one name",
      `${HEAD}rules:\n${RULE}${RULE.replace('"A"', '"B"')}`,
      /^p\.yaml:8:11: rule a: the name is taken by the rule at line 4$/,
    ],
    [
      "a rule behind a wider one",
      `${HEAD}rules:\n${RULE.replace(`'alertname="A"'`, `'severity=~".+"'`)}${RULE.replace("name: a", "name: b").replace(`'alertname="A"'`, `'alertname="A"', 'severity="critical"'`)}`,
      /rule b can never match: rule a at line 4/,
    ],
    [
      "matchers that contradict each other",
      `${HEAD}rules:\n${RULE.replace(`'alertname="A"'`, `'alertname="A"', 'alertname="B"'`)}`,
      /rule a can never match: alertname="B" contradicts/,
    ],
    [
      "an expression that RE2 does not know",
      `${HEAD}rules:\n${RULE.replace(`'alertname="A"'`, `'alertname=~"(a"'`)}`,
      /not an RE2 expression/,
    ],
    [
      "a duration that is none",
      `${HEAD}verify: { every: often }\nrules: []\n`,
      /^p\.yaml:3:18: .*expected a duration such as 30s, 10m or 1h, found "often"$/,
    ],
    [
      "a budget beyond its bounds",
      `${HEAD}guards: { budget: { atOnce: 101 } }\nrules: []\n`,
      /expected 1 to 100, found 101/,
    ],
    [
      "a substitution other than $labels",
      `${HEAD}rules:\n${RULE.replace("$labels.deployment", "$annotations.x")}`,
      /the only substitution/,
    ],
    [
      "a target with kind and from",
      `${HEAD}rules:\n${RULE.replace("kind: Deployment", "kind: Deployment, from: service")}`,
      /expected either kind or from, found both/,
    ],
    [
      "a kind that the runbook does not act on",
      `${HEAD}rules:\n${RULE.replace("kind: Deployment", "kind: StatefulSet")}`,
      /rollback-deployment acts on Deployment, found StatefulSet/,
    ],
    [
      "a rule that does nothing",
      `${HEAD}rules:\n  - { name: a, match: ['alertname="A"'] }\n`,
      /expected one of runbook, escalate, ignore and heartbeat, found none/,
    ],
    [
      "auto for a class that may not",
      `${HEAD}rules:\n${RULE.replace("rollback-deployment", "fail-over").replace("Deployment,", "StatefulSet,")}    autonomy: auto\n`,
      /only for runbooks of risk class A/,
    ],
    ["bad params", `${HEAD}rules:\n${RULE}    params: { force: true }\n`, /rule a: params: unknown key force/],
    [
      "a namespace that is none",
      `${HEAD.replace("[n]", "[N_]")}rules: []\n`,
      /^p\.yaml:2:36: expected a namespace, found "N_"$/,
    ],
    ["a key twice", `${HEAD}rules: []\nrules: []\n`, /^p\.yaml:4:1: /],
    ["no clusters", "apiVersion: nightshift.dev/v1\nrules: []\n", /clusters: expected array, found nothing/],
  ])("refuses %s, with its place", (_what, text, expected) => {
    expect(
      faultsOf(text).some((fault) => expected.test(fault)),
      faultsOf(text).join("\n"),
    ).toBe(true);
  });

  it("lists every fault at once", () => {
    expect(faultsOf(`${HEAD}x: 1\ny: 2\nverify: { every: 1 }\nrules: []\n`).length).toBeGreaterThanOrEqual(3);
  });

  it("warns of what is weaker than the default", () => {
    const policy = parsePolicy(
      `${HEAD}guards: { budget: { target: 10/1h }, change: { deployAge: 0s } }\nrules: []\n`,
      "p.yaml",
      runbooks,
    );

    expect(warningsOf(policy).join("\n")).toMatch(
      /budget\.target is 10 in 60 min, weaker[\s\S]*change\.deployAge is 0s, weaker/,
    );
  });
});

describe("matchers", () => {
  const matches = (text: string, labels: Record<string, string>) => {
    const parsed = parseMatcher(text);
    if ("fault" in parsed) throw new Error(parsed.fault);
    return matchesAll([parsed], labels);
  };

  it.each([
    ['a="b"', { a: "b" }, true],
    ["a=b", { a: "b" }, true],
    ['a="b"', { a: "bb" }, false],
    ['a!="b"', {}, true],
    ['a=""', {}, true],
    ['a=~"b|c"', { a: "c" }, true],
    ['a=~"b|c"', { a: "xcx" }, false],
    ['a!~"b.*"', { a: "bcd" }, false],
    ['a=~".*"', {}, true],
    ['"日本"="x"', { 日本: "x" }, true],
    ['a="q\\"q"', { a: 'q"q' }, true],
    ['a=~"x.y"', { a: "x\ny" }, true],
  ])("%s on %o is %s", (text, labels, expected) => {
    expect(matches(text, labels as Record<string, string>)).toBe(expected);
  });

  it("throws nothing, whatever is written", () => {
    fc.assert(
      fc.property(fc.string(), (text) => void parseMatcher(text)),
      { numRuns: 1000 },
    );
  });

  it("does not backtrack", () => {
    // 2^40 steps for an engine that does.
    expect(matches('a=~"(x+x+)+y"', { a: "x".repeat(40) })).toBe(false);
  });
});
