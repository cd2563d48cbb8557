/**
 * Runs per second with 1, 2 and 4 worker processes: every run is approved before the first worker may begin, and the clock
 * stops at the last write. Each run is another target's, with its Lease, its second gate, its budget and its journal.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { Queue } from "bullmq";
import { serve } from "./child.js";
import { type Figure, figure } from "./figures.js";
import { firing, RESTART_RULE } from "./fire.js";
import { NAMESPACES, prepare, targetsOf, watchFirstWrites } from "./targets.js";
import { MOST_TARGETS, policyOf, startWorld } from "./world.js";

/** Until all are approved, and until all are written. */
const PATIENCE_MS = 60_000;

export interface RunsOptions {
  workers: readonly number[];
  targets: number;
}

export async function runs(options: RunsOptions): Promise<Figure[]> {
  const perSecond: number[] = [];
  for (const workers of options.workers) perSecond.push(await rate(workers, Math.min(options.targets, MOST_TARGETS)));
  return options.workers.map((workers, i) =>
    figure({
      name: `runs/${workers} worker process${workers === 1 ? "" : "es"}`,
      unit: "runs/s",
      value: perSecond[i] ?? Number.NaN,
      ...(i === 0 ? {} : { floor: perSecond[0] ?? Number.NaN }),
      note: i === 0 ? "" : "the ratio is to one process",
    }),
  );
}

async function rate(workers: number, count: number): Promise<number> {
  const world = await startWorld({ policy: policyOf(NAMESPACES, RESTART_RULE) });
  const running: { stop(): Promise<unknown> }[] = [world];
  try {
    const targets = targetsOf("target", count);
    const k = await prepare(world.kubeconfig, targets);
    running.push({ stop: () => k.close() });
    // The hands first: they make the control ConfigMap, without which a front is not ready.
    for (let i = 0; i < workers; i += 1) running.push(await serve({ ...world.env, NIGHTSHIFT_ROLE: "hands" }));
    const front = await serve({ ...world.env, NIGHTSHIFT_ROLE: "front" });
    running.push(front);
    const queue = new Queue("runs", { connection: { path: world.socket } as never, prefix: "{nightshift}:queue" });
    running.push({ stop: () => queue.close() });
    const writes = await watchFirstWrites(world.kubeconfig);
    running.push({ stop: () => writes.stop() });
    const door = firing(world, front.url);
    running.push({ stop: () => door.close() });

    await queue.pause();
    for (const target of targets) await door.fire(target);
    await until("all runs to be approved", async () => (await queue.getWaitingCount()) === count);
    const began = performance.now();
    await queue.resume();
    await until("all targets to be written", async () => writes.seen.size === count);
    return count / ((Math.max(...writes.seen.values()) - began) / 1000);
  } finally {
    for (const one of running.reverse()) await one.stop();
  }
}

async function until(what: string, holds: () => Promise<boolean>): Promise<void> {
  const began = performance.now();
  while (!(await holds())) {
    if (performance.now() - began > PATIENCE_MS) throw new Error(`waited ${PATIENCE_MS / 1000} s for ${what}`);
    await sleep(20);
  }
}
