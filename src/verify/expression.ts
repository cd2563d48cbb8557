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

/** `left op number` where that is the whole expression; null where it is anything else. */
export const thresholdOf = remembered((expr: string): Threshold | null => {
  let node: SyntaxNode | null = parser.parse(expr).topNode.firstChild;
  while (node !== null && node.name === "ParenExpr") node = inner(node);
  if (node === null || node.name !== "BinaryExpr") return null;
  const children = childrenOf(node).filter((child) => child.name !== "LineComment");
  const [left, operator, ...rest] = children;
  const right = rest.at(-1);
  const op = operator === undefined ? undefined : COMPARISONS[operator.name];
  if (
    left === undefined ||
    right === undefined ||
    op === undefined ||
    rest.some((child) => child.name === "BoolModifier" || child.name === "MatchingModifierClause")
  )
    return null;
  const value = numberOf(right, expr);
  return value === null ? null : { left: expr.slice(left.from, left.to), op, value };
});

function numberOf(node: SyntaxNode, expr: string): number | null {
  const text = expr.slice(node.from, node.to).replace(/[()\s]/g, "");
  const constant = /^[-+]?(\d+(\.\d+)?([eE][-+]?\d+)?|\.\d+)$/.test(text) ? Number(text) : null;
  if (constant !== null) return constant;
  const division = /^([\d.]+)\/([\d.]+)$/.exec(text);
  return division ? Number(division[1]) / Number(division[2]) : null;
}

export function holdsAt(value: number, threshold: Pick<Threshold, "op" | "value">): boolean {
  const { op, value: limit } = threshold;
  if (op === ">") return value > limit;
  if (op === ">=") return value >= limit;
  if (op === "<") return value < limit;
  if (op === "<=") return value <= limit;
  return op === "==" ? value === limit : value !== limit;
}

/** Range windows longer than `mostMs` cut to it, so that the past does not outlive its cause. Subqueries are left alone. */
export const shortenWindows = remembered((expr: string, mostMs: number): string => {
  const cuts: { from: number; to: number }[] = [];
  parser.parse(expr).iterate({
    enter(node) {
      if (node.name !== "MatrixSelector") return;
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

function lastDuration(node: SyntaxNode): SyntaxNode | null {
  let last: SyntaxNode | null = null;
  for (const child of childrenOf(node)) if (/Duration/.test(child.name)) last = child;
  return last;
}

function inner(node: SyntaxNode): SyntaxNode | null {
  return childrenOf(node).find((child) => child.name !== "LineComment") ?? null;
}

function childrenOf(node: SyntaxNode): SyntaxNode[] {
  const out: SyntaxNode[] = [];
  for (let child = node.firstChild; child !== null; child = child.nextSibling) out.push(child);
  return out;
}
