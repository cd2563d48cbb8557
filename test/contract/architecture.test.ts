import { readdirSync, readFileSync, statSync } from "node:fs";
import { dirname, join, normalize, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";

/** Arrows that must never exist. docs/architecture.md says why each room is shut to which other. */

const root = fileURLToPath(new URL("../../", import.meta.url));
const STAGES = [
  "alert",
  "policy",
  "target",
  "owner",
  "plan",
  "guard",
  "approval",
  "verify",
  "notify",
  "record",
  "execution",
  "shadow",
  "report",
];
const SDKS = ["bullmq", "ioredis", "fastify", "prom-client", "undici", "@slack/", "@pagerduty/", "@kubernetes/"];
const FOUNDATION = ["errors", "log", "metrics", "clock", "config"].map((name) => `src/${name}.ts`);
/** Names and words that every stage shares: pure, without a port. */
const VOCABULARY = [
  "src/alert/identity.ts",
  "src/alert/inert.ts",
  "src/alert/alert.ts",
  "src/policy/names.ts",
  "src/policy/schema.ts",
  "src/policy/policy.ts",
  "src/plan/digest.ts",
  "src/plan/plan.ts",
  "src/execution/keys.ts",
  "src/record/reasons.ts",
  "src/record/incident.ts",
  "src/record/machine.ts",
  "src/target/target.ts",
  "src/shadow/shadow.ts",
];

interface Import {
  from: string;
  to: string;
  typeOnly: boolean;
}

function files(folder: string): string[] {
  return readdirSync(join(root, folder)).flatMap((name) => {
    const path = `${folder}/${name}`;
    if (statSync(join(root, path)).isDirectory()) return files(path);
    return path.endsWith(".ts") ? [path] : [];
  });
}

function importsOf(file: string): Import[] {
  const text = readFileSync(join(root, file), "utf8");
  const out: Import[] = [];
  const take = (specifier: string, typeOnly: boolean) => {
    const to = specifier.startsWith(".")
      ? relative(root, normalize(join(root, dirname(file), specifier))).replace(/\.js$/, ".ts")
      : specifier;
    out.push({ from: file, to, typeOnly });
  };
  for (const [, type, names = "", specifier = ""] of text.matchAll(
    /^(?:import|export)\s+(type\s+)?([^"';]*?)\s*from\s+"([^"]+)"/gm,
  )) {
    const braces = /^\{([\s\S]*)\}$/.exec(names.trim())?.[1];
    const allTypes =
      braces !== undefined &&
      braces
        .split(",")
        .filter((n) => n.trim() !== "")
        .every((n) => n.trim().startsWith("type "));
    take(specifier, type !== undefined || allTypes);
  }
  for (const [, specifier = ""] of text.matchAll(/\bimport\("([^"]+)"\)/g)) take(specifier, false);
  return out;
}

const production = ["src", "handlers", "runbooks"].flatMap(files);
const arrows = production.flatMap(importsOf);
const roomOf = (file: string) => /^src\/([a-z]+)\//.exec(file)?.[1] ?? "";
const isApp = (file: string) => file === "src/app.ts" || file.startsWith("src/app/");

/** The offending arrows, each with why it must not exist. */
function offences(why: string, wrong: (arrow: Import) => boolean): string[] {
  return arrows.filter(wrong).map((arrow) => `${arrow.from} → ${arrow.to}: ${why}`);
}

describe("architecture", () => {
  it("runbooks import their face and nothing else", () => {
    expect(
      offences("a runbook holds no keys", (a) => a.from.startsWith("runbooks/") && a.to !== "src/runbook.ts"),
    ).toEqual([]);
  });

  it("stages call no other stage's functions, nor the hall", () => {
    const wrong = (a: Import) =>
      STAGES.includes(roomOf(a.from)) &&
      STAGES.includes(roomOf(a.to)) &&
      roomOf(a.from) !== roomOf(a.to) &&
      !a.typeOnly &&
      !VOCABULARY.includes(a.to);
    expect(offences("the order of stages lives in the pipeline alone", wrong)).toEqual([]);
    expect(
      offences(
        "stages know no hall",
        (a) => STAGES.includes(roomOf(a.from)) && /^src\/(pipeline|sweep|app)/.test(a.to),
      ),
    ).toEqual([]);
  });

  it("no stage, pipeline or runbook imports an SDK, a client or the store", () => {
    const inner = (file: string) =>
      STAGES.includes(roomOf(file)) ||
      file.startsWith("src/pipeline") ||
      file === "src/sweep.ts" ||
      file.startsWith("runbooks/");
    expect(
      offences(
        "fakes would lie",
        (a) => inner(a.from) && (SDKS.some((sdk) => a.to.startsWith(sdk)) || /^src\/(clients|store)\//.test(a.to)),
      ),
    ).toEqual([]);
  });

  it("nobody but the composition root imports handlers", () => {
    expect(
      offences(
        "the house does not walk out to its own porch",
        (a) => a.to.startsWith("handlers/") && !isApp(a.from) && !a.from.startsWith("handlers/"),
      ),
    ).toEqual([]);
  });

  it("looking has no writing port", () => {
    const lookers = ["plan", "guard", "policy", "verify", "target", "owner", "shadow", "report"];
    const found = production.filter(
      (file) =>
        lookers.includes(roomOf(file)) && /\b(ClusterWriter|OwnObjects)\b/.test(readFileSync(join(root, file), "utf8")),
    );
    expect(found).toEqual([]);
  });

  it("telling never acts, and no door writes the store", () => {
    expect(
      offences("a message never becomes an act", (a) => roomOf(a.from) === "notify" && roomOf(a.to) === "execution"),
    ).toEqual([]);
    expect(
      offences(
        "one writer per book",
        (a) => (a.from.startsWith("handlers/") || a.from.startsWith("src/clients/")) && a.to.startsWith("src/store/"),
      ),
    ).toEqual([]);
  });

  it("the foundation knows nothing above it", () => {
    expect(
      offences(
        "foundation carries, it does not call",
        (a) =>
          FOUNDATION.includes(a.from) &&
          (a.to.startsWith("src/") || a.to.startsWith("handlers/")) &&
          !FOUNDATION.includes(a.to),
      ),
    ).toEqual([]);
  });

  it("production imports neither tests nor the sandbox, but for the demo", () => {
    expect(
      offences(
        "what is shipped stands alone",
        (a) => /^(test|bench)\//.test(a.to) || (a.to.startsWith("sandbox/") && !a.from.startsWith("src/cli/demo")),
      ),
    ).toEqual([]);
  });

  it("effects go through the engine: nobody else calls a writing port", () => {
    const allowed = (file: string) =>
      file.startsWith("src/execution/") ||
      file.startsWith("src/clients/") ||
      file === "src/cluster.ts" ||
      file === "src/pipeline-dry-run.ts";
    const found = production.filter(
      (file) => !allowed(file) && /\.(jsonPatch|mergePatch)\(/.test(readFileSync(join(root, file), "utf8")),
    );
    expect(found).toEqual([]);
  });

  it("has no cycle among what is loaded", () => {
    const graph = new Map<string, string[]>();
    for (const arrow of arrows)
      if (!arrow.typeOnly && arrow.to.endsWith(".ts"))
        graph.set(arrow.from, [...(graph.get(arrow.from) ?? []), arrow.to]);
    const cycles: string[] = [];
    const done = new Set<string>();
    const visit = (file: string, path: string[]) => {
      if (path.includes(file)) cycles.push([...path.slice(path.indexOf(file)), file].join(" → "));
      if (path.includes(file) || done.has(file)) return;
      for (const next of graph.get(file) ?? []) visit(next, [...path, file]);
      done.add(file);
    };
    for (const file of graph.keys()) visit(file, []);
    expect(cycles).toEqual([]);
  });

  it("reads the clock and chance in one place", () => {
    const loose = production.filter(
      (file) =>
        file !== "src/clock.ts" &&
        /\bDate\.now\(|\bMath\.random\(|new Date\(\)/.test(readFileSync(join(root, file), "utf8")),
    );
    expect(loose).toEqual([]);
  });

  it("keeps every file readable in one sitting", () => {
    const long = production
      .map((file) => ({ file, lines: readFileSync(join(root, file), "utf8").split("\n").length }))
      .filter(({ lines }) => lines > 400);
    expect(long).toEqual([]);
  });
});
