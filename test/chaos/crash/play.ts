/** Plays cells of the matrix side by side on one cluster: real workers, real Redis, real SIGKILL. */
import type { Bracket } from "../../../src/execution/ports.js";
import type { IncidentRecord } from "../../../src/record/incident.js";
import { until } from "../../harness/processes.js";
import { type Asked, type Hand, type Hands, startHands } from "../../harness/workers.js";
import { startWorld, testPolicy, type World } from "../../harness/world.js";
import type { Cell } from "./cells.js";
import { NAMESPACE, type Stage } from "./stage.js";
import { type CrashWorld, worlds } from "./worlds.js";

export interface Result {
  cell: Cell;
  /** Played on a real control plane. */
  real: boolean;
  /** `remediated`, `held(reason)`, or the state in which it was left. */
  end: string;
  says: string;
  /** What the plan named. */
  steps: string[];
  /** Writes that the world counted, by step. */
  effects: Record<string, number>;
  paged: boolean;
  /** Of the cell's own deaths, those that came about. */
  deaths: number;
  /** For each death the milliseconds until another worker asked its first question about the run. */
  resumedMs: number[];
  /** Of these, those in which no other worker was killed meanwhile. */
  quietMs: number[];
  ledger: { run: unknown; open: unknown; ends: { outcome: string }[] } | null;
}

/** Between these brackets a worker is within milliseconds of the next; a death there would pass a cell's own point by. */
const IN_A_HURRY: ReadonlySet<Bracket> = new Set(["effect", "answer", "look", "settle", "end"]);
/** Cells that meet on one worker at their points die together: a kill costs seconds, and a real one takes all runs too. */
const GATHER_MS = 1000;
/** A quiet machine needs a third of it. */
const WITHIN_MS = 240_000;

export async function play(stage: Stage, cells: readonly Cell[]): Promise<Result[]> {
  const world = await startWorld({
    kubeconfig: stage.kubeconfig,
    policy: testPolicy([NAMESPACE], policyRules()),
    slackMode: "socket",
    env: { NIGHTSHIFT_ROLE: "front" },
  });
  const scene = new Scene(stage, world, cells);
  let hands: Hands | null = null;
  try {
    await Promise.all(cells.map((cell) => cell.world.build(stage, cell.name)));
    hands = await startHands({
      count: 2,
      env: { ...world.env, KUBECONFIG_HANDS: stage.handsKubeconfig },
      asked: (hand, asked) => scene.asked(hand, asked),
    });
    scene.hands = hands;
    await scene.fire();
    await scene.untilAllEnded();
    return await scene.results();
  } finally {
    await hands?.stop();
    await world.stop();
  }
}

export function policyRules(): string {
  const approval = "approval: { from: ['slack-group:sre'], count: 1, expires: 10m }";
  return worlds
    .map((w) => {
      const target = `target: { kind: ${w.kind}, namespace: $labels.namespace, name: $labels.name }`;
      const how = w.autonomy === "auto" ? "autonomy: auto" : `autonomy: approve, ${approval}`;
      return `  - { name: ${w.name}, match: ['alertname="${w.alertname}"'], runbook: ${w.runbook}, ${how}, ${target} }`;
    })
    .join("\n");
}

interface Actor {
  cell: Cell;
  labels: Record<string, string>;
  sick: boolean;
  /** How many of its deaths have come about. */
  died: number;
  /** What was asked about it last. */
  last: { hand: Hand; bracket: Bracket } | null;
  /** Where it waits for its end. */
  parkedOn: Hand | null;
  /** When and on whom it died last, until somebody else takes it up. */
  dead: { at: number; pid: number; kills: number } | null;
  resumedMs: number[];
  quietMs: number[];
  approved: boolean;
}

class Scene {
  hands: Hands | null = null;
  readonly #actors = new Map<string, Actor>();
  readonly #targets = new Map<string, Promise<string>>();
  readonly #dying = new Set<Hand>();
  #kills = 0;

