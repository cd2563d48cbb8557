/** The matrix: every world's steps by every bracket of the protocol, and how a worker comes to die there. */
import { type Bracket, brackets } from "../../../src/execution/ports.js";
import type { CrashWorld } from "./worlds.js";

export interface Death {
  bracket: Bracket;
  /** Null for brackets that belong to the run, not to a step. */
  step: string | null;
}

export interface Cell {
  /** Name of its objects, and of its row. */
  name: string;
  world: CrashWorld;
  step: string;
  bracket: Bracket;
  /** In this order; the second death is another worker's. */
  deaths: Death[];
  /** A person takes the effect back while the first dead worker lies there. */
  takenBack: boolean;
}

const OF_A_STEP: readonly Bracket[] = ["check", "intent", "effect", "answer", "done"];
/** Reached only by whoever takes an open intent over: somebody must have died between intent and record before. */
const OF_A_HEIR: readonly Bracket[] = ["fence", "look", "settle"];

/** All cells of a world. A death at `take` while undoing needs one before it that leaves the undo unfinished. */
export function cellsOf(world: CrashWorld): Cell[] {
  const steps = world.undo === undefined ? [world.step] : [world.undo];
  return steps.flatMap((step) => {
    const at = (bracket: Bracket): Death => ({ bracket, step: OF_A_STEP.includes(bracket) ? step : null });
    const undoing = step === world.undo;
    const ways = brackets.flatMap((bracket): Death[][] => {
      if (OF_A_HEIR.includes(bracket))
        return [
          [at("effect"), at(bracket)],
          [at("answer"), at(bracket)],
        ];
      if (bracket === "take" && undoing) return [[at("check"), at("take")]];
      return [[at(bracket)]];
    });
    return ways.map((deaths) => cell(world, { step, deaths, takenBack: false }));
  });
}

/** Deaths after which a person takes the effect back before anybody else looks. */
export function takenBackCellsOf(world: CrashWorld): Cell[] {
  if (world.takeBack === undefined || world.undo !== undefined) return [];
  const at = (bracket: Bracket): Death => ({ bracket, step: OF_A_STEP.includes(bracket) ? world.step : null });
  const ways = [[at("answer")], ...OF_A_HEIR.map((bracket) => [at("answer"), at(bracket)])];
  return ways.map((deaths) => cell(world, { step: world.step, deaths, takenBack: true }));
}

function cell(world: CrashWorld, of: { step: string; deaths: Death[]; takenBack: boolean }): Cell {
  const last = of.deaths.at(-1) as Death;
  const way = of.deaths.map((death) => death.bracket).join("-");
  return { name: `${world.name}-${way}`, world, bracket: last.bracket, ...of };
}

/** `count` cells in which every bracket stands at least once, the same for the same seed, spread over the worlds. */
export function sample(cells: readonly Cell[], count: number, seed: number): Cell[] {
  const shuffled = shuffle(cells, seed);
  const chosen: Cell[] = [];
  const used = (cell: Cell) => chosen.filter((one) => one.world === cell.world).length;
  const take = (from: Cell[]) => {
    const [next] = from.filter((cell) => !chosen.includes(cell)).sort((a, b) => used(a) - used(b));
    if (next) chosen.push(next);
  };
  for (const bracket of brackets) take(shuffled.filter((cell) => cell.bracket === bracket));
  while (chosen.length < count && chosen.length < cells.length) take(shuffled);
  return chosen;
}

/** Fisher and Yates over a linear congruential generator: chance that can be had again. */
function shuffle<T>(items: readonly T[], seed: number): T[] {
  const out = [...items];
  let state = seed >>> 0;
  for (let i = out.length - 1; i > 0; i -= 1) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    const j = Math.floor((state / 2 ** 32) * (i + 1));
    [out[i], out[j]] = [out[j] as T, out[i] as T];
  }
  return out;
}
