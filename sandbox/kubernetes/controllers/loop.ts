import { ApiError } from "../status.js";
import type { World } from "../world.js";
import { createDeployments } from "./deployment.js";
import { createKubelet } from "./kubelet.js";
import { createReplicaSets } from "./replica-set.js";
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
  const controllers = [
    reconcileNamespaces,
    createDeployments(world),
    createReplicaSets(world),
    () => kubelet(),
    reconcileServices,
    reconcileBudgets,
  ];

  /** What the API refuses a controller (a namespace on its way out) is tried again in the next round, as in a cluster. */
  function attempt(controller: (world: World) => void): void {
    try {
      controller(world);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
    }
  }

  function tick(): void {
    for (let round = 0; round < MAX_ROUNDS; round += 1) {
      const before = world.store.version;
      for (const controller of controllers) attempt(controller);
      // What belonged to nobody any more goes when all else stands still: it looks at everything there is.
      if (world.store.version === before) attempt(collectGarbage);
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
