/** What is done again and again while the process lives: part of the composition root. */
import type { Clock } from "../clock.js";
import type { ClusterReader, ClusterWriter } from "../cluster.js";
import { type ControlStore, revokeLeases } from "../execution/control.js";
import type { LeaseStore } from "../execution/lease.js";
import type { Log } from "../log.js";
import type { Metrics } from "../metrics.js";

export interface Tasks {
  /** Runs at once and then `ms` after each end; a failure is logged and the next round comes. */
  every(ms: number, what: string, run: () => Promise<unknown>): void;
  /** Resolves when the rounds under way have ended. */
  stop(): Promise<void>;
}

export function createTasks(clock: Clock, log: Log): Tasks {
  const halt = new AbortController();
  const loops: Promise<void>[] = [];
  return {
    every(ms, what, run) {
      const loop = async () => {
        while (!halt.signal.aborted) {
          await run().catch((error: unknown) => log.warn({ what, error }, "a periodic task did not succeed"));
          await clock.sleep(ms, halt.signal);
        }
      };
      loops.push(loop());
    },
    async stop() {
      halt.abort();
      await Promise.all(loops);
    },
  };
}

/** Whoever sees a pause takes the Leases in its scope away, so that a frozen worker that wakes cannot write. */
export async function obeyControl(of: {
  control: ControlStore;
  leases: LeaseStore;
  writer: ClusterReader & ClusterWriter;
  clock: Clock;
  metrics: Metrics;
}): Promise<void> {
  const found = await of.control.read();
  const now = of.clock.now();
  const active = found.state === "readable" ? found.pauses.filter((p) => p.until === null || p.until > now) : [];
  of.metrics.paused.set(found.state === "unreadable" || active.some((p) => p.scope === "all") ? 1 : 0);
  for (const { scope } of active) {
    await revokeLeases(of.leases, of.writer, (target, runbook) => {
      if (scope === "all" || scope === `runbook:${runbook}`) return true;
      return target !== null && (scope === `cluster:${target.cluster}` || scope === `namespace:${target.namespace}`);
    });
  }
}
