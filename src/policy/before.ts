import type { Rule } from "./policy.js";

/** The rules that stand before one: asked by name, so that ten thousand rules are not each held against all others. */
export interface Before {
  add(rule: Rule): void;
  /** The first rule of that name. */
  named(name: string): Rule | undefined;
  /**
   * The rules that could take everything of `rule`, in the order of the file: one that fixes the alert's name can only
   * do so to a rule that fixes the same name; one that matches nothing by itself takes nothing.
   */
  mayShadow(rule: Rule): Rule[];
}

export function createBefore(): Before {
  const byName = new Map<string, Rule>();
  const fixed = new Map<string, Rule[]>();
  const open: Rule[] = [];
  return {
    add(rule) {
      if (!byName.has(rule.name)) byName.set(rule.name, rule);
      if (rule.match.length === 0) return;
      const names = fixedNames(rule);
      // Two different names can never match; such a rule is a fault of its own, and is held against all as before.
      if (names.length !== 1) open.push(rule);
      else {
        const name = names[0] ?? "";
        const there = fixed.get(name);
        if (there === undefined) fixed.set(name, [rule]);
        else there.push(rule);
      }
    },
    named: (name) => byName.get(name),
    mayShadow(rule) {
      const same = fixedNames(rule).flatMap((name) => fixed.get(name) ?? []);
      return same.length === 0 ? open : [...same, ...open].sort((a, b) => a.position - b.position);
    },
  };
}

/** The names of alerts that a rule's matchers ask for exactly. */
function fixedNames(rule: Rule): string[] {
  return [...new Set(rule.match.filter((m) => m.name === "alertname" && m.op === "=").map((m) => m.value))];
}
