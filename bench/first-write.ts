/**
 * From a webhook to the first write at the target, for a rule that may act alone: every alert another target, sent at a
 * fixed pace whatever the answers do. The floor runs in the same world at the same pace on targets of its own.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { BarePathInput } from "./bare-path.js";
import { serve, start } from "./child.js";
import { type Figure, figure, quantile } from "./figures.js";
import { firing, RESTART_RULE } from "./fire.js";
import { NAMESPACES, prepare, type TargetRef, targetsOf, watchFirstWrites } from "./targets.js";
import { MOST_TARGETS, policyOf, startWorld, type World } from "./world.js";

/** A write that has not come after so long has not come. */
const PATIENCE_MS = 30_000;

export interface FirstWriteOptions {
  rates: readonly number[];
  rounds: number;
  targets: number;
  cluster: boolean;
}

interface Seen {
  times: number[];
  missing: number;
}

export async function firstWrite(options: FirstWriteOptions): Promise<Figure[]> {
  const figures: Figure[] = [];
  for (const rate of options.rates) {
    const ours: Seen = { times: [], missing: 0 };
    const floor: Seen = { times: [], missing: 0 };
    for (let round = 0; round < options.rounds; round += 1) await oneRound(rate, options, { ours, floor });
    figures.push(...figuresOf(rate, ours, floor));
  }
  return figures;
}

async function oneRound(rate: number, options: FirstWriteOptions, into: { ours: Seen; floor: Seen }): Promise<void> {
  const world = await startWorld({ policy: policyOf(NAMESPACES, RESTART_RULE), cluster: options.cluster });
  const running: { stop(): Promise<unknown> }[] = [world];
  try {
    const count = Math.min(options.targets, MOST_TARGETS);
    const [mine, bare] = [targetsOf("ours", count), targetsOf("bare", count)];
    const k = await prepare(world.kubeconfig, [...mine, ...bare]);
    running.push({ stop: () => k.close() });
    const served = await serve(world.env);
    running.push(served);
    const input: BarePathInput = { socket: world.socket, kubeconfig: world.kubeconfig, namespace: "nightshift" };
    const path = await start<{ url: string }>("bare-path.ts", input);
    running.push(path);
    // Blocks of both alternate, so that a noisy moment of the machine hits both.
    const block = rate > 20 ? count : 10;
    for (let from = 0; from < count; from += block) {
      const part = (targets: readonly TargetRef[]) => targets.slice(from, from + block);
      add(into.floor, await send(world, { url: path.ready.url, rate, targets: part(bare) }));
      add(into.ours, await send(world, { url: served.url, rate, targets: part(mine) }));
    }
  } finally {
    for (const one of running.reverse()) await one.stop();
  }
}

function add(to: Seen, seen: Seen): void {
  to.times.push(...seen.times);
  to.missing += seen.missing;
}

async function send(world: World, of: { url: string; rate: number; targets: readonly TargetRef[] }): Promise<Seen> {
  const writes = await watchFirstWrites(world.kubeconfig);
  const door = firing(world, of.url);
  const sent = new Map<string, number>();
  const began = performance.now();
  const posts: Promise<unknown>[] = [];
  for (const [i, target] of of.targets.entries()) {
    const wait = began + (i * 1000) / of.rate - performance.now();
    if (wait > 0) await sleep(wait);
    sent.set(`${target.namespace}/${target.name}`, performance.now());
    posts.push(door.fire(target));
  }
  await Promise.all(posts);
  const last = performance.now();
  const waiting = () => [...sent.keys()].some((key) => !writes.seen.has(key));
  while (performance.now() - last < PATIENCE_MS && waiting()) await sleep(50);
  // What follows the first write (the ledger, the first look) must not weigh on the next block.
  await sleep(300);
  await Promise.all([door.close(), writes.stop()]);
  const times: number[] = [];
  let missing = 0;
  for (const [key, at] of sent) {
    const seen = writes.seen.get(key);
    if (seen === undefined) missing += 1;
    else times.push(seen - at);
  }
  return { times, missing };
}

function figuresOf(rate: number, ours: Seen, floor: Seen): Figure[] {
  const at = `first-write/${rate} per second`;
  const both = (name: string, q: number) =>
    figure({
      name: `${at}: webhook to first write, ${name}`,
      unit: "ms",
      value: quantile(ours.times, q),
      floor: quantile(floor.times, q),
      target: { of: "ratio", is: "at most", bar: 2 },
    });
  return [
    both("p50", 0.5),
    both("p99", 0.99),
    figure({
      name: `${at}: targets without a write`,
      unit: "count",
      value: ours.missing,
      floor: floor.missing,
      target: { of: "value", is: "at most", bar: 0 },
      note: `of ${ours.times.length + ours.missing}`,
    }),
  ];
}
