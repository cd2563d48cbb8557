import { existsSync } from "node:fs";
import { readdir } from "node:fs/promises";
import { fileURLToPath, pathToFileURL } from "node:url";
import { FaultsError } from "../errors.js";
import type { Runbook } from "../runbook.js";

/** Where the runbooks lie beside the running code: the checkout's folder from source, `dist/runbooks` when built. */
export const runbookDirectory = fileURLToPath(new URL("../../runbooks/", import.meta.url));

/** Finds every runbook by directory scan and checks it. Errors: FaultsError with every fault. */
export async function loadRunbooks(directory = runbookDirectory): Promise<Map<string, Runbook>> {
  const found = new Map<string, Runbook>();
  const faults: string[] = [];
  if (!existsSync(directory))
    throw new FaultsError("ERR_RUNBOOKS", "runbooks", [`${directory}: there is no such folder`]);
  const files = (await readdir(directory)).filter((file) => /\.(ts|js)$/.test(file) && !file.endsWith(".d.ts")).sort();
  for (const file of files) {
    const name = file.replace(/\.(ts|js)$/, "");
    const { runbook } = (await import(pathToFileURL(`${directory}/${file}`).href)) as { runbook?: Runbook };
    if (runbook === undefined) {
      faults.push(`runbooks/${file}: exports no \`runbook\``);
      continue;
    }
    if (runbook.name !== name) faults.push(`runbooks/${file}: expected the name ${name}, found ${runbook.name}`);
    if (!/^[A-Z].*\.$/.test(runbook.summary)) faults.push(`runbooks/${file}: the summary must be a sentence`);
    if (runbook.kinds.length === 0) faults.push(`runbooks/${file}: names no kinds`);
    found.set(runbook.name, runbook);
  }
  for (const runbook of found.values()) {
    if (runbook.kind === "remedy" && found.get(runbook.diagnosis)?.kind !== "diagnosis")
      faults.push(`runbooks/${runbook.name}: its diagnosis ${runbook.diagnosis} is no diagnosis`);
  }
  if (faults.length > 0) throw new FaultsError("ERR_RUNBOOKS", "runbooks", faults);
  return found;
}
