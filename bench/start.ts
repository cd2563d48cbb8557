/** Starting and resting: from spawn to /readyz, memory of a process that has nothing to do, the offline `match`. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { spawn } from "node:child_process";
import { commandMs, memoryOf, serve } from "./child.js";
import { type Figure, figure, median } from "./figures.js";
import { alertOf, bodyOf, crashLoop } from "./payload.js";
import { policyOf, startWorld } from "./world.js";

const RULES = `  - { name: everything, match: ['alertname=~".+"'], ignore: true }`;

export async function startUp(options: { rounds: number; idleMs: number }): Promise<Figure[]> {
  const world = await startWorld({ policy: policyOf(["shop"], RULES) });
  try {
    const payload = join(world.dir, "webhook.json");
    writeFileSync(payload, bodyOf([alertOf(crashLoop(1))]));
    const policy = world.env["NIGHTSHIFT_POLICY"] ?? "";
    const ready: number[] = [];
    const bareNode: number[] = [];
    const match: number[] = [];
    const rss: number[] = [];
    for (let round = 0; round < options.rounds; round += 1) {
      bareNode.push(await nodeMs());
      match.push(await commandMs(["match", "--policy", policy, payload]));
      const served = await serve(world.env);
      ready.push(served.readyMs);
      await new Promise((done) => setTimeout(done, options.idleMs));
      rss.push(memoryOf(served.pid).rss);
      await served.stop();
    }
    return [
      figure({
        name: "start/serve to /readyz",
        unit: "ms",
        value: median(ready),
        floor: median(bareNode),
        note: "floor: node -e 0",
      }),
      figure({
        name: "start/match, one payload",
        unit: "ms",
        value: median(match),
        floor: median(bareNode),
        note: "floor: node -e 0",
      }),
      figure({
        name: "start/memory at rest",
        unit: "MiB",
        value: median(rss),
        target: { of: "value", is: "at most", bar: 150 },
        note: `${options.idleMs / 1000} s after /readyz, role all, no Slack`,
      }),
    ];
  } finally {
    await world.stop();
  }
}

async function nodeMs(): Promise<number> {
  const began = performance.now();
  const child = spawn(process.execPath, ["-e", "0"], { stdio: "ignore" });
  await new Promise((done) => child.once("close", done));
  return performance.now() - began;
}
