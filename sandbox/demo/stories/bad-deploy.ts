/** A bad release, seen by four alerts, taken back by one approved write; a worker is killed in the middle. */
import { headlineWithLog } from "../../../src/notify/headline.js";
import { buttons } from "../../slack/index.js";
import {
  alertsOfRelease,
  errorShare,
  platformBefore,
  rolledOut,
  rulesOfRelease,
  seedPlatform,
  shipBadRelease,
} from "../bad-release.js";
import { CONFIG, NAME, tagOf } from "../release.js";
import { policyText } from "../policy.js";
import type { DemoAlert, Stage } from "../stage.js";
import type { Story } from "../story.js";

export const story: Story = {
  name: "bad-deploy",
  says: "a bad release, seen by four alerts, taken back by one approved write; a worker is killed in the middle",
  title: "a bad deploy",
  cluster: true,

  async tell(stage) {
    const { ground, say } = stage;
    if (!ground.real) seedPlatform(stage);
    await platformBefore(stage);
    say("world", `${ground.says} Time is compressed: verification looks every second, not every 30.`);
    say(
      "alertmanager",
      stage.alertmanager.real
        ? "This program fires the alerts, in Prometheus' place; this machine's real Alertmanager sends them."
        : "There is no Alertmanager on this machine: this program fires the alerts, and POSTs them over HTTP as it would.",
    );
    const alerts = await observe(stage);
    await granted(stage);
    await approved(stage, alerts);
  },
};

/** The release before has run for seconds only where the namespace was just made; six days in the sandbox. */
function policy(stage: Stage, autonomy: "observe" | "approve"): string {
  const more = stage.ground.real ? { more: "guards: { rollback: { health: 0s } }" } : {};
  return policyText(stage.ground, { rules: rulesOfRelease(autonomy), ...more });
}

const revision = async (stage: Stage): Promise<number> =>
  Number(
    (await stage.ground.get("Deployment", NAME))?.metadata.annotations?.["deployment.kubernetes.io/revision"] ?? 0,
  );

/** The policy says observe, and the writer's identity may not write: nothing can be. */
async function observe(stage: Stage): Promise<DemoAlert[]> {
  const { say, expect } = stage;
  // Each autonomy has a memory of its own: what was only observed must not keep the alert from being asked about.
  const observing = await stage.startNightshift({
    policy: policy(stage, "observe"),
    memory: "observe",
  });
  say(
    "observe",
    "Nightshift observes: its policy says observe, and its writer has no right in this namespace. Nothing can be written.",
  );
  const before = await revision(stage);
  const pod = await shipBadRelease(stage);
  say(
    "release",
    `A colleague ships ${NAME}: revision ${before} → ${await revision(stage)} (${tagOf(stage.ground.release.bad)}).`,
  );
  await stage.pause(1500);
  const alerts = alertsOfRelease(stage, pod);
  await stage.fire(alerts);
  say("alerts", "Four alerts fire: HighErrorRate, ReplicasMismatch, RolloutStuck, ContainerWaiting.");
  const observed = await stage.incident(
    "the incident to be observed",
    (r) => r.state === "suppressed" && r.reason === "observed" && r.alerts.length === 4,
  );
  say("incident", `One incident, one target, ${observed.alerts.length} alerts.`, { alerts: observed.alerts.length });
  for (const line of headlineWithLog(observed.diagnosis)) say("diagnosis", `  ${line}`);
  say("would-have", observed.wouldHave ?? "");
  expect("a diagnosis of up to four lines", (observed.diagnosis?.headline.length ?? 0) >= 3);
  expect("nothing written while observing", (await stage.effects()).length === 0);
  await Promise.all(observing.map(stage.end));
  return alerts;
}

async function granted(stage: Stage): Promise<void> {
  const { ground, say } = stage;
  say("grant", `To let it act, the namespace's owner runs: ${ground.grantBy}`);
  await stage.screen.ask("[y] grant this, for this one namespace, and set the rule to `autonomy: approve`", ["y"]);
  await ground.grant();
  await stage.startNightshift({ policy: policy(stage, "approve"), memory: "approve", kill: true }, 2);
  say(
    "granted",
    "Granted: patch Deployments in this namespace. Nightshift runs as three processes: one front, two hands.",
  );
}

