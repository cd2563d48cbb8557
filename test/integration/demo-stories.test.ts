import { spawn } from "node:child_process";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, describe, expect, it, vi } from "vitest";
import { play } from "../../sandbox/demo/play.js";
import type { Stage } from "../../sandbox/demo/stage.js";
import { loadStories } from "../../sandbox/demo/story.js";

const root = fileURLToPath(new URL("../../", import.meta.url));

async function demo(args: string[]): Promise<{ code: number | null; out: string }> {
  const child = spawn(process.execPath, [join(root, "bin/nightshift.js"), "demo", ...args], {
    cwd: root,
    stdio: ["ignore", "pipe", "pipe"],
  });
  let out = "";
  for (const stream of [child.stdout, child.stderr])
    stream.on("data", (chunk: Buffer) => {
      out += chunk.toString();
    });
  const code = await new Promise<number | null>((done) => child.once("close", done));
  return { code, out };
}

/** How each story ends, as its last line says it; the story itself has checked it in the world. */
const ENDS: Record<string, Record<string, unknown>> = {
  "traffic-spike": { outcome: "remediated", pods: 6, pages: 0, effects: 1, on: "HorizontalPodAutoscaler" },
  "crash-loop": { outcome: "remediated", incidents: 2, pages: 1, effects: 1, on: "eviction" },
  "no-answer": { outcome: "held", reason: "expired", pages: 1, effects: 0 },
  storm: { reason: "storm", alerts: 12, workloads: 6, messages: 1, pages: 1, effects: 0 },
  protected: { outcome: "held", reason: "protected", pages: 1, effects: 0 },
  gitops: { outcome: "held", reason: "owned-by-gitops", alerts: 4, pages: 1, effects: 0 },
};

describe("the demo's stories", () => {
  afterEach(() => vi.restoreAllMocks());

  it("are named by --list, and each has its end checked here or in demo.test.ts", async () => {
    const { code, out } = await demo(["--list"]);

    expect(code).toBe(0);
    const listed = out
      .trim()
      .split("\n")
      .map((line) => line.split(" ")[0]);
    expect(new Set(listed)).toEqual(new Set(["bad-deploy", ...Object.keys(ENDS)]));
  });

  it("says which there are when asked for another", async () => {
    const { code, out } = await demo(["good-deploy"]);

    expect(code).not.toBe(0);
    expect(out).toMatch(/no story "good-deploy"; there are .*bad-deploy.*traffic-spike/);
  });

  it.each(Object.entries(ENDS))(
    "%s ends as told (I1 H14 H41)",
    async (name, end) => {
      const { code, out } = await demo([name, "--yes", "--json"]);

      expect(code, out).toBe(0);
      const lines = out
        .trim()
        .split("\n")
        .map((line) => JSON.parse(line) as Record<string, unknown>);
      expect(lines.at(-1)).toMatchObject({ event: "summary", ...end });
      expect(lines.map((line) => line["event"])).not.toContain("wrong");
    },
    120_000,
  );

  /** One write too many in Nightshift's name, as if a guard had let it through. */
  const annotate = { metadata: { annotations: { touched: "yes" } } };
  it.each([
    { name: "protected", kind: "StatefulSet", of: ["mcp-data", "postgres-primary"], body: annotate },
    { name: "gitops", kind: "Deployment", of: ["mcp-production", "mcp-typescript-api"], body: annotate },
    { name: "storm", kind: "Deployment", of: ["mcp-production", "mcp-worker"], body: annotate },
    // The autoscaler's field, written past it.
    {
      name: "traffic-spike",
      kind: "Deployment",
      of: ["mcp-production", "mcp-typescript-api"],
      body: { spec: { replicas: 5 } },
    },
  ])(
    "$name ends with 1 when one write more reached the API server (I1)",
    async ({ name, kind, of: [namespace = "", object = ""], body }) => {
      const story = (await loadStories()).get(name);
      if (story === undefined) throw new Error(`no story ${name}`);
      const printed: string[] = [];
      vi.spyOn(process.stdout, "write").mockImplementation((chunk) => printed.push(String(chunk)) > 0);
      const spoiled = {
        ...story,
        tell: (stage: Stage) => story.tell(withImpostor(stage, { kind, namespace, object, body })),
      };

      const code = await play(spoiled, { yes: true, json: true });

      vi.restoreAllMocks();
      expect(code, printed.join("")).toBe(1);
      expect(printed.join("")).toMatch(/NOT AS TOLD: (nothing|one|every)/);
    },
    120_000,
  );
});

/** Writes once as Nightshift when the alerts fire. */
function withImpostor(stage: Stage, write: { kind: string; namespace: string; object: string; body: unknown }): Stage {
  const { kubernetes } = stage.sandbox();
  const identity = { token: "impostor", user: "system:serviceaccount:nightshift:nightshift-hands-0" };
  kubernetes.addIdentity({ ...identity, rules: [{ verbs: ["patch"], groups: ["apps"], resources: ["*"] }] });
  return {
    ...stage,
    async fire(alerts) {
      await stage.fire(alerts);
      const path = `/apis/apps/v1/namespaces/${write.namespace}/${write.kind.toLowerCase()}s/${write.object}`;
      const answer = await fetch(`${kubernetes.url}${path}`, {
        method: "PATCH",
        headers: { authorization: "Bearer impostor", "content-type": "application/merge-patch+json" },
        body: JSON.stringify(write.body),
      });
      if (!answer.ok) throw new Error(`the impostor was refused: ${answer.status}`);
    },
  };
}
