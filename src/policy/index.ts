import type { Policy, Rule } from "./policy.js";

/** Rules by the alert's exact name, so that ten thousand rules cost hardly more than ten. */
interface Index {
  byName: Map<string, Rule[]>;
  /** Rules that do not fix the name. */
  any: Rule[];
}

const indexes = new WeakMap<Policy, Index>();

/** The rules that may match an alert of this name, in the order of the file. */
export function candidates(policy: Policy, alertname: string): Rule[] {
  let index = indexes.get(policy);
  if (index === undefined) {
    index = build(policy);
    indexes.set(policy, index);
  }
  return index.byName.get(alertname) ?? index.any;
}

function build(policy: Policy): Index {
  const named = new Map<string, Rule[]>();
  const any: Rule[] = [];
  for (const rule of policy.rules) {
    const exact = rule.match.find((m) => m.name === "alertname" && m.op === "=");
    if (exact === undefined) any.push(rule);
    else named.set(exact.value, [...(named.get(exact.value) ?? []), rule]);
  }
  const byName = new Map<string, Rule[]>();
  for (const [name, rules] of named)
    byName.set(
      name,
      [...rules, ...any].sort((a, b) => a.position - b.position),
    );
  return { byName, any };
}
