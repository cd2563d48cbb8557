/** Pods that crash by themselves are not restarted; the one that hangs after the cause is mended is, by eviction. */
import { headlineWithLog } from "../../../src/notify/headline.js";
import type { Raw } from "../../kubernetes/kinds.js";
import { SERVICES, seedDeployment } from "../platform.js";
import { seePodReadiness } from "../pod-readiness.js";
import { policyText } from "../policy.js";
import type { DemoAlert, Stage } from "../stage.js";
import type { Story } from "../story.js";

const NAME = "mcp-learning-system";
const CONFIG = "mcp-learning-config";
const GOOD = "/models";

export const story: Story = {
  name: "crash-loop",
  says: "crashing pods: the cause named in four lines and no restart; after the mending, the one pod that hangs is evicted",
  title: "a crash loop",

  async tell(stage) {
    const { ground, say } = stage;
    const hung = new Set<string>();
    prepare(stage, hung);
    await stage.until("the platform to run", async () => (await ready(stage)).length === 2, 15_000);
    await stage.sandbox().grant("a");
    await stage.sandbox().grant("b");
    const target = "target: { from: pod, namespace: $labels.namespace, name: $labels.pod }";
    await stage.startNightshift({
      policy: policyText(ground, {
        rules: `  - name: pod-not-ready
    match: ['alertname="KubePodNotReady"']
    runbook: restart-pod
    autonomy: approve
    ${target}
  - name: crash-loop
    match: ['alertname="KubePodCrashLooping"']
    runbook: restart-workload
    autonomy: auto
    ${target}`,
      }),
      memory: "crash-loop",
    });
    say(
      "world",
      `${NAME} runs 2 pods. One rule would restart a workload whose pods crash, by itself (autonomy: auto); another one pod, after a yes.`,
    );
    await crashing(stage);
    await hanging(stage, hung);
  },
};

function prepare(stage: Stage, hung: ReadonlySet<string>): void {
  const { kubernetes, behave } = stage.sandbox();
  for (const service of SERVICES)
    seedDeployment(kubernetes, {
      ...service,
      ...(service.name === NAME ? { earlier: "ghcr.io/your-org/mcp-learning-system:v0.9.3" } : {}),
    });
  behave((pod) => {
    if (pod.metadata.labels?.app !== NAME) return { kind: "ready", readyAfterMs: 300 };
    const store = kubernetes.get("ConfigMap", stage.ground.namespace, CONFIG)?.data.MODEL_STORE;
    if (store !== GOOD)
      return {
        kind: "crash",
        exitCode: 3,
        crashAfterMs: 400,
        logs: ["mcp-learning-system v1.0.0", `Error: model store ${store}: no such directory`],
      };
    return hung.has(pod.metadata.name) ? { kind: "unready" } : { kind: "ready", readyAfterMs: 500 };
  });
  seePodReadiness(stage, stage.ground.namespace);
}

/** A restart would hide the cause: the rule may, the runbook says no, and the page carries the diagnosis. */
async function crashing(stage: Stage): Promise<void> {
  const { ground, say, expect, pager } = stage;
  await ground.setData(CONFIG, { MODEL_STORE: "/modles" });
  say("edit", `A colleague mistypes a path in ConfigMap ${CONFIG}; the service reads it again, and dies.`);
  const looping = await stage.until(
    "a crash loop",
    async () =>
      pods(stage).find(
        (pod) => container(pod)?.state.waiting?.reason === "CrashLoopBackOff" && container(pod)?.restartCount > 0,
      ),
    20_000,
  );
  const alerts = [alertOf(stage, "KubePodCrashLooping", looping.metadata.name, "is crash looping")];
  await stage.fire(alerts);
  say("alerts", `KubePodCrashLooping fires for ${looping.metadata.name}.`);
  const held = await stage.incident("the hold", (r) => r.state === "held");
  expect(`no restart of what crashes by itself (found ${held.reason}: ${held.says})`, held.reason === "crash-loop");
  for (const line of headlineWithLog(held.diagnosis)) say("diagnosis", `  ${line}`);
  const told = headlineWithLog(held.diagnosis).join("\n");
  expect("a diagnosis of four lines", held.diagnosis?.headline.length === 4);
  expect(
    "it names the exit code, the last log line and the changed ConfigMap",
    /exit code 3/.test(told) && told.includes("no such directory") && told.includes(`${CONFIG} changed`),
  );
  say("held", `Held: ${held.says}.`);
  const page = await stage.until("the page", async () => pager.alerts.find((a) => a.dedupKey === held.dedupKey));
  say("paged", `PagerDuty rings: ${page.summary}`);
  expect(
    "the page carries the diagnosis, without log lines",
    JSON.stringify(page.details).includes(`${CONFIG} changed`) &&
      !JSON.stringify(page.details).includes("no such directory"),
  );
  expect("nothing written while it crashes", (await stage.effects()).length === 0);
  await stage.until(
    "the message",
    async () =>
      stage.messageOf(held) !== null || (await stage.incidents()).some((r) => r.id === held.id && r.slack !== null),
    10_000,
  );
  stage.shown((await stage.incidents()).find((r) => r.id === held.id) ?? held);
  await stage.pause(1500);
  await stage.resolve(alerts);
  await stage.incident("the alert to resolve", (r) => r.id === held.id && r.resolved);
}

