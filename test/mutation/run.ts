/**
 * `npm run test:mutation [-- --only TEXT] [--write]`: takes each safeguard away in a copy of the checkout and runs the tests that must
 * notice. Exit 1 when one survives. `--write` keeps the table in docs/mutations.md; with `--only` the other rows stay as they were.
 */
import { execFileSync, spawnSync } from "node:child_process";
import {
  cpSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { guardMutant, type Mutant, mutants } from "./mutants.js";

const root = fileURLToPath(new URL("../../", import.meta.url));
const TABLE = join(root, "docs/mutations.md");
const NONE = "**none**";
const args = process.argv.slice(2);
const only = args[args.indexOf("--only") + 1];
const all = [
  ...mutants,
  ...readdirSync(join(root, "src/guard/guards"))
    .sort()
    .map((file) => guardMutant(file.replace(/\.ts$/, ""))),
];
const chosen = all.filter((mutant) => !args.includes("--only") || mutant.without.includes(only ?? ""));

const copy = mkdtempSync(join(tmpdir(), "mutation-"));
execFileSync("git", ["worktree", "add", "--detach", "--quiet", join(copy, "tree")], { cwd: root });
const tree = join(copy, "tree");
symlinkSync(join(root, "node_modules"), join(tree, "node_modules"));
// What tests start as a program is the safeguarded one; a copy, since a test may change it.
cpSync(join(root, "dist"), join(tree, "dist"), { recursive: true });

/** Nothing of it may stay behind, also on Ctrl-C. */
process.once("exit", () => {
  spawnSync("git", ["worktree", "remove", "--force", tree], { cwd: root });
  rmSync(copy, { recursive: true, force: true });
});
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => process.exit(130));

interface Result {
  mutant: Mutant;
  red: string[];
}

/** The tests that went red, by name; their whole file where it could not even be loaded. */
function redTests(tests: string[]): string[] {
  const report = join(copy, "report.json");
  spawnSync(
    "npx",
    [
      "vitest",
      "run",
      "--config",
      "test/vitest.config.ts",
      "--bail",
      "3",
      "--reporter",
      "json",
      "--outputFile",
      report,
      ...tests,
    ],
    { cwd: tree, stdio: "ignore", timeout: 300_000 },
  );
  const found = JSON.parse(readFileSync(report, "utf8")) as {
    testResults: { name: string; status: string; assertionResults: { status: string; fullName: string }[] }[];
  };
  rmSync(report, { force: true });
  return found.testResults.flatMap((file) => {
    const red = file.assertionResults.filter((one) => one.status === "failed").map((one) => one.fullName);
    return red.length === 0 && file.status === "failed" ? [file.name.slice(tree.length + 1)] : red;
  });
}

// A test that fails by itself notices nothing.
const already = redTests([...new Set(chosen.flatMap((mutant) => mutant.tests))]);
if (already.length > 0) throw new Error(`red with every safeguard in place:\n${already.join("\n")}`);

const results: Result[] = [];
for (const mutant of chosen) {
  const path = join(tree, mutant.file);
  const before = readFileSync(path, "utf8");
  if (before.split(mutant.find).length !== 2)
    throw new Error(
      `${mutant.file}: expected once, found ${before.split(mutant.find).length - 1} times: ${mutant.find}`,
    );
  writeFileSync(
    path,
    before.replace(mutant.find, () => mutant.put),
  );
  const red = redTests(mutant.tests);
  writeFileSync(path, before);
  results.push({ mutant, red });
  console.log(`${red.length > 0 ? "red      " : "SURVIVED "} without ${mutant.without}${red[0] ? `: ${red[0]}` : ""}`);
}

if (args.includes("--write")) writeFileSync(TABLE, page(results));
const survived = results.filter(({ red }) => red.length === 0);
console.log(`${results.length - survived.length} passed, ${survived.length} failed`);
process.exitCode = survived.length > 0 ? 1 : 0;

function rowOf({ mutant, red }: Result): string {
  const cell = (text: string) => text.replace(/\|/g, "\\|");
  return `| ${cell(mutant.without)} | \`${mutant.file}\` | ${red[0] === undefined ? NONE : cell(red[0])} |`;
}

/** Rows of the table as it was, by what they are without. */
function rowsBefore(): Map<string, string> {
  const text = existsSync(TABLE) ? readFileSync(TABLE, "utf8") : "";
  const rows = text.split("\n").filter((line) => line.startsWith("| ") && !line.startsWith("| without"));
  return new Map(rows.map((row) => [/^\| (.*?) \| `/.exec(row)?.[1] ?? row, row]));
}

function page(of: Result[]): string {
  const before = rowsBefore();
  const now = new Map(of.map((result) => [result.mutant.without, rowOf(result)]));
  const rows = all.flatMap(({ without }) => now.get(without) ?? before.get(without) ?? []);
  const noticed = rows.filter((row) => !row.includes(`| ${NONE} |`)).length;
  return [
    "# Safeguards, and the tests that notice when one is missing",
    "",
    "<!-- Made by `npm run test:mutation -- --write`; not edited by hand. -->",
    "",
    "Each safeguard is taken away in a copy of the source; the test named is the first that then fails. The list of what is taken away is",
    `[test/mutation/mutants.ts](../test/mutation/mutants.ts). ${rows.length} of them, ${noticed} noticed, last played on ${new Date().toISOString().slice(0, 10)}.`,
    "",
    "Not taken away here, since no line of code stands for them: the Lease being taken before the record moves (check `check-first` of",
    "[the model](protocol/README.md)), and what belongs to runbooks that are not built yet (`pg_promote()`).",
    "",
    "| without | where | first test that goes red |",
    "|---|---|---|",
    ...rows,
    "",
  ].join("\n");
}
