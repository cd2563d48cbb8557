import { afterAll, describe, expect, it } from "vitest";
import { loadRunbooks } from "../../src/plan/registry.js";
import { brackets } from "../../src/execution/ports.js";
import { planeMissing } from "../cluster/plane.js";
import { alertmanagerProgram } from "../harness/processes.js";
import { type Cell, cellsOf, sample, takenBackCellsOf } from "./crash/cells.js";
import { diedThere, faultsOf, resumedSays, tableOf, wayOf } from "./crash/judge.js";
import { play, type Result, stepsOf } from "./crash/play.js";
import { startReal, startStandIn } from "./crash/stage.js";
import { worlds } from "./crash/worlds.js";

/**
 * Every remedy x every step x each bracket of the protocol: a worker dies there by SIGKILL, and whoever takes over finds the
 * effect done or does it, never twice. `npm run test:crash` plays all of it; here stands a sample, the same each time.
 */
const full = process.env["CRASH_FULL"] === "1";
const takenBack = process.env["CRASH_HUMAN_UNDO"] === "1";
const real = process.env["CRASH_CLUSTER"] === "1";
const SEED = Number(process.env["CRASH_SEED"] ?? 41);
/** More at once would pass the bounds of the budget's and the storm's guard, and wait for each other on two cores. */
const AT_ONCE = 45;

const missing = alertmanagerProgram() === null ? "no Alertmanager on this machine" : real ? planeMissing() : null;

function cellsToPlay(): Cell[] {
  const only = process.env["CRASH_ONLY"];
  const all = worlds
    .flatMap(takenBack ? takenBackCellsOf : cellsOf)
    .filter((cell) => !only || cell.name.includes(only));
  return full ? all : sample(all, 12, SEED);
}

describe("the matrix", () => {
  it("has a world for every remedy of the registry (H41)", async () => {
    for (const remedy of (await loadRunbooks()).values()) {
      if (remedy.kind !== "remedy") continue;
      const mine = worlds.filter((world) => world.runbook === remedy.name);
      expect(mine, `no world for ${remedy.name}: add one to test/chaos/crash/worlds.ts`).not.toEqual([]);
      const undone = mine.some((world) => world.undo !== undefined);
      const undoes = remedy.onFailed === "undo" && typeof remedy.undo === "function";
      expect(undone, `${remedy.name} undoes ${undoes ? "" : "nothing "}by itself: its worlds must agree`).toBe(undoes);
    }
  });

  it("chooses a sample that holds every bracket", () => {
    const chosen = sample(worlds.flatMap(cellsOf), 12, SEED);
    expect([...new Set(chosen.map((cell) => cell.bracket))].sort()).toEqual([...brackets].sort());
  });
});

describe.skipIf(missing !== null)(
  `a worker killed in the middle${missing === null ? "" : ` (not run: ${missing})`}`,
  () => {
    const results: Result[] = [];
    const cells = cellsToPlay();

    afterAll(async () => {
      console.log(`\n${tableOf(results)}\n\n${resumedSays(results)}\n${await neverReached()}\n`);
    });

    const count = Math.ceil(cells.length / AT_ONCE);
    const rounds = Array.from({ length: count }, (_, i) => ({
      round: cells.filter((_cell, at) => at % count === i),
      title: `${i + 1} of ${count}`,
    }));

    /** Plays them, and judges what came of every one, also of those that have to be played again. */
    async function played(round: Cell[]): Promise<{ faults: string[]; missed: Cell[] }> {
      const stage = await (real ? startReal() : startStandIn());
      try {
        const came = await play(stage, round);
        const faults = came.flatMap((result) =>
          faultsOf(result).map(
            (fault) => `${result.cell.world.name}, dies at ${wayOf(result.cell)}: ${fault} [${result.says}]`,
          ),
        );
        results.push(...came.filter(diedThere));
        return { faults, missed: came.filter((result) => !diedThere(result)).map((result) => result.cell) };
      } finally {
        await stage.stop();
      }
    }

    it.each(rounds)(
      "round $title: each run ends once, with one effect per step (H41 I1)",
      async ({ round }) => {
        let left = round;
        for (let attempt = 0; attempt < 3 && left.length > 0; attempt += 1) {
          const { faults, missed } = await played(left);
          expect(faults).toEqual([]);
          left = missed;
        }
        expect(left.map((cell) => `${cell.world.name}: ${wayOf(cell)} was not reached in three attempts`)).toEqual([]);
      },
      800_000,
    );

    it.skipIf(real || full)(
      "a fence of its own is no rollout that holds the run, however slow the controllers are (H41)",
      async () => {
        const stage = await startStandIn({ tickMs: 1500 });
        try {
          const mine = worlds.filter((world) => world.name === "scale" || world.name === "restart-deployment");
          const unsent = mine.flatMap(cellsOf).filter((cell) => wayOf(cell) === "effect");
          expect(unsent).toHaveLength(2);
          const came = await play(stage, unsent);
          expect(came.flatMap((result) => faultsOf(result).map((fault) => `${fault} [${result.says}]`))).toEqual([]);
        } finally {
          await stage.stop();
        }
      },
      200_000,
    );

    /** Brackets without a cell, with the reason. */
    async function neverReached(): Promise<string> {
      const lines = [
        "fence, look and settle are reached only by whoever takes an open intent over: they are second deaths.",
      ];
      for (const remedy of (await loadRunbooks()).values()) {
        if (remedy.kind !== "remedy") continue;
        if (typeof remedy.undo !== "function") lines.push(`${remedy.name}: no undo steps: ${remedy.undo.none}`);
        else if (remedy.onFailed !== "undo")
          lines.push(`${remedy.name}: its undo steps are never begun by a run: on failed it stops and pages`);
        else if (!worlds.some((w) => w.runbook === remedy.name && stepsOf(w).length > 1))
          lines.push(`${remedy.name}: no world`);
      }
      if (takenBack)
        for (const world of worlds.filter((one) => one.takeBack === undefined))
          lines.push(`${world.name}: nobody can take it back`);
      return lines.join("\n");
    }
  },
);
