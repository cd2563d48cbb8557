/** What is allowed after a crash, and the table of what came. */
import type { Cell } from "./cells.js";
import { type Result, stepsOf } from "./play.js";

/** Why this end must not be; empty where all is well. */
export function faultsOf(result: Result): string[] {
  const { cell, end, effects, ledger } = result;
  const faults: string[] = [];
  const no = (says: string) => faults.push(says);
  for (const [step, count] of Object.entries(effects)) {
    if (count > 1) no(`${step} was written ${count} times`);
    if (!stepsOf(cell.world).includes(step)) no(`wrote a step that this world does not have: ${step}`);
  }
  for (const step of result.steps)
    if (!stepsOf(cell.world).includes(step)) no(`the plan has a step without cells: ${step}; name it in worlds.ts`);
  if (starved(result)) {
    // Held and paged with nothing done: allowed, and played again.
  } else if (autoscalerWrote(result)) {
    // A person is brought, and the step in doubt was not written: allowed.
  } else if (cell.takenBack) {
    if (!end.startsWith("held(")) no(`ended ${end} although a person took it back; expected held`);
  } else {
    const expected = cell.world.undo === undefined ? "remediated" : "held(undone)";
    if (end !== expected) no(`ended ${end}, expected ${expected}`);
    for (const step of stepsOf(cell.world)) if (effects[step] === undefined) no(`${step} was never written`);
  }
  if (end.startsWith("held(") && !result.paged) no("was held and nobody was paged");
  if (ledger === null) no("has no Lease");
  else {
    if (ledger.open !== null) no("its ledger still has an open intent");
    if (ledger.run !== null) no("its ledger still has an unfinished run");
    // A run that was stopped before it began anything leaves no end in the Lease.
    const least = Object.keys(effects).length > 0 || !end.startsWith("held(") ? 1 : 0;
    if (ledger.ends.length < least || ledger.ends.length > 1)
      no(`its ledger has ${ledger.ends.length} ends, expected ${least === 1 ? "1" : "1 at most"}`);
  }
  return faults;
}

/**
 * Whether it died where it should. Another cell's death may have carried it past its own point; and on a machine that is
 * too busy to answer for Prometheus within its timeout a run is held, as it must be, before it comes to its point.
 */
export function diedThere(result: Result): boolean {
  return result.deaths === result.cell.deaths.length && !starved(result);
}

/** A real autoscaler noted its status between an intent that was never sent and the fence: what became of it cannot be told. */
function autoscalerWrote({ cell, end, effects, real }: Result): boolean {
  const unsent = cell.deaths.some((death) => death.bracket === "effect") && effects[cell.step] === undefined;
  return real && cell.world.uncounted === true && end === "held(cannot-tell)" && unsent;
}

function starved(result: Result): boolean {
  const nothing = Object.keys(result.effects).length === 0;
  return nothing && /^held\((no-data|unavailable)\)$/.test(result.end) && result.says.includes("could not be asked");
}

export function wayOf(cell: Cell): string {
  return cell.deaths.map((death) => death.bracket).join(", then ");
}

/** runbook x step x bracket → end, effects. */
export function tableOf(results: readonly Result[]): string {
  const rows = results.map((result) => [
    result.cell.world.runbook,
    result.cell.world.name,
    result.cell.step,
    wayOf(result.cell) + (result.cell.takenBack ? ", taken back" : ""),
    result.end,
    Object.entries(result.effects)
      .map(([step, count]) => `${step} ${count}`)
      .join(", ") || "none",
    result.resumedMs.map((ms) => (ms / 1000).toFixed(1)).join(" "),
  ]);
  const head = ["runbook", "world", "step", "dies at", "end", "effects", "resumed after s"];
  const widths = head.map((title, i) => Math.max(title.length, ...rows.map((row) => row[i]?.length ?? 0)));
  const line = (cells: string[]) =>
    cells
      .map((text, i) => text.padEnd(widths[i] ?? 0))
      .join("  ")
      .trimEnd();
  return [line(head), ...rows.map(line)].join("\n");
}

/**
 * From the kill to another worker's first question about the run; told, not asserted: machines differ. A kill ends up to
 * eight runs at once, and those that are killed again meanwhile say little about one death.
 */
export function resumedSays(results: readonly Result[]): string {
  const says = (what: string, ms: number[]) => {
    const all = ms.sort((a, b) => a - b);
    const at = (share: number) =>
      ((all[Math.min(all.length - 1, Math.floor(all.length * share))] ?? 0) / 1000).toFixed(1);
    return `resumed after ${all.length} deaths${what}: p50 ${at(0.5)} s, p99 ${at(0.99)} s, most ${at(1)} s`;
  };
  const none = says(
    " with no other kill meanwhile",
    results.flatMap((result) => result.quietMs),
  );
  return `${says(
    "",
    results.flatMap((result) => result.resumedMs),
  )}\n${none}`;
}
