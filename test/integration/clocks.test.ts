import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { systemClock } from "../../src/clock.js";
import { noSickWorld, type SickWorld, startSickWorld, suite } from "../harness/sick-world.js";

const HOUR = 3600_000;

describe.skipIf(noSickWorld !== null)(suite("the clock jumps"), () => {
  let s: SickWorld;
  let offset = 0;

  beforeAll(async () => {
    s = await startSickWorld({
      namespace: "clocks",
      services: ["back", "forth", "behind", "ahead"],
      app: { clock: { ...systemClock, now: () => systemClock.now() + offset } },
    });
  }, 60_000);

  afterAll(async () => {
    await s?.stop();
  }, 60_000);

  it.each([
    ["back", -HOUR],
    ["forth", HOUR],
  ])(
    "an hour %s in the middle of a run: its effect was made once, and it ends (H50 I1)",
    async (name, jump) => {
      const startsAt = await s.sicken(name);
      await s.underWay(name);
      offset = jump;
      try {
        await s.mend(name);
        const end = await s.end(name);

        expect(["remediated", "held"], JSON.stringify(end.timeline)).toContain(end.state);
        expect(end.page === "none", JSON.stringify(end.timeline)).toBe(end.state === "remediated");
        await s.world.fire(s.labels(name), startsAt);
        await new Promise((done) => setTimeout(done, 3000));
        expect(s.effects(name)).toBe(1);
      } finally {
        offset = 0;
        await s.mend(name);
      }
    },
    120_000,
  );

  it.each([
    ["behind", -HOUR, "ahead of"],
    ["ahead", HOUR, "behind"],
  ])(
    "is an hour %s everybody else's: nothing is begun, and a person is told by how much (H50 G27)",
    async (name, jump, theirs) => {
      offset = jump;
      try {
        await s.sicken(name);
        const end = await s.end(name);

        expect(end).toMatchObject({ state: "held", reason: "clock", page: expect.stringMatching(/wanted|sent/) });
        expect(end.says).toMatch(
          new RegExp(`clock is wrong: the API server is 3[56]\\d\\d(\\.\\d)? s ${theirs} this process, Redis is 3[56]`),
        );
        expect(s.effects(name)).toBe(0);
      } finally {
        offset = 0;
        await s.mend(name);
      }
    },
    90_000,
  );

  it("is measured: one gauge for each of the others", async () => {
    const text = await (await fetch(`http://127.0.0.1:${s.world.port}/metrics`)).text();
    for (const source of ["the API server", "Redis"])
      expect(text).toMatch(new RegExp(`^nightshift_clock_off_seconds\\{source="${source}"\\} -?\\d`, "m"));
  });
});
