/**
 * Kill -9 to resumed: the worker of a run dies right after its write, before anything is noted, and the clock stops when
 * another asks its first question about the run. The two workers are test/harness/hands.ts: the product with a hook.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { type Hand, startHands } from "../test/harness/workers.js";
import { serve } from "./child.js";
import { type Figure, figure, quantile } from "./figures.js";
import { firing, RESTART_RULE } from "./fire.js";
import { NAMESPACES, prepare, targetsOf } from "./targets.js";
import { policyOf, startWorld } from "./world.js";

const PATIENCE_MS = 30_000;

export async function resume(options: { kills: number }): Promise<Figure[]> {
  const world = await startWorld({ policy: policyOf(NAMESPACES, RESTART_RULE) });
  const running: { stop(): Promise<unknown> }[] = [world];
  const times: number[] = [];
  try {
    const targets = targetsOf("target", options.kills);
    const k = await prepare(world.kubeconfig, targets);
    running.push({ stop: () => k.close() });
    let struck: { hand: Hand; incident: string; at: number } | null = null;
    let resumed: (ms: number) => void = () => undefined;
    const hands = await startHands({
      count: 2,
      env: world.env,
      async asked(hand, { bracket, incident }) {
        if (struck === null && bracket === "answer") {
          struck = { hand, incident, at: performance.now() };
          await hand.kill();
        } else if (struck !== null && hand !== struck.hand && incident === struck.incident)
          resumed(performance.now() - struck.at);
      },
    });
    running.push(hands);
    const front = await serve({ ...world.env, NIGHTSHIFT_ROLE: "front" });
    running.push(front);
    const door = firing(world, front.url);
    running.push({ stop: () => door.close() });
    for (const target of targets) {
      const back = new Promise<number>((done) => (resumed = done));
      struck = null;
      await door.fire(target);
      const ms = await Promise.race([back, sleep(PATIENCE_MS, Number.POSITIVE_INFINITY, { ref: false })]);
      times.push(ms);
      // The run ends in peace, and the dead worker's place is taken, before the next one is struck.
      while (hands.serving().length < 2) await sleep(50);
      await sleep(500);
    }
  } finally {
    for (const one of running.reverse()) await one.stop();
  }
  const of = (name: string, q: number) =>
    figure({
      name: `resume/kill -9 to resumed, ${name}`,
      unit: "ms",
      value: quantile(times, q),
      target: { of: "value", is: "at most", bar: 6000 },
      note: `of ${times.length}, two workers`,
    });
  return [of("p50", 0.5), of("p99", 0.99)];
}
