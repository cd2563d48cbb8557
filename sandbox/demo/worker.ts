/** A process of Nightshift in the demo. The hands die by SIGKILL right after their first write, once, where asked to. */
import { closeSync, openSync } from "node:fs";
import { startApp } from "../../src/app.js";
import { readConfig } from "../../src/config.js";
import { createLog, silentLog } from "../../src/log.js";

const flag = process.env["DEMO_KILL_FLAG"] ?? "";

// The parent is the demo: without it there is nobody to serve.
process.on("disconnect", () => process.exit(0));
// Ctrl-C and a closed terminal reach the whole group: the parent ends us in its order.
for (const signal of ["SIGINT", "SIGHUP"] as const) process.on(signal, () => undefined);
try {
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("DEMO_")));
  const app = await startApp(readConfig(env, true), {
    log: process.env["DEMO_LOG"] ? createLog("debug", { write: (line) => void process.stderr.write(line) }) : silentLog,
    sweepMs: 1000,
    async at(bracket) {
      if (bracket !== "answer" || flag === "") return;
      try {
        closeSync(openSync(flag, "wx"));
      } catch {
        return;
      }
      process.kill(process.pid, "SIGKILL");
      await new Promise(() => undefined);
    },
  });
  process.once("SIGTERM", () => void app.stop().then(() => process.exit(0)));
  process.send?.({ ready: true, url: app.url });
} catch (error) {
  process.send?.({ ready: false, says: error instanceof Error ? error.message : String(error) });
  process.exit(1);
}
