/** Reads PromQL by Prometheus' own grammar, never by guessing at text. */
import { parser } from "@prometheus-io/lezer-promql";
import type { SyntaxNode } from "@lezer/common";
import { durationMs } from "../policy/schema.js";

export type Comparison = ">" | "<" | ">=" | "<=" | "==" | "!=";

export interface Threshold {
  /** The expression whose value is compared. */
  left: string;
  op: Comparison;
  value: number;
}

/** Each guard and each look of a verification asks about the expressions of a few rules, again and again. */
const MOST_KNOWN = 500;

function remembered<More extends unknown[], T>(
  read: (expr: string, ...more: More) => T,
): (expr: string, ...more: More) => T {
  const known = new Map<string, T>();
  return (expr, ...more) => {
    const key = [...more, expr].join("\n");
    const there = known.get(key);
    if (there !== undefined) return there;
    const found = read(expr, ...more);
    known.set(key, found);
    if (known.size > MOST_KNOWN) known.delete(known.keys().next().value ?? "");
    return found;
  };
}

const COMPARISONS: Record<string, Comparison> = { Gtr: ">", Lss: "<", Gte: ">=", Lte: "<=", Eql: "==", Neq: "!=" };

/**
 * What an alerting rule asks, taken apart as far as each part can be asked for by itself. An expression that does not hold
 * answers nothing, and so does one without data: only its parts tell the two apart.
 */
export type Condition =
  /** A vector against a number: its values can be seen. */
  | { kind: "threshold"; threshold: Threshold }
  /** A vector against a vector: `bool` answers 0 or 1 wherever both sides have data. */
  | { kind: "compared"; bool: string; sides: string[] }
  /** `and`, `or`, `unless`. */
  | { kind: "joined"; by: "and" | "or" | "unless"; expr: string; left: Condition; right: Condition }
  /** Answers while there is no series. */
  | { kind: "absent"; expr: string }
  /** Anything else holds while it answers. */
  | { kind: "answers"; expr: string };

export const conditionOf = remembered((expr: string): Condition => {
  const node = firstOf(parser.parse(expr).topNode);
  return node === null ? { kind: "answers", expr } : partOf(node, expr);
});

/** Whether its end can be told from missing data: where it cannot, every verification ends inconclusive. */
export function endCanBeTold(condition: Condition): boolean {
  if (condition.kind === "joined")
    return endCanBeTold(condition.left) && (condition.by !== "or" || endCanBeTold(condition.right));
  return condition.kind !== "answers" || statesOnly(condition.expr);
}

/** Whether all its series are states of kube-state-metrics, which are there only while they last. */
export function statesOnly(expr: string): boolean {
  const selectors = selectorsOf(expr);
  return selectors.length > 0 && selectors.every((selector) => selector.metric.startsWith("kube_"));
}

/** Functions that keep whatever an aggregation is made over: they answer exactly where their argument does. */
const KEEPS = /^(Max|Min|Sum|Avg|Group|Count)$/;