async function approved(stage: Stage, alerts: readonly DemoAlert[]): Promise<void> {
  const { say, expect, pager, slack } = stage;
  let ask = await stage.asked();
  stage.shown(ask);
  say("asked", `It asks: ${ask.plan?.sentence ?? ""}. PagerDuty rings at the same moment.`, {
    digest: ask.plan?.digest.slice(0, 8),
  });
  expect(
    "PagerDuty rang with the plan",
    pager.alerts.some((a) => a.state === "triggered" && a.summary.includes("Roll back")),
  );
  let edited = 0;
  for (;;) {
    const key = await stage.screen.ask(
      "[a]pprove  [w]hy  [e]dit the world",
      edited === 0 && !process.stdin.isTTY ? ["e", "a"] : ["a", "w", "e"],
    );
    if (key === "a") break;
    if (key === "w") {
      for (const guard of ask.guards)
        say("why", `  ${guard.holds ? "no " : "yes"} ${guard.guard}: expected ${guard.expected}, found ${guard.found}`);
      continue;
    }
    edited += 1;
    // A key that this workload does not read: what an approval is bound to is the whole ConfigMap.
    const data = { BANNER: `edited at ${new Date().toISOString().slice(11, 19)}` };
    await stage.ground.setData(CONFIG, data);
    say("edit", `A colleague changes ConfigMap ${CONFIG} while the ask is open. You approve all the same …`);
    await stage.press(ask);
    ask = await stage.asked(ask.plan?.nonce ?? "");
    say("refused", `Refused, nothing written: ${ask.says}`);
    expect("nothing written on a changed world", (await stage.effects()).length === 0);
    stage.shown(ask);
    say("asked", "A new plan is posted, with what changed; the old button is void.");
  }

  await stage.press(ask);
  say("approved", "Approved. One of the two hands takes the Lease, writes, and …");
  await stage.until("the kill", async () => (await stage.effects()).length > 0, 20_000 * stage.ground.patience);
  say("killed", "… is killed (SIGKILL) right after its write, before it could note that it had written.");
  const taken = await stage.incident("the takeover", (r) => r.id === ask.id && (r.run?.steps.length ?? 0) > 0, 40_000);
  const count = (await stage.effects()).length;
  say(
    "taken-over",
    `The other process fences the object, looks, and finds it done. Writes that the cluster has seen: ${count}.`,
    { writes: count, steps: taken.run?.steps.length },
  );
  expect("exactly one write of the pod template", count === 1);
  await stage.until("the rollout", () => rolledOut(stage), 20_000 * stage.ground.patience);
  say("rollout", `Rollout 3/3. Failing requests: ${Math.round((await errorShare(stage)) * 100)} %.`);
  await stage.pause(1000);
  await stage.resolve(alerts);
  say("resolved", "The alerts resolve. Nightshift goes on looking: samples of its own, not the alert, decide.");
  const done = await stage.incident(
    "the verification",
    (r) => r.id === ask.id && (r.state === "remediated" || r.state === "held"),
  );
  expect(`the incident remediated (it is ${done.state}: ${done.says})`, done.state === "remediated");
  say("verified", `Verified: ${done.says}`);
  const message = await stage.until(
    "the message to be edited",
    async () => {
      const found = stage.messageOf(done);
      return found !== null && buttons(found).length === 0 ? found : null;
    },
    10_000,
  );
  stage.shown(done);
  say("edited", `Slack's one message was edited ${message.edits} times; its buttons are gone.`);
  expect("the good release runs", await rolledOut(stage));
  expect("no call broke a vendor's rule", slack.violations.length + pager.violations.length === 0);
  const effects = (await stage.effects()).length;
  const doubled = Math.max(0, effects - 1);
  say(
    "summary",
    `alerts: ${alerts.length} · incidents: 1 · outcome: ${done.state} · effects: ${effects} · doubled: ${doubled} · plans refused on a changed world: ${edited}`,
    { alerts: alerts.length, incidents: 1, outcome: done.state, effects, doubled },
  );
}