/** What a new process does mend: one that came up badly and hangs. */
async function hanging(stage: Stage, hung: Set<string>): Promise<void> {
  const { ground, say, expect, pager, slack } = stage;
  const [first] = pods(stage);
  const name = String(first?.metadata.name);
  hung.add(name);
  await ground.setData(CONFIG, { MODEL_STORE: GOOD });
  say("mended", "The colleague, called, corrects the path. The kubelet starts the pods again by itself …");
  await stage.until("one pod to be ready", async () => (await ready(stage)).length === 1, 40_000);
  await stage.until(
    "the other to hang",
    async () => container(pods(stage).find((p) => p.metadata.name === name))?.state.running !== undefined,
    40_000,
  );
  say("hangs", `… but ${name} hangs on what it had half loaded: it runs, and is never ready.`);
  const alerts = [alertOf(stage, "KubePodNotReady", name, "has been in a non-ready state for longer than 15 minutes")];
  await stage.fire(alerts);
  say("alerts", `KubePodNotReady fires for ${name}.`);

  const ask = await stage.asked();
  stage.shown(ask);
  say("asked", `It asks: ${ask.plan?.sentence ?? ""}.`);
  for (const line of ask.plan?.evidence ?? []) say("evidence", `  ${line}`);
  await stage.screen.ask("[a]pprove", ["a"]);
  await stage.press(ask);
  await stage.until("the eviction", async () => (await stage.effects()).length > 0, 20_000);
  say(
    "evicted",
    "Approved. It evicts that one pod, named by its UID, through the Eviction API; the ReplicaSet makes another.",
  );
  await stage.until("the new pod", async () => (await ready(stage)).length === 2, 20_000);
  await stage.resolve(alerts);
  const done = await stage.incident(
    "the end",
    (r) => r.id === ask.id && (r.state === "remediated" || r.state === "held"),
  );
  expect(`the incident remediated (it is ${done.state}: ${done.says})`, done.state === "remediated");
  say("verified", `Verified: ${done.says}`);
  await stage.until("the message to say so", async () => stage.messageOf(done)?.text.startsWith("Remediated"), 10_000);
  stage.shown(done);

  const effects = await stage.effects();
  expect(
    `one write, the eviction of ${name} (found ${effects.map((e) => `${e.verb} ${e.kind}/${e.name}`).join(", ") || "none"})`,
    effects.length === 1 && effects[0]?.subresource === "eviction" && effects[0].name === name,
  );
  expect(
    "the hanging pod is gone, both are ready",
    !pods(stage).some((p) => p.metadata.name === name) && (await ready(stage)).length === 2,
  );
  expect("no call broke a vendor's rule", slack.violations.length + pager.violations.length === 0);
  say(
    "summary",
    `alerts: 2 · incidents: 2 · crash loop: held and paged · hanging pod: ${done.state} · effects: ${effects.length}`,
    {
      alerts: 2,
      incidents: (await stage.incidents()).length,
      outcome: done.state,
      pages: pager.alerts.length,
      effects: effects.length,
      on: effects[0]?.subresource ?? null,
    },
  );
}

const pods = (stage: Stage): Raw[] =>
  stage
    .sandbox()
    .kubernetes.list("Pod", stage.ground.namespace)
    .filter((pod) => pod.metadata.labels?.app === NAME);

const container = (pod: Raw | undefined): Raw | undefined => pod?.status?.containerStatuses?.[0];
const isReady = (pod: Raw): boolean => container(pod)?.ready === true;
const ready = async (stage: Stage): Promise<Raw[]> => pods(stage).filter(isReady);

function alertOf(stage: Stage, alertname: string, pod: string, what: string): DemoAlert {
  const { cluster, namespace } = stage.ground;
  return {
    labels: { alertname, cluster, namespace, pod, container: "api", job: "kube-state-metrics", severity: "warning" },
    annotations: { summary: `Pod ${namespace}/${pod} ${what}.` },
  };
}
