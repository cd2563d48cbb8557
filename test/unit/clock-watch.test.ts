import { describe, expect, it } from "vitest";
import { createClockWatch, type TimeSource } from "../../src/clock-watch.js";
import { silentLog } from "../../src/log.js";

/** A machine whose wall clock can be set, and two others that tell the true time unless they are told not to. */
function scene() {
  const of = { mono: 0, wall: 0, first: 0, second: 0, tookMs: 0, down: new Set<string>() };
  const measured = new Map<string, number>();
  const source = (name: "first" | "second"): TimeSource => ({
    name,
    async now() {
      if (of.down.has(name)) throw new Error("away");
      const then = of.mono + of.tookMs / 2;
      of.mono += of.tookMs;
      return then + of[name];
    },
  });
  const watch = createClockWatch({
    clock: { now: () => of.mono + of.wall, monotonic: () => of.mono, sleep: async () => undefined },
    sources: [source("first"), source("second")],
    log: silentLog,
    measured: (name, seconds) => void measured.set(name, seconds),
  });
  return { of, watch, measured };
}

describe("the other clocks (G27 H50)", () => {
  it.each([
    ["all agree", {}, true],
    ["ours is 14 s off: half a Lease is not reached", { wall: 14_000 }, true],
    ["ours is 16 s ahead of both", { wall: 16_000 }, false],
    ["ours is 16 s behind both", { wall: -16_000 }, false],
    ["one of the others is off: two against one", { first: 600_000 }, true],
    ["all three differ", { first: 600_000, second: -600_000 }, false],
  ])("%s", async (_what, off, agrees) => {
    const { of, watch } = scene();
    Object.assign(of, off);
    await watch.look();

    expect((await watch.verdict()).agrees).toBe(agrees);
  });

  it("says by how much, of each, in whole words", async () => {
    const { of, watch, measured } = scene();
    Object.assign(of, { wall: -600_000, second: -600_000 });
    await watch.look();

    expect((await watch.verdict()).says).toBe("first is 600 s ahead of this process, second is 0 s off");
    expect(Object.fromEntries(measured)).toEqual({ first: 600, second: 0 });
  });

  it("a jump of ours shows at once, and so does its correction", async () => {
    const { of, watch } = scene();
    await watch.look();
    of.wall = -3600_000;
    expect(await watch.verdict()).toEqual({
      agrees: false,
      says: "first is 3600 s ahead of this process, second is 3600 s ahead of this process",
    });
    of.wall = 0;
    expect((await watch.verdict()).agrees).toBe(true);
  });

  it("a machine that slept is asked again before it is called wrong", async () => {
    const { of, watch } = scene();
    await watch.look();
    // Its wall clock and everybody else's went on for an hour; its monotonic one stood.
    Object.assign(of, { wall: 3600_000, first: 3600_000, second: 3600_000 });
    expect(await watch.verdict()).toEqual({ agrees: true, says: "first is 0 s off, second is 0 s off" });
  });

  it("who does not answer is not counted, and nobody is no yes", async () => {
    const { of, watch } = scene();
    of.down.add("first");
    of.wall = 600_000;
    of.second = 600_000;
    await watch.look();
    expect(await watch.verdict()).toEqual({ agrees: true, says: "second is 0 s off" });

    of.down.add("second");
    of.mono += 61_000;
    await watch.look();
    expect(await watch.verdict()).toEqual({ agrees: false, says: "neither the API server nor Redis told its time" });
  });

  it("an answer that took seconds says nothing; half of the way is taken off a fast one", async () => {
    const { of, watch } = scene();
    of.down.add("second");
    of.tookMs = 5000;
    await watch.look();
    expect((await watch.verdict()).agrees).toBe(false);

    of.tookMs = 1000;
    await watch.look();
    expect(await watch.verdict()).toEqual({ agrees: true, says: "first is 0 s off" });
  });
});