  readonly stage: Stage;
  readonly world: World;

  constructor(stage: Stage, world: World, cells: readonly Cell[]) {
    this.stage = stage;
    this.world = world;
    for (const cell of cells)
      this.#actors.set(cell.name, {
        cell,
        labels: {},
        sick: true,
        died: 0,
        last: null,
        parkedOn: null,
        dead: null,
        resumedMs: [],
        quietMs: [],
        approved: false,
      });
    // One gauge per kind of trouble: 1 while it lasts.
    for (const { alertname } of worlds)
      world.prometheus.rules.push({ name: alertname, query: `sick_${alertname} > 0` });
    world.prometheus.answer((expr) => {
      const name = /^sick_(\w+)/.exec(expr)?.[1];
      return name === undefined
        ? null
        : [...this.#actors.values()]
            .filter((actor) => actor.labels["alertname"] === name)
            .map((actor) => ({ metric: actor.labels, value: actor.sick ? 1 : 0 }));
    });
  }

  async fire(): Promise<void> {
    for (const actor of this.#actors.values()) {
      const { world, name } = actor.cell;
      actor.labels = {
        alertname: world.alertname,
        namespace: NAMESPACE,
        severity: "critical",
        name,
        ...(await world.labels?.(this.stage, name)),
      };
      await this.world.fire(actor.labels);
    }
  }

  /** A worker is at a bracket. It goes on when this resolves; at its point it never does. */
  async asked(hand: Hand, asked: Asked): Promise<void> {
    const actor = this.#actors.get(await this.#nameOf(asked.incident));
    if (actor === undefined) return;
    if (actor.dead !== null && actor.dead.pid !== hand.pid) {
      const took = performance.now() - actor.dead.at;
      actor.resumedMs.push(took);
      if (actor.dead.kills === this.#kills) actor.quietMs.push(took);
      actor.dead = null;
    }
    actor.last = { hand, bracket: asked.bracket };
    // Whoever died at the same moment as another cell may have been parked there already.
    if (actor.parkedOn?.gone) actor.parkedOn = null;
    const next = actor.cell.deaths[actor.died];
    if (next === undefined || next.bracket !== asked.bracket || (next.step !== null && next.step !== asked.step))
      return;
    if (actor.cell.takenBack && actor.died === 0) await actor.cell.world.takeBack?.(this.stage, actor.cell.name);
    actor.parkedOn = hand;
    void this.#end(hand);
    await new Promise(() => undefined);
  }

  /** Kills the worker once those that meet there have met, and another one lives. */
  async #end(hand: Hand): Promise<void> {
    if (this.#dying.has(hand)) return;
    this.#dying.add(hand);
    await new Promise((done) => setTimeout(done, GATHER_MS));
    await until("another worker", async () => (this.hands?.serving().length ?? 0) > 1).catch((error: unknown) => {
      throw new Error(`${(error as Error).message}: ${this.hands?.says()}`);
    });
    const hurried = () =>
      [...this.#actors.values()].some(
        ({ cell, died, parkedOn, last }) =>
          died < cell.deaths.length && parkedOn === null && last?.hand === hand && IN_A_HURRY.has(last.bracket),
      );
    await until("a quiet moment", async () => !hurried(), 2000).catch(() => undefined);
    const at = performance.now();
    this.#kills += 1;
    for (const actor of this.#actors.values()) {
      if (actor.parkedOn !== hand) continue;
      actor.parkedOn = null;
      actor.died += 1;
      actor.dead = { at, pid: hand.pid, kills: this.#kills };
    }
    await hand.kill();
  }

  #nameOf(incident: string): Promise<string> {
    const known = this.#targets.get(incident);
    if (known !== undefined) return known;
    const asked = fetch(`http://127.0.0.1:${this.world.port}/api/v1/incidents/${incident}`)
      .then((answer) => answer.json() as Promise<IncidentRecord>)
      .then((record) => record.target?.name ?? "");
    this.#targets.set(incident, asked);
    return asked;
  }

  /** Plays everybody else meanwhile: who approves, the trouble that ends, the alert that is resolved. */
  async untilAllEnded(): Promise<void> {
    const deadline = performance.now() + WITHIN_MS;
    while (performance.now() < deadline) {
      const records = new Map((await this.world.incidents()).map((record) => [record.target?.name ?? "", record]));
      let left = 0;
      for (const actor of this.#actors.values()) {
        const record = records.get(actor.cell.name);
        if (record === undefined || !ended(record)) left += 1;
        if (record?.state === "waiting" && !actor.approved) actor.approved = await this.#approve(record);
        if (actor.sick && record?.state === "running") await this.#mend(actor);
      }
      if (left === 0) return;
      await new Promise((done) => setTimeout(done, 300));
    }
  }

  async #approve(record: IncidentRecord): Promise<boolean> {
    const shown = this.world.slack.messages.find((m) => m.ts === record.slack?.ts && m.threadTs === null);
    if (shown === undefined) return false;
    await this.world.slack.press(shown, "approve", { user: "U1" });
    return true;
  }

  async #mend(actor: Actor): Promise<void> {
    const { world, name } = actor.cell;
    if (!(await world.worked(this.stage, name))) return;
    actor.sick = world.undo !== undefined;
    if (!actor.sick) await this.world.resolve(actor.labels);
  }

  async results(): Promise<Result[]> {
    // Pages go out after the record says so, and the copy of a run's end after its Lease.
    const held = (record: IncidentRecord) => record.state !== "held" || this.#paged(record);
    await until("the pages", async () => (await this.world.incidents()).every(held), 15_000).catch(() => undefined);
    const records = await this.world.incidents();
    const leases = await this.stage.leases();
    const effects = this.stage.effects();
    return [...this.#actors.values()].map((actor) => {
      const { cell } = actor;
      const record = records.find((one) => one.target?.name === cell.name);
      const lease = leases.find((one) =>
        String(one.metadata.annotations?.["nightshift.dev/target"]).includes(`"name":"${cell.name}"`),
      );
      const counted: Record<string, number> = {};
      for (const effect of effects)
        if (cell.world.mine(effect, cell.name)) {
          const step = effect.step ?? cell.world.step;
          counted[step] = (counted[step] ?? 0) + 1;
        }
      return {
        cell,
        real: this.stage.kubernetes === null,
        end:
          record === undefined
            ? "no record"
            : record.reason === null
              ? record.state
              : `${record.state}(${record.reason})`,
        says: record === undefined ? "" : [record.says, ...record.timeline.map((line) => line.says)].join(" | "),
        steps: [...(record?.plan?.steps ?? []), ...(record?.run?.steps ?? []).map((step) => step.name)],
        effects: counted,
        paged: record !== undefined && this.#paged(record),
        deaths: actor.died,
        resumedMs: actor.resumedMs,
        quietMs: actor.quietMs,
        ledger: lease === undefined ? null : (JSON.parse(lease.metadata.annotations["nightshift.dev/ledger"]) as never),
      };
    });
  }

  #paged(record: IncidentRecord): boolean {
    // Alertmanager's one group is one key at PagerDuty: a page is this run's when it names its target.
    const named = JSON.stringify(record.target?.name ?? "").slice(1, -1);
    return (
      record.page === "sent" &&
      this.world.pager.calls.some(({ body }) => new RegExp(`${named}(?![a-z0-9-])`).test(JSON.stringify(body)))
    );
  }
}

function ended(record: IncidentRecord): boolean {
  return record.state === "remediated" || record.state === "held" || record.state === "suppressed";
}

/** Steps of a world in the order in which they may be written, once each. */
export function stepsOf(world: CrashWorld): string[] {
  return world.undo === undefined ? [world.step] : [world.step, world.undo];
}
