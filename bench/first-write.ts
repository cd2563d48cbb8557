/**
 * From a webhook to the first write at the target, for a rule that may act alone: every alert another target, sent at a
 * fixed pace whatever the answers do. The floor runs in the same world at the same pace on targets of its own. Both
 * processes are fresh, as after a rollout; with --warm both have written a few hundred times before they are measured.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { Redis } from "ioredis";
import { until } from "../sandbox/processes.js";
import type { KubernetesClient } from "../src/clients/kubernetes.js";
import type { BarePathInput } from "./bare-path.js";
import { serve, start } from "./child.js";
import { type Figure, figure, quantile } from "./figures.js";
import { firing, RESTART_RULE, WARM_RULE } from "./fire.js";
import {
  createTargets,
  forgetBudgets,
  NAMESPACES,
  prepare,
  removeTargets,
  type TargetRef,
  targetsOf,
  watchFirstWrites,
} from "./targets.js";
import { MOST_TARGETS, policyOf, startWorld, WARM_ALERT, type World } from "./world.js";

/** A write that has not come after so long has not come. */
const PATIENCE_MS = 30_000;

/** So many go before those that are measured, in batches that can be under way at once. */
const WARM = { batches: 4, targets: 60, rate: 30 };

export interface FirstWriteOptions {
  rates: readonly number[];
  rounds: number;
  targets: number;
  cluster: boolean;
  /** Measures processes that have run for a while. */
  warm: boolean;
}

interface Seen {
  times: number[];
  missing: number;
}

interface Both {
  ours: Seen;
  floor: Seen;
}

const both = (): Both => ({ ours: { times: [], missing: 0 }, floor: { times: [], missing: 0 } });

export async function firstWrite(options: FirstWriteOptions): Promise<Figure[]> {
  const figures: Figure[] = [];
  for (const rate of options.rates) {
    const seen = both();
    for (let round = 0; round < options.rounds; round += 1) await oneRound(rate, options, seen);
    figures.push(...figuresOf(rate, options, seen));
  }
  return figures;
}

async function oneRound(rate: number, options: FirstWriteOptions, into: Both): Promise<void> {
  const policy = policyOf(NAMESPACES, `${RESTART_RULE}\n${WARM_RULE}`);
  const world = await startWorld({ policy, cluster: options.cluster });
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
    const urls = { ours: served.url, floor: path.ready.url };
    if (options.warm) await warmUp(world, k, urls);
    // Blocks of both alternate, so that a noisy moment of the machine hits both.
    const block = rate > 20 ? count : 10;
    for (let from = 0; from < count; from += block) {
      const part = (targets: readonly TargetRef[]) => targets.slice(from, from + block);
      add(into.floor, await send(world, { url: urls.floor, rate, targets: part(bare) }));
      add(into.ours, await send(world, { url: urls.ours, rate, targets: part(mine) }));
    }
  } finally {
    for (const one of running.reverse()) await one.stop();
  }
}

/** Ends with nothing under way, nothing in the budgets, and no workload that began to fail of late. */
async function warmUp(world: World, k: KubernetesClient, urls: Record<keyof Both, string>): Promise<void> {
  const redis = new Redis({ path: world.socket });
  for (let batch = 0; batch < WARM.batches; batch += 1) {
    const targets = {
      ours: targetsOf(`warm-ours-${batch}`, WARM.targets),
      floor: targetsOf(`warm-bare-${batch}`, WARM.targets),
    };
    await createTargets(k, [...targets.ours, ...targets.floor]);
    for (const one of ["floor", "ours"] as const)
      await send(world, { url: urls[one], rate: WARM.rate, targets: targets[one], alert: WARM_ALERT });
    world.stand.quiet();
    // Each run of ours is over with a page as soon as it finds its target gone.
    await removeTargets(world.kubeconfig, [...targets.ours, ...targets.floor]);
    const pages = (batch + 1) * WARM.targets;
    await until("the warm-up's runs to end", async () => world.stand.pages() >= pages, 60_000);
    await redis.del("{nightshift}:firing");
    await forgetBudgets(world.kubeconfig);
  }
  redis.disconnect();
}

function add(to: Seen, seen: Seen): void {
  to.times.push(...seen.times);
  to.missing += seen.missing;
}

async function send(
  world: World,
  of: { url: string; rate: number; targets: readonly TargetRef[]; alert?: string },
): Promise<Seen> {
  const writes = await watchFirstWrites(world.kubeconfig);
  const door = firing(world, of.url, of.alert);
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

function figuresOf(rate: number, { warm }: FirstWriteOptions, { ours, floor }: Both): Figure[] {
  const at = `first-write/${rate} per second${warm ? `, after ${WARM.batches * WARM.targets} others` : ""}`;
  const compared = (name: string, q: number) =>
    figure({
      name: `${at}: webhook to first write, ${name}`,
      unit: "ms",
      value: quantile(ours.times, q),
      floor: quantile(floor.times, q),
      target: { of: "ratio", is: "at most", bar: 2 },
    });
  return [
    compared("p50", 0.5),
    compared("p99", 0.99),
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
