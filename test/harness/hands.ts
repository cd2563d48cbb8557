/**
 * A worker process of its own for tests: the hands. At every bracket of the protocol it asks its parent and goes on only
 * when it is told to, so that the parent can end or freeze it exactly there. With HANDS_STANDBY=1 it loads everything and
 * waits for "go" before it starts, as a spare for one that dies.
 */
import { startApp } from "../../src/app.js";
import { readConfig } from "../../src/config.js";
import { createLog, silentLog } from "../../src/log.js";

const log = process.env["E2E_LOG"] ? createLog("debug") : silentLog;
const answers = new Map<number, () => void>();
let asked = 0;
let start: () => void = () => undefined;
const started = new Promise<void>((done) => (start = done));

process.on("message", (message: { go?: number } | "go") => {
  if (message === "go") return start();
  const number = message.go ?? -1;
  answers.get(number)?.();
  answers.delete(number);
});
// Without a parent nobody would ever end it.
process.on("disconnect", () => process.exit(1));

if (process.env["HANDS_STANDBY"]) {
  process.send?.("warm");
  await started;
}
const app = await startApp(readConfig(process.env, true), {
  log,
  sweepMs: 1000,
  evictEveryMs: 1000,
  async at(bracket, about) {
    asked += 1;
    const number = asked;
    const told = new Promise<void>((done) => answers.set(number, done));
    process.send?.({ ask: number, bracket, ...about });
    await told;
  },
});
process.once("SIGTERM", () => void app.stop().then(() => process.exit(0)));
process.send?.("ready");
