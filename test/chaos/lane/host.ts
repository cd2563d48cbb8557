/**
 * A process of its own in which Nightshift runs as it would in a pod, started and stopped by messages, so that it outlives
 * a seed. At each bracket of the run protocol it asks its parent before it goes on; whoever is killed there is dead there.
 */
import { systemClock } from "../../../src/clock.js";
import type { App } from "../../../src/app.js";

/** Another tree of the same program: the one with a fault put in, for the proof that a fault is found. */
const root = process.env["CHAOS_ROOT"] ?? new URL("../../..", import.meta.url).pathname;
const { startApp } = (await import(`${root}/src/app.ts`)) as typeof import("../../../src/app.js");
const { readConfig } = (await import(`${root}/src/config.ts`)) as typeof import("../../../src/config.js");
const { createLog, silentLog } = (await import(`${root}/src/log.ts`)) as typeof import("../../../src/log.js");

export type ToHost =
  | { do: "start"; env: Record<string, string>; skewMs: number; sweepMs: number }
  | { do: "stop" }
  | { do: "go"; id: number };
export type FromHost =
  | { did: "booted" | "started" | "stopped" }
  | { did: "failed"; says: string }
  | { did: "arrived"; id: number; bracket: string; incident: string; step: string };

let app: App | null = null;
let arrivals = 0;
const waiting = new Map<number, () => void>();
const say = (message: FromHost) => process.send?.(message);

async function start(of: Extract<ToHost, { do: "start" }>): Promise<void> {
  const clock = { ...systemClock, now: () => systemClock.now() + of.skewMs };
  app = await startApp(readConfig(of.env, true), {
    log: process.env["E2E_LOG"] ? createLog("debug") : silentLog,
    clock,
    sweepMs: of.sweepMs,
    evictEveryMs: 500,
    at(bracket, about) {
      arrivals += 1;
      const id = arrivals;
      const gone = new Promise<void>((resolve) => waiting.set(id, resolve));
      say({ did: "arrived", id, bracket, ...about });
      return gone;
    },
  });
}

process.on("message", (message: ToHost) => {
  const failed = (error: unknown) => say({ did: "failed", says: String((error as Error)?.stack ?? error) });
  switch (message.do) {
    case "start":
      start(message).then(() => say({ did: "started" }), failed);
      return;
    case "stop":
      for (const go of waiting.values()) go();
      waiting.clear();
      Promise.resolve(app?.stop()).then(() => say({ did: "stopped" }), failed);
      app = null;
      return;
    case "go":
      waiting.get(message.id)?.();
      waiting.delete(message.id);
  }
});
// Nobody is left to serve.
process.on("disconnect", () => process.exit(0));
say({ did: "booted" });
