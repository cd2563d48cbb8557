import { RE2JS } from "re2js";
import type { Matcher } from "./policy.js";

/** Alertmanager's matcher syntax: `name="value"` with =, !=, =~, !~; anchored; RE2, so no pattern can backtrack. */

/** What is wrong with a matcher's text. `at` is the offset in it. */
export interface MatcherFault {
  fault: string;
  at: number;
}

const SHAPE = /^\s*(?:"((?:[^"\\]|\\.)*)"|([^\s{}!=~,"'`\\]+))\s*(=~|!~|!=|=)\s*([\s\S]*)$/;

const NAMES = /^\w+(?:\|\w+)*$/;

/** Parses one matcher; a fault is a value, since a policy lists all of its faults. */
export function parseMatcher(text: string): Matcher | MatcherFault {
  const found = SHAPE.exec(text);
  if (found === null)
    return {
      fault: `expected name="value" with one of =, !=, =~, !~, found ${JSON.stringify(text.slice(0, 80))}`,
      at: 0,
    };
  const [, quotedName, bareName, op = "", rest = ""] = found;
  const at = text.length - rest.length;
  const name = quotedName === undefined ? (bareName ?? "") : unquote(quotedName);
  if (name === null) return { fault: "the label's name has an escape other than \\\\, \\\" and \\n", at: 0 };
  if (name === "") return { fault: "the label's name is empty", at: 0 };
  const value = readValue(rest.trim());
  if (value === null) return { fault: `the value is not closed or has an unknown escape: ${rest.slice(0, 80)}`, at };
  if (op === "=" || op === "!=") {
    return { name, op, value, matches: op === "=" ? (found) => found === value : (found) => found !== value };
  }
  if (NAMES.test(value)) {
    // A list of plain names, as most policies write: the same answer without compiling an expression.
    const names = new Set(value.split("|"));
    return { name, op: op as Matcher["op"], value, matches: (found) => names.has(found) === (op === "=~") };
  }
  let pattern: RE2JS;
  try {
    pattern = RE2JS.compile(`^(?:${value})$`, RE2JS.DOTALL);
  } catch (error) {
    return { fault: `not an RE2 expression: ${error instanceof Error ? error.message : String(error)}`, at };
  }
  const matches = (found: string) => pattern.matcher(found).matches();
  return { name, op: op as Matcher["op"], value, matches: op === "=~" ? matches : (found) => !matches(found) };
}

function readValue(text: string): string | null {
  if (!text.startsWith('"')) return /["{},\s]/.test(text) ? null : text;
  const inner = /^"((?:[^"\\]|\\[\s\S])*)"$/.exec(text)?.[1];
  return inner === undefined ? null : unquote(inner);
}

/** Escapes as Alertmanager has them: \\, \" and \n; any other backslash stays (it belongs to the expression). */
function unquote(text: string): string | null {
  return text.replace(/\\([\s\S])/g, (all, char: string) =>
    char === "\\" || char === '"' ? char : char === "n" ? "\n" : all,
  );
}

/** Whether every matcher holds; a missing label is the empty text. */
export function matchesAll(matchers: readonly Matcher[], labels: Readonly<Record<string, string>>): boolean {
  for (const matcher of matchers) if (!matcher.matches(labels[matcher.name] ?? "")) return false;
  return true;
}

/** Whether two matchers of one label can hold together, as far as it can be told without solving expressions. */
export function contradict(a: Matcher, b: Matcher): boolean {
  if (a.name !== b.name) return false;
  if (a.op === "=") return !b.matches(a.value);
  if (b.op === "=") return !a.matches(b.value);
  return (
    (a.op === "=~" && b.op === "!~" && a.value === b.value) || (a.op === "!~" && b.op === "=~" && a.value === b.value)
  );
}

/** Whether everything that `inner` accepts is accepted by `outer` as well, as far as it can be told. */
export function implies(inner: readonly Matcher[], outer: readonly Matcher[]): boolean {
  return outer.every((wide) =>
    inner.some((narrow) => {
      if (narrow.name !== wide.name) return false;
      if (narrow.op === wide.op && narrow.value === wide.value) return true;
      return narrow.op === "=" && wide.matches(narrow.value);
    }),
  );
}
