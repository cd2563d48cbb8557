import { RE2JS } from "re2js";
import { describe, expect, it } from "vitest";
import { parseMatcher } from "../../../src/policy/matchers.js";

const labels = ["api", "apiserver", "my-api", "rust", "api|rust", "", "API", "api\n", "\napi"];

describe("a list of plain names", () => {
  it.each(["api", "api|rust", "rust|api|api", "a_1"])("answers for %s as RE2 does", (value) => {
    const expression = RE2JS.compile(`^(?:${value})$`, RE2JS.DOTALL);
    for (const op of ["=~", "!~"]) {
      const matcher = parseMatcher(`name${op}"${value}"`);
      if ("fault" in matcher) throw new Error(matcher.fault);
      for (const label of labels) {
        expect([op, label, matcher.matches(label)]).toEqual([
          op,
          label,
          expression.matcher(label).matches() === (op === "=~"),
        ]);
      }
    }
  });

  it("is not taken for one where it is an expression", () => {
    for (const [value, label, holds] of [
      ["api.*", "api.*", true],
      ["api.", "apis", true],
      ["api|", "", true],
      ["(?i)api", "API", true],
      ["a-b|c", "a-b", true],
      ["a|b.c", "b.c", true],
      ["api", "apis", false],
    ] as const) {
      const matcher = parseMatcher(`name=~"${value}"`);
      if ("fault" in matcher) throw new Error(matcher.fault);
      expect([value, label, matcher.matches(label)]).toEqual([value, label, holds]);
    }
  });
});
