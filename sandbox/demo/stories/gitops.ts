/** Argo CD owns the Deployment: the change belongs in Git, so that it is handed to a person as text and nothing is written. */
import { phone } from "../../slack/phone.js";
import {
  alertsOfRelease,
  platformBefore,
  rolledOut,
  rulesOfRelease,
  seedPlatform,
  shipBadRelease,
} from "../bad-release.js";
import { NAME, tagOf } from "../release.js";
import { policyText } from "../policy.js";
import type { Story } from "../story.js";

const APPLICATION = "mcp-platform";
const CONTROLLER = "argocd-controller";

export const story: Story = {
  name: "gitops",
  says: "Argo CD owns the Deployment: the change to commit is handed over as text, nothing is written",
  title: "a Deployment that Git owns",

  async tell(stage) {
    const { ground, say, expect, pager, slack } = stage;
    const id = `${APPLICATION}:apps/Deployment:${ground.namespace}/${NAME}`;
    seedPlatform(stage, { annotations: { "argocd.argoproj.io/tracking-id": id } });
    await platformBefore(stage);
    await stage.sandbox().grant("a");
    await stage.startNightshift({
      policy: policyText(ground, { rules: rulesOfRelease("auto") }),
      memory: "gitops",
    });
    say(
      "world",
      `The rule says autonomy: auto and the writer may patch Deployments: but Argo CD's application ${APPLICATION} puts ${NAME} back to what Git says.`,
    );
    const pod = await shipBadRelease(stage, CONTROLLER);
    say(
      "release",
      `A merge brings ${tagOf(stage.ground.release.bad)}; Argo CD (here: its write, by the sandbox) syncs it. Its pods crash.`,
    );
    const alerts = alertsOfRelease(stage, pod);
    await stage.fire(alerts);
    say("alerts", "The same four alerts fire as for any bad release.");

    const held = await stage.incident("the hand-off", (r) => r.state === "held" && r.alerts.length === alerts.length);
    expect(`held because GitOps owns it (found ${held.reason}: ${held.says})`, held.reason === "owned-by-gitops");
    say("held", `Held: ${held.says}`);
    const lines = (held.handOff ?? "").split("\n");
    for (const line of lines) say("hand-off", `  ${line}`);
    expect("the hand-off names the revision to go back to", /revision 41/.test(lines[0] ?? ""));
    const page = await stage.until("the page", async () => pager.alerts.find((a) => a.dedupKey === held.dedupKey));
    say("paged", `PagerDuty rings: ${page.summary}`);
    expect(
      "the page carries the hand-off",
      String(page.details["hand_off"] ?? "").includes("Commit that change in Git"),
    );
    const posted = await stage.until("the message", async () => {
      const message = stage.messageOf((await stage.incidents()).find((r) => r.id === held.id) ?? held);
      return message !== null && phone(message).join("\n").includes("Commit that change in Git") ? message : null;
    });
    stage.screen.show({ phone: phone(posted) });

    await stage.pause(2000);
    await ground.setImage({ name: NAME, image: ground.release.good, by: CONTROLLER });
    say("git", "A person reverts the commit; Argo CD syncs it.");
    await stage.until("the rollout", () => rolledOut(stage), 20_000);
    await stage.resolve(alerts);
    await stage.incident("the alerts to resolve", (r) => r.id === held.id && r.resolved);
    say("resolved", "Rollout 3/3, the alerts resolve. The incident stays a person's: Nightshift did not remediate it.");

    const effects = (await stage.effects()).length;
    expect("nothing written", effects === 0);
    expect("no call broke a vendor's rule", slack.violations.length + pager.violations.length === 0);
    say(
      "summary",
      `alerts: ${alerts.length} · incidents: 1 · outcome: held, GitOps owns it · pages: ${pager.alerts.length} · effects: ${effects}`,
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
