/** The first story: a bad release, seen by four alerts, taken back by one approved write. */
import { headlineWithLog } from "../../src/notify/headline.js";
import type { IncidentRecord } from "../../src/record/incident.js";
import { until } from "../processes.js";
import { buttons, type StandInMessage } from "../slack/index.js";
import { phone } from "../slack/phone.js";
import type { Screen } from "./screen.js";
import { CONFIG, type DemoWorld, IMAGE, NAME, NAMESPACE, YOU } from "./world.js";

/** Tells the story; the list of what did not come out as told, empty when all did. */
export async function badDeploy(world: DemoWorld, screen: Screen): Promise<string[]> {
  const wrong: string[] = [];
  const expect = (what: string, ok: boolean) => {
    if (!ok) wrong.push(what);
  };
  const deployment = () => world.kubernetes.get("Deployment", NAMESPACE, NAME);
  await until("the platform to run", async () => deployment()?.status?.availableReplicas === 3, 15_000);
  const panes = setInterval(() => screen.show({ pager: pagerLines(world), cluster: clusterLines(world) }), 250);
  try {
    screen.say(
      "world",
      `The platform of the guide: 3 services in ${NAMESPACE}, stand-ins for Kubernetes, Slack, PagerDuty and Prometheus, real Redis. Time is compressed: verification looks every second, not every 30.`,
    );
    screen.say(
      "alertmanager",
      world.alertmanager.real
        ? "Alerts come from this machine's real Alertmanager."
        : "There is no Alertmanager on this machine: alerts are POSTed over HTTP as it would.",
    );

    // Observe: the writer's identity may not write, and the policy does not let it.
    const front = await world.startProcess("front", "observe", { kill: false });
    const hands = await world.startProcess("hands", "observe", { kill: false });
    screen.say(
      "observe",
      "Nightshift observes: its policy says observe, and its writer has no right in this namespace. Nothing can be written.",
    );
    await world.ship();
    screen.say("release", `A colleague ships ${NAME}: revision 41 → 42 (${IMAGE.bad.split(":")[1]}).`);
    await until(
      "pods to crash",
      async () =>
        world.kubernetes
          .list("Pod", NAMESPACE)
          .some((p) => p.status?.containerStatuses?.[0]?.state?.waiting?.reason === "CrashLoopBackOff"),
      15_000,
    );
    await pause(1500);
    const startsAt = new Date().toISOString();
    await world.fire(startsAt);
    screen.say("alerts", "Four alerts fire: HighErrorRate, ReplicasMismatch, RolloutStuck, ContainerWaiting.");
    const observed = await until(
      "the incident to be observed",
      async () =>
        (await incidents(world)).find(
          (r) => r.state === "suppressed" && r.reason === "observed" && r.alerts.length === 4,
        ),
      20_000,
    );
    screen.say("incident", `One incident, one target, ${observed.alerts.length} alerts.`, {
      alerts: observed.alerts.length,
    });
    for (const line of headlineWithLog(observed.diagnosis)) screen.say("diagnosis", `  ${line}`);
    screen.say("would-have", observed.wouldHave ?? "");
    expect("a diagnosis of up to four lines", (observed.diagnosis?.headline.length ?? 0) >= 3);
    expect("nothing written while observing", effects(world).length === 0);
    await Promise.all([world.end(front), world.end(hands)]);

    // The grant.
    screen.say(
      "grant",
      `To let it act, the namespace's owner runs: kubectl -n ${NAMESPACE} create rolebinding nightshift-hands --clusterrole=nightshift-class-a --serviceaccount=nightshift:nightshift-hands`,
    );
    if (
      (await screen.ask("[y] grant this, for this one namespace, and set the rule to `autonomy: approve`", ["y"])) !==
      "y"
    )
      return ["no grant"];
    world.grant();
    await world.startProcess("front", "approve", { kill: false });
    await Promise.all([
      world.startProcess("hands", "approve", { kill: true }),
      world.startProcess("hands", "approve", { kill: true }),
    ]);
    screen.say(
      "granted",
      "Granted: patch Deployments in this namespace. Nightshift runs as three processes: one front, two hands.",
    );
    let ask = await waitForAsk(world, null);
    shown(world, screen, ask);
    screen.say("asked", `It asks: ${ask.plan?.sentence ?? ""}. PagerDuty rings at the same moment.`, {
      digest: ask.plan?.digest.slice(0, 8),
    });
    expect(
      "PagerDuty rang with the plan",
      world.pager.alerts.some((a) => a.state === "triggered" && a.summary.includes("Roll back")),
    );

    let edited = 0;
    for (;;) {
      const key = await screen.ask(
        "[a]pprove  [w]hy  [e]dit the world",
        edited === 0 && !process.stdin.isTTY ? ["e", "a"] : ["a", "w", "e"],
      );
      if (key === "w") {
        for (const guard of ask.guards)
          screen.say(
            "why",
            `  ${guard.holds ? "no " : "yes"} ${guard.guard}: expected ${guard.expected}, found ${guard.found}`,
          );
        continue;
      }
      if (key === "e") {
        edited += 1;
        await world.editConfig(`edited at ${new Date().toISOString().slice(11, 19)}`);
        screen.say("edit", `A colleague changes ConfigMap ${CONFIG} while the ask is open. You approve all the same …`);
        await press(world, ask);
        const before = ask.plan?.nonce ?? "";
        ask = await waitForAsk(world, before);
        screen.say("refused", `Refused, nothing written: ${ask.says}`);
        expect("nothing written on a changed world", effects(world).length === 0);
        shown(world, screen, ask);
        screen.say("asked", "A new plan is posted, with what changed; the old button is void.");
        continue;
      }
      break;
    }

    await press(world, ask);
    screen.say("approved", "Approved. One of the two hands takes the Lease, writes, and …");
    await until(
      "the kill",
      async () => world.kubernetes.writes().some((w) => w.templateChanged && w.op !== null),
      20_000,
    );
    screen.say("killed", "… is killed (SIGKILL) right after its write, before it could note that it had written.");
    const taken = await until(
      "the takeover",
      async () => (await incidents(world)).find((r) => r.id === ask.id && (r.run?.steps.length ?? 0) > 0),
      40_000,
    );
    const count = effects(world).length;
    screen.say(
      "taken-over",
      `The other process fences the object, looks, and finds it done. Writes seen by the API server: ${count}.`,
      { writes: count, steps: taken.run?.steps.length },
    );
    expect("exactly one write of the pod template", count === 1);
    await until(
      "the rollout",
      async () => deployment()?.status?.availableReplicas === 3 && deployment()?.status?.updatedReplicas === 3,
      20_000,
    );
    screen.say("rollout", `Rollout 3/3. Failing requests: ${Math.round(world.errorShare() * 100)} %.`);
    await pause(1000);
    await world.resolve();
    screen.say(
      "resolved",
      "The alerts resolve. Nightshift goes on looking: samples of its own, not the alert, decide.",
    );
    const done = await until(
      "the verification",
      async () =>
        (await incidents(world)).find((r) => r.id === ask.id && (r.state === "remediated" || r.state === "held")),
      30_000,
    );
    expect(`the incident remediated (it is ${done.state}: ${done.says})`, done.state === "remediated");
    screen.say("verified", `Verified: ${done.says}`);
    const message = await until(
      "the message to be edited",
      async () => messageOf(world, done, (m) => buttons(m).length === 0),
      10_000,
    );
    shown(world, screen, done);
    screen.say("edited", `Slack's one message was edited ${message.edits} times; its buttons are gone.`);
    expect("the good release runs", deployment()?.spec.template.spec.containers[0].image === IMAGE.good);
    expect("no call broke a vendor's rule", world.slack.violations.length + world.pager.violations.length === 0);
    screen.say(
      "summary",
      `alerts: 4 · incidents: 1 · outcome: ${done.state} · effects: ${effects(world).length} · doubled: ${Math.max(0, effects(world).length - 1)} · plans refused on a changed world: ${edited}`,
      {
        alerts: 4,
        incidents: 1,
        outcome: done.state,
        effects: effects(world).length,
        doubled: Math.max(0, effects(world).length - 1),
      },
    );
    return wrong;
  } finally {
    clearInterval(panes);
  }
}

