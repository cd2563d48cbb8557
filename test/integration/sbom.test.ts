import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { beforeAll, describe, expect, it } from "vitest";

const root = fileURLToPath(new URL("../../", import.meta.url));

interface Bom {
  bomFormat: string;
  metadata: { component: { name: string; version: string; "bom-ref": string } };
  components: { "bom-ref": string; name: string; version: string; purl: string; hashes?: unknown[] }[];
  dependencies: { ref: string; dependsOn: string[] }[];
}
interface Manifest {
  name: string;
  version: string;
  dependencies: Record<string, string>;
  devDependencies: Record<string, string>;
}

/** `npm run sbom`: what is in the image, and nothing that only builds or tests it. */
describe("the bill of materials", () => {
  const manifest = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as Manifest;
  let bom: Bom;
  let refs: Set<string>;

  beforeAll(() => {
    const printed = execFileSync("node", [join(root, "tools/sbom.js")], {
      encoding: "utf8",
      maxBuffer: 64 * 1024 * 1024,
    });
    bom = JSON.parse(printed) as Bom;
    refs = new Set(bom.components.map((one) => one["bom-ref"]));
  });

  it("is CycloneDX of this very version", () => {
    expect(bom).toMatchObject({
      bomFormat: "CycloneDX",
      metadata: { component: { name: manifest.name, version: manifest.version } },
    });
  });

  it.each(Object.entries(manifest.dependencies))("has %s %s, with a hash", (name, version) => {
    const found = bom.components.find((one) => one["bom-ref"] === `${name}@${version}`);
    expect(found?.purl).toBe(`pkg:npm/${name.replace("@", "%40")}@${version}`);
    expect(found?.hashes?.length).toBeGreaterThan(0);
  });

  it("has what these depend on, and each once", () => {
    const self = bom.dependencies.find((one) => one.ref === bom.metadata.component["bom-ref"]);
    expect(self?.dependsOn.map((ref) => ref.replace(/@[^@]+$/, ""))).toEqual(
      expect.arrayContaining(Object.keys(manifest.dependencies)),
    );
    expect(refs.size).toBe(bom.components.length);
    expect(bom.dependencies.flatMap((one) => one.dependsOn).filter((ref) => !refs.has(ref))).toEqual([]);
    expect(refs.size).toBeGreaterThan(100);
  });

  it("has nothing that is there for development alone", () => {
    const lock = JSON.parse(readFileSync(join(root, "package-lock.json"), "utf8")) as {
      packages: Record<string, { dev?: boolean; version: string }>;
    };
    const shared = Object.keys(manifest.devDependencies).filter((name) => !lock.packages[`node_modules/${name}`]?.dev);
    const names = new Set(bom.components.map((one) => one.name));
    for (const name of Object.keys(manifest.devDependencies))
      expect([name, names.has(name)]).toEqual([name, shared.includes(name)]);
  });
});
