import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import type { FaultAction } from "../../sandbox/kubernetes/faults.js";
import { noSickWorld, type SickWorld, startSickWorld, suite } from "../harness/sick-world.js";

/** An API server under load: every answer late, or connections that end in the middle. */
describe.skipIf(noSickWorld !== null)(suite("the API server is slow"), () => {
  let s: SickWorld;
  let slow = false;

  beforeAll(async () => {
    s = await startSickWorld({ namespace: "slow", services: ["late", "cut", "lost", "never"] });
  }, 60_000);

  afterEach(() => {
    slow = false;
    s.kubernetes.faults.clear();
  });

  afterAll(async () => {
    await s?.stop();
  }, 60_000);

  /** What Nightshift sends: the test itself goes by another name. */
  function disturb(action: FaultAction, each: number): void {
    let count = 0;
    s.kubernetes.faults.add(
      {
        body() {
          if (!slow) return false;
          count += 1;
          return count % each === 0;
        },
      },
      action,
    );
    slow = true;
  }

  it.each<[string, string, FaultAction, number]>([
    ["late", "every answer comes half a second late", { do: "delay", ms: 500 }, 1],
    ["cut", "every 25th connection is cut before anything is done", { do: "drop-before" }, 25],
    ["lost", "every 25th connection is cut after it was done", { do: "drop-after" }, 25],
  ])(
    "%s: %s: one effect, and its run ends remediated (H41 I1 I8)",
    async (name, _what, action, each) => {
      await s.sicken(name);
      disturb(action, each);
      await s.underWay(name);
      await s.mend(name);
      const end = await s.end(name);

      expect(end, JSON.stringify(end.timeline)).toMatchObject({ state: "remediated" });
      expect(s.effects(name)).toBe(1);
    },
    120_000,
  );

  it("answers nothing within ten seconds: nothing is written, and what was accepted is not lost (I7)", async () => {
    disturb({ do: "delay", ms: 12_000 }, 1);
    const before = s.kubernetes.writes().length;
    await s.world.fire(s.labels("never"));
    const open = await s.world.incident("the record", (one) => one.alerts[0]?.labels["service"] === "never");
    await new Promise((done) => setTimeout(done, 15_000));

    expect(open.state).toBe("open");
    expect(
      s.kubernetes
        .writes()
        .slice(before)
        .filter((write) => write.kind === "Deployment"),
    ).toEqual([]);
    slow = false;
    s.kubernetes.faults.clear();
    const end = await s.world.incident(
      "its end",
      (one) => one.alerts[0]?.labels["service"] === "never" && one.endedAt !== null,
    );
    expect(end, JSON.stringify(end.timeline)).toMatchObject({ state: "held", reason: "target-not-found" });
  }, 120_000);
});
