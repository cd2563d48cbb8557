import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { randomHex } from "../clock.js";
import type { Secret } from "../config.js";

/** For the demo, tests and one-machine use: a key made once and kept in the data directory, readable by its owner alone. */
export function embeddedSecret(dataDir: string): Secret {
  const file = join(dataDir, "secret");
  if (!existsSync(file)) {
    mkdirSync(dataDir, { recursive: true, mode: 0o700 });
    writeFileSync(file, randomHex(32), { mode: 0o600, flag: "wx" });
  }
  chmodSync(file, 0o600);
  const value = readFileSync(file, "utf8").trim();
  return { values: () => [value] };
}
