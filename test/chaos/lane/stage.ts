/** Who stands where: workers that arrive at the brackets of the run protocol are held there until they are let go. */
import type { Point } from "../story/nemeses.js";
import type { Arrival, Hosts, Place } from "./hosts.js";
import { incidents } from "./people.js";
import type { ChaosWorld, Played } from "./world.js";

export interface Stage {
  /** From now on each subject's first worker that comes to its point is held there. */
  arm(points: ReadonlyMap<Played, Point>): void;
  /** Resolves once all of them are there, or after `ms`; tells who is. */
  all(ms: number): Promise<Map<Played, Arrival>>;
  /** Forgets whoever is held: nobody is held any more after this. */
  disarm(): Map<Played, Arrival>;
  /** Resolves when a worker in another place than `place` comes to any bracket of this subject; false after `ms`. */
  elsewhere(one: Played, place: Place, ms: number): Promise<boolean>;
}

export function createStage(world: ChaosWorld, hosts: Hosts): Stage {
  let armed: ReadonlyMap<Played, Point> = new Map();
  let held = new Map<Played, Arrival>();
  const subjects = new Map<string, Played>();
  let watchers: { one: Played; place: Place; seen(): void }[] = [];

  async function subjectOf(incident: string): Promise<Played | undefined> {
    if (!subjects.has(incident)) {
      for (const told of (await incidents(world)) ?? []) {
        const one = world.played.find(({ workload }) => workload.uid === told.target?.uid);
        if (one !== undefined) subjects.set(told.id, one);
      }
    }
    return subjects.get(incident);
  }

  hosts.arrived = (arrival) => {
    if (armed.size === 0 && watchers.length === 0) return arrival.go();
    void subjectOf(arrival.incident).then((one) => {
      if (one === undefined) return arrival.go();
      for (const watcher of watchers) if (watcher.one === one && watcher.place !== arrival.place) watcher.seen();
      if (armed.get(one) !== arrival.bracket || held.has(one)) return arrival.go();
      held.set(one, arrival);
    });
  };

  return {
    arm(points) {
      armed = points;
      held = new Map();
    },
    async all(ms) {
      const until = performance.now() + ms;
      while (held.size < armed.size && performance.now() < until) await new Promise((done) => setTimeout(done, 20));
      return new Map(held);
    },
    disarm() {
      const were = held;
      armed = new Map();
      held = new Map();
      return were;
    },
    elsewhere(one, place, ms) {
      return new Promise((resolve) => {
        const done = (seen: boolean) => {
          clearTimeout(timer);
          watchers = watchers.filter((other) => other !== watcher);
          resolve(seen);
        };
        const watcher = { one, place, seen: () => done(true) };
        const timer = setTimeout(done, ms, false);
        watchers.push(watcher);
      });
    },
  };
}
