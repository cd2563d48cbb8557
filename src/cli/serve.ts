import { startApp } from "../app.js";
import { readConfig } from "../config.js";
import { createLog } from "../log.js";

/** `nightshift serve`: runs until SIGTERM or SIGINT, then hands its runs over and ends. */
export async function serve(env: NodeJS.ProcessEnv): Promise<number> {
  const config = readConfig(env, true);
  const log = createLog(config.logLevel);
  // A library that rejects where nobody listens must not take the pager down with it.
  process.on("unhandledRejection", (error) => log.error({ error }, "unhandled rejection"));
  const app = await startApp(config, { log });
  return new Promise((resolve) => {
    const end = (signal: string) => {
      log.info({ signal }, "nightshift stops");
      void app.stop().then(() => resolve(0));
    };
    process.once("SIGTERM", () => end("SIGTERM"));
    process.once("SIGINT", () => end("SIGINT"));
  });
}
