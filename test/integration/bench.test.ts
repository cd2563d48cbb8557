import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import type { CellResult } from "../../bench/figures.js";

const root = fileURLToPath(new URL("../../", import.meta.url));

function bench(...args: string[]) {
  const ran = spawnSync(process.execPath, ["--import", "tsx", "bench/main.ts", ...args], {
    cwd: root,
    encoding: "utf8",
    timeout: 110_000,
  });
  return { code: ran.status, out: ran.stdout, err: ran.stderr };
}

/** That it runs and says what it measured; the figures of so small counts mean nothing, and none is asserted. */
describe("the benchmarks", () => {
  it.each(["match", "storm", "first-write", "runs", "resume", "journal"])(
    "%s runs with tiny counts and prints well-formed JSON",
    (cell) => {
      const { code, out, err } = bench("--quick", "--json", "--only", cell);
      expect(err).toBe("");
      const told = JSON.parse(out) as { machine: { quick: boolean; cores: number }; results: CellResult[] };

      expect(code).toBe(0);
      expect(told.machine).toMatchObject({ quick: true, cores: expect.any(Number) });
      expect(told.results.map((result) => result.cell)).toEqual([cell]);
      for (const one of told.results[0]?.figures ?? []) {
        expect(one.name.startsWith(`${cell}/`)).toBe(true);
        expect(one.value, one.name).toBeTypeOf("number");
        expect(one.met === null, one.name).toBe(one.target === undefined);
        if (one.floor !== undefined && one.floor > 0) expect(one.ratio).toBeCloseTo(one.value / one.floor);
      }
      expect(told.results[0]?.figures.length).toBeGreaterThan(0);
    },
    120_000,
  );

  it("says which there are when it is asked for another", () => {
    const { code, err } = bench("--only", "nothing");

    expect(code).toBe(2);
    expect(err).toMatch(
      /no benchmark nothing; there are ingest, first-write, runs, resume, journal, match, storm, start/,
    );
  });
});
