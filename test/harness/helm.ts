/** The real Helm, where this machine has one: HELM_BIN, the path, or what `tools/get helm` has built. */
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { program } from "../../sandbox/processes.js";
import { type Manifested, objectsOf } from "./install.js";

export const repository = fileURLToPath(new URL("../../", import.meta.url));
export const chart = join(repository, "deploy/helm/nightshift");

export function helmProgram(): string | null {
  const version = /helm\) echo \S+@(\S+)/.exec(readFileSync(join(repository, "tools/get"), "utf8"))?.[1] ?? "";
  const built = join(process.env["XDG_CACHE_HOME"] ?? join(homedir(), ".cache"), "nightshift-tools", version, "helm");
  return process.env["HELM_BIN"] ?? program("helm") ?? (existsSync(built) ? built : null);
}

export function helm(...args: string[]): { code: number | null; out: string; says: string } {
  const ran = spawnSync(helmProgram() ?? "helm", args, { encoding: "utf8", cwd: repository });
  return { code: ran.status, out: ran.stdout, says: `${ran.stdout}${ran.stderr}` };
}

/** Renders the chart as release `nightshift` in namespace `nightshift`. Errors: Error with what Helm says. */
export function render(...args: string[]): Manifested[] {
  const ran = helm("template", "nightshift", chart, "--namespace", "nightshift", ...args);
  if (ran.code !== 0) throw new Error(ran.says);
  return objectsOf(ran.out);
}
