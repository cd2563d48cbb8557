#!/usr/bin/env node
// The whole crash matrix. --human-undo: a person takes each effect back before anybody looks; --cluster: on the real
// API server of test/cluster; --only WORD: cells whose name has it; --seed N: another sample.
import { spawnSync } from "node:child_process";
import { parseArgs } from "node:util";

const { values } = parseArgs({
  options: {
    "human-undo": { type: "boolean" },
    cluster: { type: "boolean" },
    only: { type: "string" },
    seed: { type: "string" },
  },
});
const env = {
  ...process.env,
  CRASH_FULL: "1",
  ...(values["human-undo"] ? { CRASH_HUMAN_UNDO: "1" } : {}),
  ...(values.cluster ? { CRASH_CLUSTER: "1" } : {}),
  ...(values.only ? { CRASH_ONLY: values.only } : {}),
  ...(values.seed ? { CRASH_SEED: values.seed } : {}),
};
const args = ["--no-install", "vitest", "run", "--config", "test/vitest.config.ts", "test/chaos/crash.test.ts"];
const ran = spawnSync("npx", args, { stdio: "inherit", env });
process.exit(ran.status ?? 1);
