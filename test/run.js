#!/usr/bin/env node
// Runs everything that can run on this machine, lists by name what could not and why, and ends with the totals.
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const dir = mkdtempSync(join(tmpdir(), "nightshift-test-"));
const file = join(dir, "results.json");
const args = [
  "vitest",
  "run",
  "--config",
  "test/vitest.config.ts",
  "--reporter=default",
  "--reporter=json",
  `--outputFile.json=${file}`,
  ...process.argv.slice(2),
];
/** Which test, and the first line of what it said. */
function failure(name, message) {
  return `${name.replace(`${process.cwd()}/`, "")}: ${(message ?? "no message").split("\n", 1)[0].slice(0, 300)}`;
}

const ran = spawnSync(process.platform === "win32" ? "npx.cmd" : "npx", ["--no-install", ...args], {
  stdio: ["ignore", "inherit", "inherit"],
});
let passed = 0;
let failed = 0;
const failures = [];
const skipped = new Map();
try {
  const results = JSON.parse(readFileSync(file, "utf8"));
  for (const suite of results.testResults) {
    if (suite.assertionResults.length === 0 && suite.status === "failed") {
      failed += 1;
      failures.push(failure(suite.name, suite.message));
    }
    for (const test of suite.assertionResults) {
      if (test.status === "passed") passed += 1;
      else if (test.status === "failed") {
        failed += 1;
        failures.push(failure(`${suite.name} > ${test.fullName}`, test.failureMessages[0]));
      } else {
        const reason = /\(not run: (.*)\)/.exec(test.fullName)?.[1] ?? "no reason given";
        skipped.set(reason, [...(skipped.get(reason) ?? []), test.fullName.replace(/ ?\(not run: .*?\)/, "")]);
      }
    }
  }
} catch (error) {
  failed += 1;
  failures.push(`no results: ${error.message}`);
}
rmSync(dir, { recursive: true, force: true });
for (const [reason, names] of skipped) {
  console.log(`\nnot run: ${reason}`);
  for (const name of names) console.log(`  ${name}`);
}
if (failed === 0 && ran.status !== 0) {
  failed = 1;
  failures.push("an error outside of the tests: see above");
}
// Once more at the end, a line each: of a long log, people and machines keep the tail.
if (failures.length > 0) console.log("");
for (const line of failures) console.log(`failed: ${line}`);
console.log(`\n${passed} passed, ${failed} failed`);
process.exit(failed === 0 ? 0 : 1);
