/**
 * Chaos from the command line: `npm run chaos -- --seeds 1000 --from 1`. Exit 1 where an invariant is violated, a seed
 * could not be played, or a cell was hit too rarely. The last line on stdout is the report as JSON.
 */
import { Command, InvalidArgumentError } from "commander";
import { planeMissing } from "../cluster/plane.js";
import { playAll } from "./lane/lanes.js";
import { reportOf, thin, violationsOf } from "./report.js";
import { nemeses, nemesisNames, type NemesisName } from "./story/nemeses.js";

const LEAST = 5;

function whole(text: string): number {
  if (!/^\d+$/.test(text)) throw new InvalidArgumentError("expected a whole number");
  return Number(text);
}

function nemesis(name: string): NemesisName {
  const found = nemesisNames.find((one) => one === name);
  if (found !== undefined) return found;
  throw new InvalidArgumentError(
    `expected one of\n${nemesisNames.map((one) => `  ${one}: ${nemeses[one].says}`).join("\n")}`,
  );
}

const command = new Command("chaos")
  .option("--seeds <n>", "how many seeds", whole, 20)
  .option("--from <n>", "the first seed", whole, 1)
  .option("--nemesis <name>", "one nemesis alone", nemesis)
  .option("--lanes <n>", "how many are played side by side: 4, 1 with --cluster", whole)
  .option("--cluster", "on the real control plane of test/cluster, started for it, instead of the stand-in")
  .option("--few", "a small run: cells that were hit less than five times are no fault")
  .option("--json", "nothing but the report on stdout")
  .parse();
const options = command.opts<{
  seeds: number;
  from: number;
  nemesis?: NemesisName;
  lanes?: number;
  cluster?: boolean;
  few?: boolean;
  json?: boolean;
}>();

if (options.cluster === true) {
  const missing = planeMissing();
  if (missing !== null) command.error(`error: --cluster: ${missing}`);
}
const names = options.nemesis === undefined ? [...nemesisNames] : [options.nemesis];
const seeds = Array.from({ length: options.seeds }, (_, index) => options.from + index);
const tell = (text: string) => process.stderr.write(`${text}\n`);
const halt = new AbortController();
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => halt.abort());
const all = await playAll({
  seeds,
  halt: halt.signal,
  nemeses: names,
  lanes: options.lanes ?? (options.cluster === true ? 1 : 4),
  cluster: options.cluster === true,
  onPlayed(one) {
    const wrong = one.checked.violations.length;
    if (options.json !== true)
      tell(
        `seed ${one.seed} ${one.nemesis}${one.beside}: ${one.checked.effects} effects, rest after ${one.recoveryMs} ms, struck ${one.hits.join(" ")}; ${one.outcomes.join(", ")}; ${(one.tookMs / 1000).toFixed(1)} s${wrong > 0 ? `, ${wrong} VIOLATIONS` : ""}`,
      );
    if (wrong > 0) tell(violationsOf(one));
  },
});
for (const { seed, says } of all.broke) tell(`seed ${seed} could not be played: ${says}`);
const report = reportOf(all, names);
const missed = thin(report, LEAST);
if (missed.length > 0)
  tell(
    options.few === true
      ? `a small run: ${missed.length} of ${Object.keys(report.coverage).length} cells were hit less than ${LEAST} times`
      : `hit less than ${LEAST} times (--few for a small run):\n${missed.map((one) => `  ${one}`).join("\n")}`,
  );
process.stdout.write(`${JSON.stringify(report)}\n`);
const violated = Object.values(report.violations).some((count) => count > 0);
process.exitCode =
  violated || halt.signal.aborted || all.broke.length > 0 || (missed.length > 0 && options.few !== true) ? 1 : 0;
