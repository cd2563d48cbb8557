/** `npm run bench`: measures and prints a table, or with --json the same figures. docs/performance.md explains them. */
import { parseArgs } from "node:util";
import { type CellResult, type Figure, tableOf } from "./figures.js";
import { firstWrite } from "./first-write.js";
import { ingest } from "./ingest.js";
import { machine } from "./machine.js";
import { journal } from "./journal.js";
import { match } from "./match.js";
import { resume } from "./resume.js";
import { runs } from "./runs.js";
import { startUp } from "./start.js";
import { storm } from "./storm.js";

const { values } = parseArgs({
  options: {
    only: { type: "string" },
    quick: { type: "boolean", default: false },
    json: { type: "boolean", default: false },
    cluster: { type: "boolean", default: false },
    warm: { type: "boolean", default: false },
  },
});
const { quick, cluster, json, warm } = values;

const cells: Record<string, () => Promise<Figure[]>> = {
  ingest: () => ingest(quick ? { rounds: 1, ms: 400 } : { rounds: 3, ms: 4000 }),
  "first-write": () =>
    firstWrite(
      quick
        ? { rates: [20], rounds: 1, targets: 4, cluster, warm }
        : { rates: [10, 100], rounds: cluster ? 1 : 3, targets: 90, cluster, warm },
    ),
  runs: () => runs(quick ? { workers: [1], targets: 4 } : { workers: [1, 2, 4], targets: 90 }),
  resume: () => resume({ kills: quick ? 1 : 20 }),
  journal: () => journal({ steps: quick ? 3 : 50, cluster }),
  match: () => match(quick ? { alerts: 2000, rounds: 1 } : { alerts: 200_000, rounds: 7 }),
  storm: () => storm(quick ? { webhooks: 30, alerts: 10, ms: 1500 } : { webhooks: 1000, alerts: 100, ms: 60_000 }),
  start: () => startUp(quick ? { rounds: 1, idleMs: 500 } : { rounds: 3, idleMs: 10_000 }),
};

const { only } = values;
if (only !== undefined && !(only in cells)) {
  console.error(`bench: no benchmark ${only}; there are ${Object.keys(cells).join(", ")}`);
  process.exit(2);
}
const results: CellResult[] = [];
for (const [cell, run] of Object.entries(cells)) {
  if (only !== undefined && only !== cell) continue;
  const began = performance.now();
  const seconds = () => Math.round((performance.now() - began) / 100) / 10;
  if (!json) process.stderr.write(`${cell} …\n`);
  try {
    const figures = await run();
    results.push({ cell, seconds: seconds(), figures });
  } catch (error) {
    const failed = error instanceof Error ? error.message : String(error);
    process.stderr.write(`${cell} could not be measured: ${failed}
`);
    results.push({ cell, seconds: seconds(), figures: [], failed });
  }
}
const about = machine({ quick, cluster });
if (json) process.stdout.write(`${JSON.stringify({ machine: about, results }, null, 2)}\n`);
else process.stdout.write(`${about.says}\n\n${tableOf(results)}\n`);
// What could not be measured is an error; a target that was missed is a finding.
process.exitCode = results.some((result) => result.failed !== undefined) ? 1 : 0;
