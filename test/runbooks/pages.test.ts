import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { loadRunbooks } from "../../src/plan/registry.js";
import { defineRemedy, noUndo, z } from "../../src/runbook.js";
import { pageOf } from "./page.js";

const folder = fileURLToPath(new URL("../../docs/runbooks/", import.meta.url));
const runbooks = await loadRunbooks();

describe("the runbooks' pages", () => {
  it("there is one for each runbook, and none for a runbook that is no more", () => {
    expect(readdirSync(folder).sort()).toEqual([...runbooks.keys()].map((name) => `${name}.md`).sort());
  });

  it.each([...runbooks.keys()])("%s.md says what the definition says", async (name) => {
    const runbook = runbooks.get(name);
    if (runbook === undefined) throw new Error(`no runbook ${name}`);

    await expect(pageOf(runbook)).toMatchFileSnapshot(`${folder}${name}.md`);
  });

  it("links of the pages lead to files that are there", () => {
    for (const file of readdirSync(folder)) {
      for (const [, link = ""] of readFileSync(`${folder}${file}`, "utf8").matchAll(/\]\(([^)]+)\)/g))
        expect(() => readFileSync(new URL(link, `file://${folder}`)), `${file}: ${link}`).not.toThrow();
    }
  });

  it("shows parameters, rights with subresources, and why there is no undo", () => {
    const page = pageOf(
      defineRemedy<{ replicas: number; why?: string | undefined }, null>({
        name: "scale-out",
        version: 3,
        summary: "Adds replicas.",
        kinds: ["Deployment"],
        params: z.strictObject({ replicas: z.number(), why: z.string().optional() }),
        risk: "B",
        needs: [{ verb: "patch", group: "apps", resource: "deployments", subresource: "scale" }],
        diagnosis: "diagnose-pods",
        giveUpAfterMs: 120_000,
        onFailed: "stop",
        plan: async () => ({ skip: "nothing-to-do", sentence: "" }),
        execute: async () => undefined,
        verify: async () => ({ world: "waiting", symptom: "unknown", says: "" }),
        undo: noUndo("scale in by hand | or wait"),
      }),
    );

    expect(page).toContain("| Parameters | `replicas` (number), `why` (string, optional) |");
    expect(page).toContain("| Must be allowed | `patch apps/deployments/scale` |");
    expect(page).toContain("| Undo | none: scale in by hand \\| or wait |");
    expect(page).toContain("| Waits for the rollout | 2 min at most |");
  });
});
