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
  const fileOf = new Map<string, string>();
  for (const file of files) {
    const name = file.replace(/\.(ts|js)$/, "");
    const twin = fileOf.get(name);
    if (twin !== undefined) {
      faults.push(`runbooks/${file}: ${twin} has the same name; remove one`);
      continue;
    }
    fileOf.set(name, file);
    const runbook = await read(`${directory}/${file}`).catch((error: unknown) => {
      faults.push(`runbooks/${file}: cannot be imported: ${error instanceof Error ? error.message : String(error)}`);
      return null;
    });
    if (runbook === null) continue;
    if (runbook === undefined) {
      faults.push(`runbooks/${file}: exports no \`runbook\``);
      continue;
    }
    faults.push(...faultsOf(runbook, name).map((fault) => `runbooks/${file}: ${fault}`));
    found.set(runbook.name, runbook);
  }
  for (const runbook of found.values()) {
    if (runbook.kind === "remedy" && found.get(runbook.diagnosis)?.kind !== "diagnosis")
      faults.push(`runbooks/${runbook.name}: its diagnosis ${runbook.diagnosis} is no diagnosis`);
  }
  if (faults.length > 0) throw new FaultsError("ERR_RUNBOOKS", "runbooks", faults);
  return found;
}

async function read(path: string): Promise<Runbook | undefined> {
  return ((await import(pathToFileURL(path).href)) as { runbook?: Runbook }).runbook;
}

/** What the types promise, checked where a file was written without them. */
function faultsOf(runbook: Runbook, name: string): string[] {
  const faults: string[] = [];
  if (runbook.name !== name) faults.push(`expected the name ${name}, found ${runbook.name}`);
  if (!/^[A-Z].*\.$/.test(runbook.summary)) faults.push("the summary must be a sentence");
  if (!Number.isInteger(runbook.version))
    faults.push(`${name}: version must be a whole number, found ${String(runbook.version)}`);
  if (!Array.isArray(runbook.kinds) || runbook.kinds.length === 0) faults.push("names no kinds");
  if (runbook.kind === "diagnosis") {
    if (typeof runbook.diagnose !== "function") faults.push(`${name}: diagnose must be a function`);
    return faults;
  }
  if (runbook.kind !== "remedy")
    return [
      ...faults,
      `${name}: kind must be remedy or diagnosis, found ${String((runbook as { kind?: unknown }).kind)}`,
    ];
  if (!["A", "B", "C"].includes(runbook.risk))
    faults.push(`${name}: risk must be A, B or C, found ${String(runbook.risk)}`);
  if (!Array.isArray(runbook.needs) || runbook.needs.length === 0)
    faults.push(`${name}: needs must name the rights that it needs`);
  if (runbook.undo === undefined) faults.push(`${name}: undo must be a function or noUndo("why")`);
  if (runbook.alike !== undefined && typeof runbook.alike !== "function")
    faults.push(`${name}: alike must be a function, or left out`);
  for (const part of ["plan", "execute", "verify"] as const)
    if (typeof runbook[part] !== "function") faults.push(`${name}: ${part} must be a function`);
  return faults;
}
