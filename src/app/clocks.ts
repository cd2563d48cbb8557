/** Whose time ours is compared with: part of the composition root. */
import type { Clock } from "../clock.js";
import { type ClockWatch, createClockWatch } from "../clock-watch.js";
import type { Log } from "../log.js";
import { clockSources, type Metrics } from "../metrics.js";
import type { FactStore } from "../record/store.js";

export function createClocks(of: {
  clock: Clock;
  reader: { serverTime(): Promise<number> };
  facts: Pick<FactStore, "now">;
  log: Log;
  metrics: Metrics;
}): ClockWatch {
  return createClockWatch({
    clock: of.clock,
    sources: [
      { name: clockSources[0], now: () => of.reader.serverTime() },
      { name: clockSources[1], now: () => of.facts.now() },
    ],
    log: of.log,
    measured: (source, seconds) => of.metrics.clockOff.set({ source }, seconds),
  });
}
