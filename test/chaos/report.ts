/** What a run of chaos comes to: the numbers, the cells that were hit, and each violation with its seed. */
import { type Invariant, invariants } from "./checker/history.js";
import type { AllPlayed } from "./lane/lanes.js";
import type { Played } from "./lane/main.js";
import { cellName, cellsOf, type NemesisName } from "./story/nemeses.js";

export interface Report {
  seeds: number;
  webhooks: number;
  alerts: number;
  effects: number;
  violations: Record<Invariant, number>;
  lost: number;
  /** Accepted, then forgotten with the store, and no longer firing when it was looked for. */
  forgotten: number;
  doubled: number;
  /** How often each (step, point, nemesis) was struck. */
  coverage: Record<string, number>;
  recoveryMs: { p50: number; p99: number };
}

export function reportOf(all: AllPlayed, nemeses: readonly NemesisName[]): Report {
  const { played } = all;
  const sum = (of: (one: Played) => number) => played.reduce((total, one) => total + of(one), 0);
  const coverage: Record<string, number> = {};
  for (const cell of nemeses.flatMap(cellsOf)) coverage[cellName(cell)] = 0;
  for (const hit of played.flatMap((one) => one.hits)) coverage[hit] = (coverage[hit] ?? 0) + 1;
  const found = played.flatMap((one) => one.checked.violations);
  const recovery = played.map((one) => one.recoveryMs).sort((a, b) => a - b);
  const quantile = (q: number) => recovery[Math.min(recovery.length - 1, Math.floor(q * recovery.length))] ?? 0;
  return {
    seeds: played.length,
    webhooks: sum((one) => one.checked.webhooks),
    alerts: sum((one) => one.checked.alerts),
    effects: sum((one) => one.checked.effects),
    violations: Object.fromEntries(
      invariants.map((name) => [name, found.filter((one) => one.invariant === name).length]),
    ) as Record<Invariant, number>,
    lost: sum((one) => one.checked.lost),
    forgotten: sum((one) => one.checked.forgotten),
    doubled: sum((one) => one.checked.doubled),
    coverage,
    recoveryMs: { p50: quantile(0.5), p99: quantile(0.99) },
  };
}

/** Cells that were hit less often than `least`. */
export function thin(report: Report, least: number): string[] {
  return Object.entries(report.coverage)
    .filter(([, hits]) => hits < least)
    .map(([cell, hits]) => `${cell}: ${hits}`);
}

/** The violations of one seed, each with the few events that show it and what to do next. */
export function violationsOf(one: Played): string {
  const lines = one.checked.violations.flatMap((violation) => [
    `${violation.invariant} seed ${one.seed}: ${violation.says}`,
    ...violation.trace.map((event) => `    ${short(event)}`),
  ]);
  const again = `npm run chaos -- --seeds 1 --from ${one.seed} --few`;
  return [...lines, `    story: ${one.story}`, `    again: ${again}`].join("\n");
}

function short(event: object): string {
  return JSON.stringify(event, (key, value: unknown) =>
    (key === "body" || key === "text") && typeof value === "string" ? value.slice(0, 160) : value,
  ).slice(0, 900);
}
