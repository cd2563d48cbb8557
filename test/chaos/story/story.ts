/** One seed's story, drawn up front: what fires, who delivers it how, who clicks, and who strikes where. */
import { type Cell, chunkOf, nemesisNames, type NemesisName, type Point, type Step } from "./nemeses.js";
import { type Random, randomOf } from "./random.js";

/** One webhook about one alert, by one of the two Alertmanagers. */
export interface Delivery {
  from: "a" | "b";
  status: "firing" | "resolved";
  /** Milliseconds that it waits after the one before. */
  afterMs: number;
}

export interface Subject {
  name: string;
  step: Step;
  autonomy: "auto" | "approve";
  /** Where the nemesis strikes it. */
  point: Point;
  /** How the alert is told while it fires, and how its end is: repeated, and from both. */
  firing: Delivery[];
  resolved: Delivery[];
  /** A late repeat of "firing" after its end was told. */
  straggler: boolean;
  /** Milliseconds by which the second Alertmanager's startsAt differs. */
  disagreeMs: number;
  /** Milliseconds by which the second Alertmanager learns of the end later. */
  lagMs: number;
  /** How often the yes is pressed at once, and whether somebody who may not tries first. */
  presses: number;
  stranger: boolean;
  /** What a person says to it: yes, no, or yes and then Abort as soon as it runs. */
  says: "approve" | "deny" | "abort";
}

/** One workload more, which no cell is about. */
export interface Extra {
  /** Its ask is denied; its run is aborted; it comes when the budget is used up. */
  what: "deny" | "abort" | "over-budget";
  subject: Subject;
}

export interface Story {
  seed: number;
  nemesis: NemesisName;
  cells: Cell[];
  subjects: Subject[];
  /** For kill-twice: where the first worker dies. */
  firstDeath: Point;
  /** What `refuse-answer` answers. */
  status: number;
  /** How late `late-request` arrives, and when a frozen worker wakes. */
  lateness: "early" | "takeover" | "rest";
  /** Minutes by which the clocks of the front and of the two workers are off. */
  skewMinutes: [number, number, number];
  extra: Extra | null;
  /** A second fault, right after the first. */
  second: NemesisName | null;
}

/** Faults of the processes and of Redis that may follow on any of `first`: nothing is forgotten by them. */
const PAIRS = {
  first: [
    "kill-hands",
    "kill-twice",
    "freeze-hands",
    "stop-hands",
    "lose-answer",
    "refuse-answer",
    "late-request",
    "human-edit",
    "human-revert",
    "stale-reads",
  ],
  second: ["kill-front", "freeze-front", "restart-redis", "freeze-redis"],
} as const satisfies Record<string, readonly NemesisName[]>;

export function draw(seed: number, names: readonly NemesisName[] = nemesisNames): Story {
  const random = randomOf(seed);
  const cells = chunkOf(seed, names);
  const [first] = cells;
  if (first === undefined) throw new Error("no nemesis to draw from");
  const { nemesis } = first;
  const skewed = nemesis === "skew-clock";
  return {
    seed,
    nemesis,
    cells,
    subjects: cells.map((cell, index) => subjectOf(random, cell, index)),
    firstDeath: random.pick(["effect", "answer"] as const),
    status: random.pick([409, 429, 500, 503]),
    lateness: random.pick(["early", "takeover", "rest"] as const),
    skewMinutes: skewed
      ? [random.pick([-10, -0.2, 0, 0.2]), random.pick([-10, -0.2, 0.2, 10]), random.pick([-0.2, 0, 2])]
      : [0, 0, 0],
    extra: random.chance(0.4) ? extraOf(random, first) : null,
    second:
      (PAIRS.first as readonly NemesisName[]).includes(nemesis) && random.chance(0.3)
        ? random.pick(PAIRS.second)
        : null,
  };
}

function extraOf(random: Random, cell: Cell): Extra {
  const what = random.pick(["deny", "abort", "over-budget"] as const);
  const subject = subjectOf(random, { ...cell, step: random.pick(["restart", "scale"] as const), point: "done" }, 3);
  const says = what === "over-budget" ? "approve" : what;
  return { what, subject: { ...subject, autonomy: what === "deny" ? "approve" : "auto", says } };
}

const NAMES = ["cart", "stock", "mail"] as const;

function subjectOf(random: Random, cell: Cell, index: number): Subject {
  const asked = cell.step === "evict" || cell.point === "ask" || cell.point === "click" || random.chance(0.3);
  return {
    name: NAMES[index] ?? `more-${index}`,
    step: cell.step,
    point: cell.point,
    autonomy: asked ? "approve" : "auto",
    firing: deliveries(random, "firing"),
    resolved: deliveries(random, "resolved"),
    straggler: random.chance(0.3),
    disagreeMs: cell.nemesis === "disagreeing-alertmanagers" ? random.pick([1, 37, 1500]) : 0,
    lagMs: cell.nemesis === "lagging-alertmanager" ? random.whole(1000, 2500) : random.whole(0, 300),
    presses: random.whole(1, 2),
    stranger: random.chance(0.3),
    says: "approve",
  };
}

/** Each Alertmanager at least once, some repeats, in any order and with gaps. */
function deliveries(random: Random, status: "firing" | "resolved"): Delivery[] {
  const repeats = Array.from({ length: random.whole(0, 2) }, () => random.pick(["a", "b"] as const));
  return random
    .shuffle(["a", "b", ...repeats] as ("a" | "b")[])
    .map((from) => ({ from, status, afterMs: random.pick([0, 0, 40, 150]) }));
}
