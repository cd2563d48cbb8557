/** Plays one seed's story: everything is set up, fires, is struck, heals, comes to rest; then what was seen is handed back. */
import type { Plane } from "../../cluster/plane.js";
import { freePort } from "../../harness/processes.js";
import type { History } from "../checker/history.js";
import { cellName, type Cell, type Point } from "../story/nemeses.js";
import type { Story } from "../story/story.js";
import type { Arrival, Hosts, Place } from "./hosts.js";
import { places } from "./hosts.js";
import { type People, startPeople } from "./people.js";
import type { RedisVictim } from "./redis.js";
import { awaitRest, endOf } from "./rest.js";
import { createStage } from "./stage.js";
import { forgets, strikes, type Striking } from "./strike.js";
import { OWN } from "./cluster.js";
import { budgetOf, type ChaosWorld, HOSTILE, type Played, startChaosWorld } from "./world.js";
import { FLOOR } from "./workloads.js";

const SWEEP_MS = 500;
const REACH_MS = 60_000;
const REST_MS = 60_000;
const DOORS: readonly Point[] = ["receive", "ask", "click"];
const sleep = (ms: number) => new Promise<void>((done) => setTimeout(done, ms));

export interface Result {
  history: History;
  /** Cells that were truly hit. */
  hits: string[];
  /** Milliseconds from the last fault to rest. */
  recoveryMs: number;
}

export interface Lane {
  hosts: Hosts;
  redis: RedisVictim;
  /** Null: on the stand-in. */
  plane: Plane | null;
}

export async function play(lane: Lane, story: Story): Promise<Result> {
  const { hosts, redis, plane } = lane;
  await redis.flush();
  const world = await startChaosWorld(story, { redisUrl: redis.url, port: await freePort(), plane });
  const people = startPeople(world);
  const start = (place: Place) =>
    hosts.start(place, {
      env: { ...(place === "front" ? world.env.front : world.env.hands) },
      skewMs: (story.skewMinutes[places.indexOf(place)] ?? 0) * 60_000,
      sweepMs: SWEEP_MS,
    });
  try {
    await Promise.all(places.map(start));
    redis.snapshot();
    const hits = await strike({ story, lane, world, people, start });
    const healed = performance.now();
    const left = await awaitRest(world, people, REST_MS);
    const recoveryMs = Math.round(performance.now() - healed);
    const end = await endOf(world, left);
    return { history: historyOf(story, world, end), hits, recoveryMs };
  } finally {
    await people.stop();
    redis.thaw();
    for (const place of places) hosts.signal(place, "SIGCONT");
    // A process that does not end in order is ended, and made anew for the next seed.
    await Promise.all(
      places.map((place) =>
        Promise.race([hosts.stop(place), sleep(5000).then(() => Promise.reject(new Error("late")))]).catch(() =>
          hosts.kill(place),
        ),
      ),
    );
    await world.stop();
  }
}

interface Playing {
  story: Story;
  lane: Lane;
  world: ChaosWorld;
  people: People;
  start(place: Place): Promise<void>;
}

async function strike(p: Playing): Promise<string[]> {
  const { story, world, people, lane } = p;
  const stage = createStage(world, lane.hosts);
  const cast = world.played.slice(0, story.subjects.length);
  const extra = world.played[story.subjects.length];
  const atDoor = cast.filter(({ subject }) => DOORS.includes(subject.point));
  const inRun = cast.filter((one) => !atDoor.includes(one));
  const twice = story.nemesis === "kill-twice";
  stage.arm(new Map(inRun.map((one) => [one, twice ? story.firstDeath : one.subject.point])));
  for (const one of inRun) people.attend(one);
  if (extra !== undefined) people.attend(extra);
  const early = story.extra?.what === "over-budget" ? [] : world.played.slice(story.subjects.length);
  await Promise.all([...inRun, ...early].map((one) => people.fire(one)));
  if (inRun.length > 0 && story.lateness !== "early") lane.redis.snapshot();
  let there = await stage.all(REACH_MS);
  const doors = await openDoors(p, atDoor);
  const later: (() => Promise<void>)[] = [];
  stage.disarm();
  const striking = (who: Map<Played, Arrival>): Striking => ({
    story,
    world,
    hosts: lane.hosts,
    redis: lane.redis,
    stage,
    start: p.start,
    there: who,
    later,
  });
  if (twice) {
    stage.arm(new Map([...there.keys()].map((one) => [one, one.subject.point])));
    await strikes["kill-hands"](striking(there));
    there = await stage.all(REACH_MS);
    stage.disarm();
  }
  const what = `${story.nemesis} at ${[...there].map(([one, arrival]) => `${one.subject.name} ${arrival.bracket}`).join(", ")} ${doors.hit.map((one) => `${one.subject.name} ${one.subject.point}`).join(", ")}`;
  world.note({ kind: "nemesis", at: Date.now(), name: story.nemesis, what, forgets: forgets.has(story.nemesis) });
  await strikes[story.nemesis](striking(there));
  if (forgets.has(story.nemesis))
    world.note({ kind: "nemesis", at: Date.now(), name: story.nemesis, what: "done", forgets: true });
  if (story.second !== null) {
    world.note({ kind: "nemesis", at: Date.now(), name: story.second, what: "a second fault", forgets: false });
    await strikes[story.second](striking(there));
  }
  for (const arrival of there.values()) arrival.go();
  await doors.closed;
  for (const one of atDoor) people.attend(one);
  if (extra !== undefined && early.length === 0) await people.fire(extra);
  if (later.length > 0) {
    await awaitRest(world, people, REST_MS / 3);
    for (const act of later) await act();
    // Whoever was let go has something left to do.
    await sleep(1500);
  }
  const hit = new Set([...there.keys(), ...doors.hit]);
  return story.cells.filter((_: Cell, index) => hit.has(world.played[index] as Played)).map(cellName);
}

/** Brings those who are to be struck before a run to their point. What is under way there goes on by itself. */
async function openDoors(p: Playing, atDoor: Played[]): Promise<{ hit: Played[]; closed: Promise<unknown> }> {
  const { people } = p;
  const hit: Played[] = [];
  const closing: Promise<unknown>[] = [];
  for (const one of atDoor) if (one.subject.point !== "receive") await people.fire(one);
  for (const one of atDoor) {
    if (one.subject.point === "receive") continue;
    const asked = await waitFor(() => people.asked(one), REACH_MS);
    if (!asked) continue;
    hit.push(one);
    if (one.subject.point === "click") closing.push(people.answer(one));
  }
  for (const one of atDoor) {
    if (one.subject.point !== "receive") continue;
    closing.push(people.fire(one));
    hit.push(one);
  }
  // The requests are on their way, not yet all answered.
  if (closing.length > 0) await sleep(p.story.lateness === "early" ? 2 : 20);
  return { hit, closed: Promise.all(closing) };
}

async function waitFor(probe: () => Promise<boolean>, ms: number): Promise<boolean> {
  const until = performance.now() + ms;
  while (performance.now() < until) {
    if (await probe()) return true;
    await sleep(50);
  }
  return false;
}

function historyOf(story: Story, world: ChaosWorld, end: History["end"]): History {
  return {
    seed: story.seed,
    own: OWN,
    budget: budgetOf(story),
    hostile: [HOSTILE],
    targets: world.played.map(({ subject, workload, alert }) => ({
      name: subject.name,
      uid: workload.uid,
      fingerprint: alert.a.fingerprint,
      autonomy: subject.autonomy,
      step: subject.step,
      floor: FLOOR,
    })),
    events: world.events,
    end,
  };
}
