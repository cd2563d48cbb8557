/** Who strikes, and where: the cells that a big run must have hit, (step, point, nemesis). */
import { randomOf } from "./random.js";

/** The four ways to write to a workload, each a step of one runbook. */
export const steps = ["roll-back", "restart", "scale", "evict"] as const;
export type Step = (typeof steps)[number];

/** Brackets of the run protocol at which a worker can be caught, in their order. */
const RUN = ["take", "check", "intent", "effect", "answer", "done", "end", "copy"] as const;
/** What comes before a run: a webhook taken, a plan posted, a click stored. */
const DOORS = ["receive", "ask", "click"] as const;
/** Brackets that only a worker passes which takes over an open intent. */
const RECOVERY = ["fence", "look", "settle"] as const;
/** Before a write of the run: the one that follows is tampered with. */
const WRITES = ["take", "intent", "effect", "answer", "end"] as const;

export type Point = (typeof RUN)[number] | (typeof DOORS)[number] | (typeof RECOVERY)[number];

interface Nemesis {
  /** What it does, for people. */
  says: string;
  points: readonly Point[];
  steps?: readonly Step[];
}

const EDITABLE: readonly Step[] = ["roll-back", "restart", "scale"];

export const nemeses = {
  "kill-hands": { says: "SIGKILL to the worker", points: RUN },
  "kill-twice": { says: "SIGKILL to the worker after its write, then to the one that takes over", points: RECOVERY },
  "freeze-hands": {
    says: "SIGSTOP to the worker, SIGCONT once another has taken over",
    points: ["take", "check", "intent", "effect", "answer", "done", "end"],
  },
  "stop-hands": { says: "SIGTERM's orderly end, and a start", points: RUN },
  "kill-front": { says: "SIGKILL to the process that receives", points: [...DOORS, "effect", "end", "copy"] },
  "freeze-front": { says: "SIGSTOP and SIGCONT to the process that receives", points: DOORS },
  "restart-redis": { says: "SIGKILL to Redis, and a start from its AOF", points: [...DOORS, ...RUN] },
  "freeze-redis": { says: "SIGSTOP and SIGCONT to Redis", points: [...DOORS, ...RUN] },
  "flush-redis": { says: "FLUSHALL", points: [...DOORS, ...RUN] },
  "restore-redis": { says: "Redis set back to an older snapshot", points: [...DOORS, ...RUN] },
  "lose-answer": { says: "the next write is applied and its answer lost", points: WRITES },
  "refuse-answer": { says: "the next write is answered with 409, 429, 500 or 503", points: WRITES },
  "late-request": { says: "the next write is under way while its worker dies, and arrives later", points: WRITES },
  "human-edit": {
    says: "a person changes what the plan depends on",
    points: ["take", "check", "intent", "effect"],
    steps: EDITABLE,
  },
  "human-revert": {
    says: "a person puts the change back and strips annotations, and the worker dies",
    points: ["answer", "done", "end"],
    steps: EDITABLE,
  },
  "stale-reads": {
    says: "a person changes the target, and reads show it as it was",
    points: ["take", "check", "intent", "effect"],
    steps: EDITABLE,
  },
  pause: { says: "everything is paused", points: ["take", "check", "intent", "effect"] },
  "lagging-alertmanager": { says: "one Alertmanager says that it fires long after the other", points: ["receive"] },
  "disagreeing-alertmanagers": { says: "the two disagree on startsAt", points: ["receive"] },
  "skew-clock": { says: "the processes' clocks lie seconds or minutes apart", points: ["receive"] },
} as const satisfies Record<string, Nemesis>;

export type NemesisName = keyof typeof nemeses;
export const nemesisNames = Object.keys(nemeses) as NemesisName[];

export interface Cell {
  step: Step;
  point: Point;
  nemesis: NemesisName;
}

export const cellName = (cell: Cell) => `${cell.step}/${cell.point}/${cell.nemesis}`;

export function cellsOf(nemesis: NemesisName): Cell[] {
  const of: Nemesis = nemeses[nemesis];
  return of.points.flatMap((point) => (of.steps ?? steps).map((step) => ({ step, point, nemesis })));
}

/** Targets that are struck in one seed. */
const AT_ONCE = 3;

/**
 * The cells of one seed: all of one nemesis, three at a time. Seeds go round all chunks in a fixed shuffled order, so
 * that a few seeds meet many nemeses and a thousand meet every cell equally often.
 */
export function chunkOf(seed: number, names: readonly NemesisName[]): Cell[] {
  const chunks = names.flatMap((name) => {
    // Neighbours differ in step, so that one seed has three kinds of targets.
    const cells = cellsOf(name);
    return Array.from({ length: Math.ceil(cells.length / AT_ONCE) }, (_, i) =>
      Array.from({ length: AT_ONCE }, (_, j) => cells[(i * AT_ONCE + j) % cells.length] as Cell),
    );
  });
  return randomOf(chunks.length).shuffle(chunks)[seed % chunks.length] ?? [];
}
