/** Asked at 3 a.m., nobody there: the ask expires, PagerDuty is paged, and a press that comes too late does nothing. */
import { buttons } from "../../slack/index.js";
import { alertsOfRelease, platformBefore, rulesOfRelease, seedPlatform, shipBadRelease } from "../bad-release.js";
import { NAME, tagOf } from "../release.js";
import { policyText, YOU } from "../policy.js";
import type { Story } from "../story.js";

export const story: Story = {
  name: "no-answer",
  says: "asked at 3 a.m., nobody there: the ask expires, a person is paged, and an answer that comes too late does nothing",
  title: "nobody answers",

  async tell(stage) {
    const { say, expect, pager, slack } = stage;
    seedPlatform(stage);
    await platformBefore(stage);
    await stage.sandbox().grant("a");
    await stage.startNightshift({
      policy: policyText(stage.ground, { rules: rulesOfRelease("approve"), expires: "10s" }),
      memory: "no-answer",
    });
    say(
      "world",
      "3 a.m. Nightshift may act here after one approval. An ask stands for ten minutes by default; in this compressed time, for ten seconds.",
    );
    const pod = await shipBadRelease(stage);
    say(
      "release",
      `An evening's release of ${NAME} (${tagOf(stage.ground.release.bad)}) crashes; the one before still serves.`,
    );
    const alerts = alertsOfRelease(stage, pod).filter((a) => a.labels["alertname"] === "KubeDeploymentRolloutStuck");
    await stage.fire(alerts);
    say("alerts", "KubeDeploymentRolloutStuck fires: a warning, which wakes nobody by itself.");

    const ask = await stage.asked();
    stage.shown(ask);
    const before = stage.messageOf(ask);
    const old = before === null ? null : structuredClone(before);
    say("asked", `It asks in Slack: ${ask.plan?.sentence ?? ""}. PagerDuty is quiet: it is a warning.`);
    expect("PagerDuty quiet while the ask is open", pager.alerts.length === 0);
    say("nobody", "Nobody is there. The ask waits; no worker is held by it, and nothing is changed.");

    const held = await stage.incident("the ask to expire", (r) => r.id === ask.id && r.state === "held", 40_000);
    expect(`the ask expired (found ${held.reason}: ${held.says})`, held.reason === "expired");
    say("expired", `The ask has expired: ${held.says}. The plan is void, the incident is not.`);
    const page = await stage.until(
      "the page",
      async () => pager.alerts.find((a) => a.dedupKey === held.dedupKey),
      10_000,
    );
    say("paged", `PagerDuty rings: ${page.summary}`);
    expect(
      "the page says that nobody answered",
      page.state === "triggered" && page.summary.includes("nobody answered"),
    );
    expect("the page carries the plan that was not carried out", JSON.stringify(page.details).includes("Roll back"));

    await stage.until("the buttons to change", async () => {
      const message = stage.messageOf(held);
      return (
        message !== null &&
        buttons(message)
          .map((b) => b["action_id"])
          .join() === "replan"
      );
    });
    stage.shown(held);
    // A phone that was offline still shows the old message: what it sends is answered, and does nothing.
    if (old !== null) await slack.press(old, "approve", { user: YOU, name: "you" });
    const whisper = await stage.until("the answer to the late press", async () => slack.whispers.at(-1), 10_000);
    say(
      "late",
      `Somebody presses Approve on a phone that still shows the old message. The answer, to them alone: ${whisper.text}`,
    );
    await stage.pause(1500);

    const effects = (await stage.effects()).length;
    const after = (await stage.incidents()).find((r) => r.id === held.id);
    expect("nothing written", effects === 0);
    expect(`the incident stays with a person (it is ${after?.state})`, after?.state === "held");
    expect("no call broke a vendor's rule", slack.violations.length + pager.violations.length === 0);
    say(
      "summary",
      `alerts: ${alerts.length} · outcome: held, nobody answered in time · pages: ${pager.alerts.length} · effects: ${effects}`,
      {
        alerts: alerts.length,
        outcome: held.state,
        reason: held.reason,
        pages: pager.alerts.length,
        effects,
      },
    );
  },
};
