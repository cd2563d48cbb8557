import type { Matcher, Policy, Rule } from "./policy.js";

/** A rule that may match an alert of a name, with the matchers that the name alone does not settle. */
export interface Candidate {
  rule: Rule;
  rest: Matcher[];
}

/** Rules by the alert's exact name, so that ten thousand rules cost hardly more than ten. */
interface Index {
  byName: Map<string, Candidate[]>;
  /** Rules that do not fix the name. */
  any: Candidate[];
}

const indexes = new WeakMap<Policy, Index>();

/** The rules that may match an alert of this name, in the order of the file. */
export function candidates(policy: Policy, alertname: string): Candidate[] {
  let index = indexes.get(policy);
  if (index === undefined) {
    index = build(policy);
    indexes.set(policy, index);
  }
  return index.byName.get(alertname) ?? index.any;
}

function build(policy: Policy): Index {
  const named = new Map<string, Candidate[]>();
  const any: Candidate[] = [];
  // Most rules have the same one matcher left: kept once, it stays in the processor's cache.
  const once = new Map<Matcher | undefined, Matcher[]>();
  const shared = (rest: Matcher[]) => {
    if (rest.length > 1) return rest;
    const known = once.get(rest[0]) ?? rest;
    once.set(rest[0], known);
    return known;
  };
  for (const rule of policy.rules) {
    const exact = rule.match.find((m) => m.name === "alertname" && m.op === "=");
    if (exact === undefined) any.push({ rule, rest: rule.match });
    else {
      const rest = shared(rule.match.filter((m) => m !== exact));
      named.set(exact.value, [...(named.get(exact.value) ?? []), { rule, rest }]);
    }
  }
  const byName = new Map<string, Candidate[]>();
  for (const [name, rules] of named)
    byName.set(
      name,
      [...rules, ...any].sort((a, b) => a.rule.position - b.rule.position),
    );
  return { byName, any };
}