async function incidents(world: DemoWorld): Promise<IncidentRecord[]> {
  const answer = await fetch(`http://127.0.0.1:${world.port}/api/v1/incidents`);
  return ((await answer.json()) as { incidents: IncidentRecord[] }).incidents;
}

/** The ask with another nonce than the last one, once its message is posted. */
async function waitForAsk(world: DemoWorld, nonce: string | null): Promise<IncidentRecord> {
  return until(
    "the ask",
    async () => {
      const found = (await incidents(world)).find(
        (r) => r.state === "waiting" && r.plan?.nonce !== nonce && r.slack !== null && r.alerts.length >= 1,
      );
      return found &&
        messageOf(world, found, (m) => buttons(m).some((b) => String(b["value"]).includes(found.plan?.nonce ?? "?")))
        ? found
        : null;
    },
    40_000,
  );
}

function messageOf(
  world: DemoWorld,
  record: IncidentRecord,
  test: (message: StandInMessage) => boolean,
): StandInMessage | null {
  const message = world.slack.messages.find((m) => m.ts === record.slack?.ts && m.threadTs === null);
  return message && test(message) ? message : null;
}

async function press(world: DemoWorld, record: IncidentRecord): Promise<void> {
  const message = messageOf(world, record, () => true);
  if (message === null) throw new Error("the ask has no message");
  await world.slack.press(message, "approve", { user: YOU, name: "you" });
}

function shown(world: DemoWorld, screen: Screen, record: IncidentRecord): void {
  const message = messageOf(world, record, () => true);
  if (message !== null) screen.show({ phone: phone(message) });
}

function effects(world: DemoWorld) {
  return world.kubernetes
    .writes()
    .filter(
      (write) =>
        write.kind === "Deployment" && write.templateChanged && write.op !== null && write.user.includes("nightshift"),
    );
}

function pagerLines(world: DemoWorld): string[] {
  return world.pager.alerts.map((alert) => `${alert.state === "triggered" ? "RINGS" : alert.state}  ${alert.summary}`);
}

function clusterLines(world: DemoWorld): string[] {
  return world.kubernetes.list("Deployment", NAMESPACE).map((d) => {
    const revision = d.metadata.annotations?.["deployment.kubernetes.io/revision"] ?? "?";
    return `${d.metadata.name}  revision ${revision}  ${d.status?.availableReplicas ?? 0}/${d.spec.replicas} available  ${String(d.spec.template.spec.containers[0].image).split(":")[1]}`;
  });
}

const pause = (ms: number) => new Promise((done) => setTimeout(done, ms));
