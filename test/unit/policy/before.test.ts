import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { createBefore } from "../../../src/policy/before.js";
import { implies, parseMatcher } from "../../../src/policy/matchers.js";
import type { Matcher, Rule } from "../../../src/policy/policy.js";

describe("the rules that stand before one", () => {
  it("hold the same first shadow and the same first twin as a look at every one of them", () => {
    const matcher = fc
      .tuple(
        fc.constantFrom("alertname", "severity"),
        fc.constantFrom("=", "!=", "=~", "!~"),
        fc.constantFrom("A", "B", "A|B"),
      )
      .map(([name, op, value]) => parseMatcher(`${name}${op}"${value}"`) as Matcher);
    const rule = fc.record({ name: fc.constantFrom("r", "s", "t", "u"), match: fc.array(matcher, { maxLength: 3 }) });
    let shadows = 0;

    fc.assert(
      fc.property(fc.array(rule, { maxLength: 12 }), (drafts) => {
        const before = createBefore();
        const seen: Rule[] = [];
        for (const [position, draft] of drafts.entries()) {
          const one = { ...draft, position } as Rule;
          const every = seen.find((other) => other.match.length > 0 && implies(one.match, other.match));
          if (every !== undefined) shadows += 1;

          expect(before.mayShadow(one).find((other) => implies(one.match, other.match))).toBe(every);
          expect(before.named(one.name)).toBe(seen.find((other) => other.name === one.name));
          before.add(one);
          seen.push(one);
        }
      }),
      { numRuns: 1000 },
    );
    expect(shadows).toBeGreaterThan(100);
  });
});
