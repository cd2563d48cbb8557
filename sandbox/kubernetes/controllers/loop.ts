import type { World } from "../world.js";
import { reconcileDeployments } from "./deployment.js";
import { createKubelet } from "./kubelet.js";
import { reconcileReplicaSets } from "./replica-set.js";
import { collectGarbage, reconcileBudgets, reconcileNamespaces, reconcileServices } from "./rest.js";

export interface Loop {
  /** Runs every controller until nothing changes any more at this instant. */
  tick(): void;
  /** Ticks every `ms` of the clock until the signal aborts. */
  run(ms: number, stop: AbortSignal): Promise<void>;
}

/** Rounds within one tick: a rolling update takes a few per Pod. */
const MAX_ROUNDS = 50;

export function createLoop(world: World): Loop {
  const kubelet = createKubelet(world);

  function tick(): void {
    for (let round = 0; round < MAX_ROUNDS; round += 1) {
      const before = world.store.version;
      reconcileNamespaces(world);
      reconcileDeployments(world);
      reconcileReplicaSets(world);
      kubelet();
      reconcileServices(world);
      reconcileBudgets(world);
      collectGarbage(world);
      if (world.store.version === before) return;
    }
  }

  return {
    tick,
    async run(ms, stop) {
      while (!stop.aborted) {
        await world.clock.sleep(ms, stop);
        if (!stop.aborted) tick();
      }
    },
  };
}
