import { spawn } from "node:child_process";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { until } from "../harness/processes.js";

const root = fileURLToPath(new URL("../../", import.meta.url));

function demo(args: string[]) {
  const child = spawn(process.execPath, [join(root, "bin/nightshift.js"), "demo", ...args], {
    cwd: root,
    stdio: ["ignore", "pipe", "pipe"],
  });
  const run = { out: "", ended: new Promise<number | null>((done) => child.once("close", done)), child };
  for (const stream of [child.stdout, child.stderr])
    stream.on("data", (chunk: Buffer) => (run.out += chunk.toString()));
  return run;
}

describe("the demo", () => {
  it("tells its story to the end as JSON, one write, none doubled, and exits 0 (H41 I1)", async () => {
    const run = demo(["--yes", "--json"]);
    const code = await run.ended;
    const lines = run.out
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as { event: string; says: string; [key: string]: unknown });

    expect(code, run.out).toBe(0);
    expect(lines.at(-1)).toMatchObject({
      event: "summary",
      alerts: 4,
      incidents: 1,
      outcome: "remediated",
      effects: 1,
      doubled: 0,
    });
    expect(lines.map((line) => line.event)).toEqual(
      expect.arrayContaining([
        "observe",
        "would-have",
        "grant",
        "asked",
        "edit",
        "refused",
        "killed",
        "taken-over",
        "verified",
      ]),
    );
    expect(run.out).not.toContain("hunter2");
  }, 120_000);

  it("ends cleanly on Ctrl-C", async () => {
    const run = demo(["--yes"]);
    await until("the story to be under way", async () => run.out.includes("A colleague ships"), 30_000);
    expect(run.out.split("\n")[0]).toContain("compressed time");
    run.child.kill("SIGINT");

    expect(await run.ended).toBe(130);
  }, 60_000);

  it("ends cleanly when nobody reads its lines any more", async () => {
    const run = demo(["--yes"]);
    await until("the story to be under way", async () => run.out.includes("fires the alerts"));
    run.child.stdout.destroy();

    expect(await run.ended).toBe(130);
    expect(run.out).not.toContain("EPIPE");
  }, 60_000);
});
