/** A worker process of its own for tests: the hands, which die by SIGKILL at the points that CRASH_AT names, once each. */
import { openSync } from "node:fs";
import { join } from "node:path";
import { startApp } from "../../src/app.js";
import { readConfig } from "../../src/config.js";
import { createLog, silentLog } from "../../src/log.js";

const points = (process.env["CRASH_AT"] ?? "").split(",").filter((point) => point !== "");
const flags = process.env["CRASH_FLAGS"] ?? "";

await startApp(readConfig(process.env, true), {
  log: process.env["E2E_LOG"] ? createLog("debug") : silentLog,
  sweepMs: 1000,
  async at(bracket) {
    const index = points.findIndex((point, i) => point === bracket && claimable(i));
    if (index < 0) return;
    try {
      openSync(join(flags, `${index}-${bracket}`), "wx");
    } catch {
      return;
    }
    process.kill(process.pid, "SIGKILL");
    // The signal needs a moment to arrive: nothing more may happen here.
    await new Promise(() => undefined);
  },
});
process.send?.("ready");

/** The points are passed in order: the second death comes after the first. */
function claimable(index: number): boolean {
  if (index === 0) return true;
  try {
    openSync(join(flags, `${index - 1}-${points[index - 1]}`), "r");
    return true;
  } catch {
    return false;
  }
}
