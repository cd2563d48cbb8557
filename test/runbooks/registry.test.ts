import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { FaultsError } from "../../src/errors.js";
import { loadRunbooks, runbookDirectory } from "../../src/plan/registry.js";

describe("the registry of runbooks", () => {
  let dir: string;
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), "runbooks-"));
  });
  afterEach(() => rmSync(dir, { recursive: true, force: true }));

  const diagnosis = (name: string, more = "") =>
    `export const runbook = { kind: "diagnosis", name: "${name}", version: 1, summary: "Looks at pods.", kinds: ["Pod"], diagnose() {}, ${more} };`;
  const remedy = (name: string, more = "") =>
    `export const runbook = { kind: "remedy", name: "${name}", version: 1, risk: "A", summary: "Mends pods.", kinds: ["Pod"], needs: [{ verb: "get", group: "", resource: "pods" }], diagnosis: "look", undo: { none: "no" }, plan() {}, execute() {}, verify() {}, ${more} };`;
  const put = (file: string, text: string) => writeFileSync(join(dir, file), text);

  async function faults(): Promise<readonly string[]> {
    const error = await loadRunbooks(dir).then(
      () => null,
      (thrown: unknown) => thrown,
    );
    if (!(error instanceof FaultsError)) throw new Error(`expected faults, found ${String(error)}`);
    return error.faults;
  }

  it("finds every file of the folder under the file's name", async () => {
    const files = readdirSync(runbookDirectory)
      .filter((file) => file.endsWith(".ts"))
      .map((file) => file.replace(/\.ts$/, ""));

    const found = await loadRunbooks();

    expect([...found.keys()].sort()).toEqual(files.sort());
    expect(found.get("rollback-deployment")).toMatchObject({ kind: "remedy", risk: "A", kinds: ["Deployment"] });
    expect(found.get("diagnose-pods")).toMatchObject({ kind: "diagnosis" });
  });

  it("takes built files too, and passes over what is no runbook file", async () => {
    put("look.js", diagnosis("look"));
    put("mend.js", remedy("mend"));
    put("look.d.ts", "export declare const runbook: never;");
    put("look.js.map", "{}");
    put("README.md", "# no code");

    expect([...(await loadRunbooks(dir)).keys()]).toEqual(["look", "mend"]);
  });

  it("lists all faults at once, each with its file", async () => {
    put("look.js", diagnosis("looks"));
    put("empty.js", "export const other = 1;");
    put("mute.js", diagnosis("mute").replace("Looks at pods.", "looks at pods"));
    put("kindless.js", diagnosis("kindless").replace('["Pod"]', "[]"));
    put("mend.js", remedy("mend", "alike: true").replace('diagnosis: "look"', 'diagnosis: "missing"'));

    expect((await faults()).toSorted()).toEqual([
      "runbooks/empty.js: exports no `runbook`",
      "runbooks/kindless.js: names no kinds",
      "runbooks/look.js: expected the name look, found looks",
      "runbooks/mend.js: mend: alike must be a function, or left out",
      "runbooks/mend: its diagnosis missing is no diagnosis",
      "runbooks/mute.js: the summary must be a sentence",
    ]);
  });

  it("a remedy is not a diagnosis for another remedy", async () => {
    put("look.js", diagnosis("look"));
    put("mend.js", remedy("mend"));
    put("other.js", remedy("other").replace('diagnosis: "look"', 'diagnosis: "mend"'));

    expect(await faults()).toEqual(["runbooks/other: its diagnosis mend is no diagnosis"]);
  });

  it("says which folder is missing", async () => {
    await expect(loadRunbooks(join(dir, "nowhere"))).rejects.toThrow(/nowhere: there is no such folder/);
  });

  it("loading the runbooks pulls in no SDK and no web server", async () => {
    const registry = new URL("../../src/plan/registry.ts", import.meta.url).href;
    // Every module that is resolved is written down by a loader of the child's own.
    const hooks = `export async function resolve(s, c, next) { const r = await next(s, c); process._rawDebug(r.url); return r; }`;
    const code = `
      import { register } from "node:module";
      register("data:text/javascript," + encodeURIComponent(${JSON.stringify(hooks)}));
      const { loadRunbooks } = await import(${JSON.stringify(registry)});
      process.stdout.write([...(await loadRunbooks()).keys()].join(","));`;
    const ran = spawnSync(process.execPath, ["--import", "tsx", "--input-type=module", "-e", code], {
      encoding: "utf8",
    });

    expect(ran.stdout.split(",")).toEqual([...(await loadRunbooks()).keys()]);
    const packages = new Set([...ran.stderr.matchAll(/node_modules\/((?:@[^/]+\/)?[^/]+)/g)].map((m) => m[1]));
    packages.delete("tsx");
    expect(packages).toEqual(new Set(["canonicalize", "zod"]));
  });
});
