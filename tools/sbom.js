#!/usr/bin/env node
// Prints the bill of materials of what runs: CycloneDX JSON of the production dependencies, from package-lock.json.
//   npm run --silent sbom > sbom.json
// `npm sbom --omit dev` leaves out what a development package also wants, so everything is listed and what the lock file
// marks as development alone is dropped.
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const read = (file) => JSON.parse(readFileSync(new URL(`../${file}`, import.meta.url), "utf8"));
const { name, version } = read("package.json");
const self = `${name}@${version}`;

/** `name@version` of what production installs; true where a platform may do without it. */
const production = new Map();
for (const [path, entry] of Object.entries(read("package-lock.json").packages)) {
  if (path === "" || entry.dev === true) continue;
  const ref = `${entry.name ?? path.slice(path.lastIndexOf("node_modules/") + "node_modules/".length)}@${entry.version}`;
  production.set(ref, (production.get(ref) ?? true) && entry.optional === true);
}

const listed = execFileSync("npm", ["sbom", "--sbom-format", "cyclonedx", "--package-lock-only"], {
  cwd: root,
  encoding: "utf8",
  maxBuffer: 64 * 1024 * 1024,
});
const bom = JSON.parse(listed);
bom.metadata.component = { ...bom.metadata.component, name, type: "application" };
const kept = new Map();
for (const component of bom.components) {
  const ref = component["bom-ref"];
  if (!production.has(ref)) continue;
  const properties = (component.properties ?? []).filter(({ name: of }) => of !== "cdx:npm:package:development");
  kept.set(ref, { ...component, scope: production.get(ref) ? "optional" : "required", properties });
}
bom.components = [...kept.values()];
const there = (ref) => ref === self || kept.has(ref);
bom.dependencies = (bom.dependencies ?? [])
  .filter(({ ref }) => there(ref))
  .map(({ ref, dependsOn = [] }) => ({ ref, dependsOn: dependsOn.filter(there) }));

const missing = [...production].filter(([ref, optional]) => !optional && !kept.has(ref)).map(([ref]) => ref);
if (missing.length > 0) {
  console.error(`sbom: npm does not list ${missing.join(", ")}, which package-lock.json has: run npm install`);
  process.exit(1);
}
console.log(JSON.stringify(bom, null, 2));