function partOf(node: SyntaxNode, expr: string): Condition {
  const text = (of: SyntaxNode) => expr.slice(of.from, of.to);
  const whole: Condition = { kind: "answers", expr: text(node) };
  if (node.name === "ParenExpr") {
    const inside = firstOf(node);
    return inside === null ? whole : partOf(inside, expr);
  }
  if (node.name === "FunctionCall")
    return /^absent(_over_time)?\s*\(/.test(text(node)) ? { kind: "absent", expr: text(node) } : whole;
  if (node.name === "AggregateExpr") {
    const body = node.getChild("FunctionCallBody");
    const [only, ...others] = body === null ? [] : childrenOf(body);
    if (only === undefined || others.length > 0 || !KEEPS.test(firstOf(firstOf(node) ?? node)?.name ?? ""))
      return whole;
    const inside = partOf(only, expr);
    return inside.kind === "answers" ? whole : inside;
  }
  if (node.name !== "BinaryExpr") return whole;
  const [left, operator, ...rest] = childrenOf(node);
  const right = rest.at(-1);
  if (left === undefined || operator === undefined || right === undefined) return whole;
  const set = SETS[operator.name];
  if (set !== undefined)
    return { kind: "joined", by: set, expr: text(node), left: partOf(left, expr), right: partOf(right, expr) };
  const op = COMPARISONS[operator.name];
  if (op === undefined || rest.some((child) => child.name === "BoolModifier")) return whole;
  const value = rest.length === 1 ? constantOf(right, expr) : null;
  if (value !== null) return { kind: "threshold", threshold: { left: text(left), op, value } };
  const bool = `${expr.slice(node.from, operator.to)} bool${expr.slice(operator.to, node.to)}`;
  return { kind: "compared", bool, sides: [text(left), text(right)] };
}

const SETS: Record<string, "and" | "or" | "unless"> = { And: "and", Or: "or", Unless: "unless" };

/** The value of an expression of nothing but numbers; null for any other. */
function constantOf(node: SyntaxNode, expr: string): number | null {
  if (node.name === "NumberDurationLiteral") {
    const text = expr.slice(node.from, node.to);
    return /^[-+]?(\d+(\.\d*)?|\.\d+)([eE][-+]?\d+)?$/.test(text) ? Number(text) : null;
  }
  const parts = childrenOf(node);
  if (node.name === "ParenExpr") return parts[0] === undefined ? null : constantOf(parts[0], expr);
  const [first, second, third] = parts;
  if (node.name === "UnaryExpr" && first !== undefined && second !== undefined) {
    const value = constantOf(second, expr);
    return value === null ? null : first.name === "Sub" ? -value : value;
  }
  if (node.name !== "BinaryExpr" || first === undefined || second === undefined || third === undefined) return null;
  const [left, right] = [constantOf(first, expr), constantOf(third, expr)];
  const reckon = ARITHMETIC[second.name];
  return left === null || right === null || reckon === undefined ? null : reckon(left, right);
}

const ARITHMETIC: Record<string, (a: number, b: number) => number> = {
  Add: (a, b) => a + b,
  Sub: (a, b) => a - b,
  Mul: (a, b) => a * b,
  Div: (a, b) => a / b,
};

export function holdsAt(value: number, threshold: Pick<Threshold, "op" | "value">): boolean {
  const { op, value: limit } = threshold;
  if (op === ">") return value > limit;
  if (op === ">=") return value >= limit;
  if (op === "<") return value < limit;
  if (op === "<=") return value <= limit;
  return op === "==" ? value === limit : value !== limit;
}

/** Functions whose answer over a shorter window means the same: not those that count or add up what is in it. */
const SAME_OVER_LESS = /^(rate|irate|(avg|max|min|last|quantile)_over_time)$/;

/**
 * Range windows longer than `mostMs` cut to it, so that the past does not outlive its cause. Where the threshold is about
 * as much as a window holds (`increase`, `count_over_time`, …) the window stays, and so do subqueries.
 */
export const shortenWindows = remembered((expr: string, mostMs: number): string => {
  const cuts: { from: number; to: number }[] = [];
  parser.parse(expr).iterate({
    enter(node) {
      if (node.name !== "MatrixSelector" || !SAME_OVER_LESS.test(functionOver(node.node, expr))) return;
      const duration =
        node.node.lastChild?.name === "NumberDurationLiteralInDurationContext"
          ? node.node.lastChild
          : lastDuration(node.node);
      if (duration === null) return;
      const ms = durationMs(expr.slice(duration.from, duration.to));
      if (ms !== null && ms > mostMs) cuts.push({ from: duration.from, to: duration.to });
    },
  });
  let out = expr;
  for (const cut of cuts.sort((a, b) => b.from - a.from))
    out = `${out.slice(0, cut.from)}${Math.round(mostMs / 1000)}s${out.slice(cut.to)}`;
  return out;
});

/** The longest range window, milliseconds; 0 where there is none. */
export const longestWindow = remembered((expr: string): number => {
  let longest = 0;
  parser.parse(expr).iterate({
    enter(node) {
      if (node.name !== "MatrixSelector") return;
      const duration = lastDuration(node.node);
      const ms = duration === null ? null : durationMs(expr.slice(duration.from, duration.to));
      if (ms !== null) longest = Math.max(longest, ms);
    },
  });
  return longest;
});

/** Every plain selector with its metric's name and its `job` matcher. */
export function selectorsOf(expr: string): { text: string; metric: string; job: string | null }[] {
  const found: { text: string; metric: string; job: string | null }[] = [];
  parser.parse(expr).iterate({
    enter(node) {
      if (node.name !== "VectorSelector") return;
      const text = expr.slice(node.from, node.to);
      const metric = /^[a-zA-Z_:][\w:]*/.exec(text)?.[0] ?? "";
      const job = /[{,]\s*job\s*=\s*"((?:[^"\\]|\\.)*)"/.exec(text)?.[1] ?? null;
      found.push({ text, metric, job });
    },
  });
  return found;
}

/**
 * Selectors whose samples may be older than `mostMs` and still count: alone (five minutes of looking back), or in a window
 * that is longer. None where one selector's window is short enough: what it adds to the value is fresh.
 */
export const datedSelectors = remembered((expr: string, mostMs: number): string[] => {
  const dated = new Set<string>();
  let fresh = false;
  parser.parse(expr).iterate({
    enter(node) {
      if (node.name !== "VectorSelector") return;
      const window = node.node.parent?.name === "MatrixSelector" ? node.node.parent : null;
      const duration = window === null ? null : lastDuration(window);
      const ms = duration === null ? null : durationMs(expr.slice(duration.from, duration.to));
      if (ms !== null && ms <= mostMs && !within(node.node, "SubqueryExpr")) fresh = true;
      else dated.add(expr.slice(node.from, node.to));
    },
  });
  return fresh ? [] : [...dated];
});

function lastDuration(node: SyntaxNode): SyntaxNode | null {
  let last: SyntaxNode | null = null;
  for (const child of childrenOf(node)) if (/Duration/.test(child.name)) last = child;
  return last;
}

/** The function that a window is an argument of; "" where there is none. */
function functionOver(window: SyntaxNode, expr: string): string {
  const name = within(window, "FunctionCall")?.getChild("FunctionIdentifier") ?? null;
  return name === null ? "" : expr.slice(name.from, name.to);
}

/** The nearest node of that name around this one. */
function within(inside: SyntaxNode, name: string): SyntaxNode | null {
  let node = inside.parent;
  while (node !== null && node.name !== name) node = node.parent;
  return node;
}

function firstOf(node: SyntaxNode): SyntaxNode | null {
  return childrenOf(node)[0] ?? null;
}

function childrenOf(node: SyntaxNode): SyntaxNode[] {
  const out: SyntaxNode[] = [];
  for (let child = node.firstChild; child !== null; child = child.nextSibling)
    if (child.name !== "LineComment") out.push(child);
  return out;
}
