/** A copy of the program with one safeguard taken out, beside the real one: for the proof that chaos finds it missing. */
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));

export interface Mutation {
  file: string;
  /** This text, which must stand there exactly once, becomes that one. */
  from: string;
  to: string;
}

export function mutant(of: Mutation): { root: string; remove(): void } {
  const root = mkdtempSync(join(tmpdir(), "mutant-"));
  for (const folder of ["src", "handlers", "runbooks", "sandbox"])
    cpSync(join(ROOT, folder), join(root, folder), { recursive: true });
  for (const file of ["package.json", "tsconfig.json"]) cpSync(join(ROOT, file), join(root, file));
  symlinkSync(join(ROOT, "node_modules"), join(root, "node_modules"));
  const path = join(root, of.file);
  const text = readFileSync(path, "utf8");
  if (text.split(of.from).length !== 2) throw new Error(`${of.file}: expected ${JSON.stringify(of.from)} exactly once`);
  writeFileSync(path, text.replace(of.from, of.to));
  return { root, remove: () => rmSync(root, { recursive: true, force: true }) };
}
