import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startHands, type Hand, type Hands } from "../harness/workers.js";
import { noSickWorld, type SickWorld, startSickWorld, suite } from "../harness/sick-world.js";

/** The button is pressed at the front; the run is another process's. */
describe.skipIf(noSickWorld !== null)(suite("Abort"), () => {
  let s: SickWorld;
  let hands: Hands;
  let asked: (hand: Hand, bracket: string, incident: string) => Promise<void> = async () => undefined;

  beforeAll(async () => {
    s = await startSickWorld({
      namespace: "aborts",
      services: ["early", "late"],
      slackMode: "socket",
      env: { NIGHTSHIFT_ROLE: "front" },
    });
    hands = await startHands({
      count: 2,
      env: s.world.env,
      asked: (hand, { bracket, incident }) => asked(hand, bracket, incident),
    });
  }, 90_000);

  afterAll(async () => {
    await hands?.stop();
    await s?.stop();
  }, 60_000);

  async function press(name: string): Promise<void> {
    const record = await s.record("a message with the button", name, (one) => one.slack !== null);
    const shown = await s.world.until("the button", async () =>
      s.world.slack.messages.find(
        (one) => one.ts === record.slack?.ts && JSON.stringify(one.blocks).includes('"abort"'),
      ),
    );
    await s.world.slack.press(shown, "abort", { user: "U1" });
    await s.record("the abort", name, (one) => one.run?.abort !== null && one.run?.abort !== undefined);
  }

  it("before the write: the other process stops at its next safe point, and nothing was changed (H43)", async () => {
    let pressed = false;
    asked = async (_hand, bracket) => {
      if (bracket !== "check" || pressed) return;
      pressed = true;
      await press("early");
    };
    await s.sicken("early");
    const end = await s.end("early");

    expect(end, JSON.stringify(end.timeline)).toMatchObject({ state: "held", reason: "aborted" });
    expect(end.says).toMatch(/stopped it/);
    expect(s.effects("early")).toBe(0);
    await s.record("the page", "early", (one) => one.page === "sent");
    await s.mend("early");
  }, 90_000);

  it("after the write: it is not waited for any longer, a person is told, and nothing more is written (H43)", async () => {
    asked = async () => undefined;
    await s.sicken("late");
    await s.underWay("late");
    await press("late");
    const end = await s.end("late");

    expect(end, JSON.stringify(end.timeline)).toMatchObject({ state: "held", reason: "aborted" });
    expect(end.says).toMatch(/stopped it after the change was made/);
    expect(s.effects("late")).toBe(1);
    await s.record("the page", "late", (one) => one.page === "sent");
  }, 90_000);
});
