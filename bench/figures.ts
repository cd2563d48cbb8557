/** What a benchmark measures, and how it is shown. */

/** One measured value beside the floor of the same run, where there is one, and the bar that it is held against. */
export interface Figure {
  /** `cell/figure`, stable across versions. */
  name: string;
  unit: "req/s" | "alerts/s" | "runs/s" | "ms" | "ns" | "MiB" | "count" | "ms cpu" | "ratio";
  value: number;
  /** The bare minimum, measured in the same run. */
  floor?: number;
  /** value / floor; for throughput that is the share of the floor, for times how many times as long. */
  ratio?: number;
  target?: Target;
  /** Null where there is no target. */
  met: boolean | null;
  /** How it was measured, where the name does not say it. */
  note?: string;
}

/** A bar on the value or on the ratio: at least or at most so much. */
export interface Target {
  of: "value" | "ratio";
  is: "at least" | "at most";
  bar: number;
}

export interface CellResult {
  cell: string;
  seconds: number;
  figures: Figure[];
  /** Why it could not be measured; its figures are then missing. */
  failed?: string;
}

export function figure(
  of: Pick<Figure, "name" | "unit" | "value"> & { floor?: number; target?: Target; note?: string },
): Figure {
  const ratio = of.floor === undefined ? undefined : of.value / of.floor;
  const { target } = of;
  const judged = target?.of === "ratio" ? ratio : of.value;
  const met =
    target === undefined || judged === undefined
      ? null
      : Number.isFinite(judged) && (target.is === "at least" ? judged >= target.bar : judged <= target.bar);
  return { ...of, ...(ratio === undefined ? {} : { ratio }), met };
}

/** The value below which the share `q` of the samples lies; NaN without samples. */
export function quantile(samples: readonly number[], q: number): number {
  const sorted = [...samples].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))] ?? Number.NaN;
}

export const median = (samples: readonly number[]): number => quantile(samples, 0.5);

/** Three significant digits, never in exponents. */
export function short(value: number): string {
  if (!Number.isFinite(value)) return "none";
  if (Math.abs(value) >= 100) return String(Math.round(value));
  return String(Number(value.toPrecision(3)));
}

export function tableOf(results: readonly CellResult[]): string {
  const head = ["figure", "value", "floor", "ratio", "target", ""];
  const rows = results.flatMap((result) =>
    result.failed === undefined
      ? result.figures.map(rowOf)
      : [[result.cell, "not measured", "", "", "", result.failed.split("\n")[0] ?? ""]],
  );
  const widths = head.map((_, column) => Math.max(...[head, ...rows].map((row) => (row[column] ?? "").length)));
  return [head, ...rows]
    .map((row) =>
      row
        .map((text, i) => text.padEnd(widths[i] ?? 0))
        .join("  ")
        .trimEnd(),
    )
    .join("\n");
}

function rowOf(f: Figure): string[] {
  const bar = f.target ? `${f.target.of === "ratio" ? "ratio " : ""}${f.target.is} ${f.target.bar}` : "";
  return [
    f.name,
    `${short(f.value)} ${f.unit}`,
    f.floor === undefined ? "" : short(f.floor),
    f.ratio === undefined ? "" : f.ratio.toFixed(2),
    bar,
    f.met === null ? "" : f.met ? "met" : "MISSED",
  ];
}
