import { loadRunbooks } from "../plan/registry.js";

/** `nightshift runbooks`. */
export async function runbooksCommand(options: { json: boolean }): Promise<number> {
  const all = [...(await loadRunbooks()).values()].map((r) => ({
    name: r.name,
    kind: r.kind,
    version: r.version,
    risk: r.kind === "remedy" ? r.risk : null,
    kinds: r.kinds,
    summary: r.summary,
    undo: r.kind === "remedy" ? (typeof r.undo === "function" ? "yes" : r.undo.none) : null,
  }));
  if (options.json) process.stdout.write(`${JSON.stringify(all, null, 2)}\n`);
  else
    for (const r of all)
      process.stdout.write(
        `${r.name}  ${r.kind}${r.risk === null ? "" : `, class ${r.risk}`}  ${r.kinds.join(", ")}\n  ${r.summary}\n`,
      );
  return 0;
}
