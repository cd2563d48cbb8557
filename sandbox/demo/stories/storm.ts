/** Everything fails at once: one cause is likely, so that nothing is restarted; people get one message and one page that name it. */
import type { IncidentRecord } from "../../../src/record/incident.js";
import { phone } from "../../slack/phone.js";
import { SERVICES, seedDeployment, seedStatefulSet, type Workload } from "../platform.js";
import { policyText } from "../policy.js";
import type { DemoAlert, Stage } from "../stage.js";
import type { Story } from "../story.js";

/** What may reach people, however many alerts there are. */
const REACHES = { messages: 1, pages: 1 };
const DATABASE = "postgres";

export const story: Story = {
  name: "storm",
  says: "six workloads fail at once: nothing is restarted, although the rule may; one message and one page name the cause",
  title: "an alert storm",

  async tell(stage) {
    const { ground, say, expect, pager, slack } = stage;
    const { kubernetes, behave, grant } = stage.sandbox();
    const deployments = workloads();
    let hangs = false;
    behave(() => (hangs ? { kind: "unready" } : { kind: "ready", readyAfterMs: 300, logs: ["listening"] }));
    for (const one of deployments) seedDeployment(kubernetes, one);
    seedStatefulSet(kubernetes, {
      name: "postgres-primary",
      service: DATABASE,
      image: "postgres:17",
      replicas: 1,
      port: 5432,
    });
    const all = deployments.reduce((sum, one) => sum + one.replicas, 1);
    const serving = () =>
      kubernetes.list("Pod", ground.namespace).filter((p) => p.status?.containerStatuses?.[0]?.ready === true).length;
    await stage.until("the platform to run", async () => serving() === all, 15_000);
    await grant("a");
    await stage.startNightshift({
      policy: policyText(ground, { rules: RULES, more: "guards: { storm: { within: 10s, quiet: 10s } }" }),
      memory: "storm",
    });
    say(
      "world",
      `${deployments.length} Deployments that all call one database. The rule may restart each of them by itself (autonomy: auto): one by one, each of these plans would be allowed. A storm is over after 15 quiet minutes; in this compressed time, after 10 s.`,
    );

    hangs = true;
    await stage.until("everything to fail", async () => serving() === 0, 15_000);
    say(
      "fails",
      "PostgreSQL hangs, and its exporter with it: no alert names it. Whatever needs it is no longer ready; restarting that would help nothing.",
    );
    const alerts = deployments.flatMap((one) => alertsOf(stage, one.name));
    await stage.fire(alerts);
    say("alerts", `${alerts.length} alerts fire within a moment, for ${deployments.length} workloads.`);

    const decided = await stage.until("every alert to be decided", () => decidedOf(stage, alerts.length), 40_000);
    const held = decided.filter((r) => r.state === "held" && r.reason === "storm");
    const found = decided.map((r) => `${r.target?.name ?? "?"}: ${r.state} ${r.reason ?? ""}`).join(", ");
    expect(`every restart held because of the storm (found ${found})`, held.length === deployments.length);
    say("held", `${held.length} incidents are held: ${held[0]?.says ?? "none"}.`, { held: held.length });
    const page = await stage.until("the page", async () => pager.alerts[0], 15_000);
    say("paged", `PagerDuty rings: ${page.summary}`);
    expect(
      `the page suspects the database (found ${page.summary})`,
      page.state === "triggered" && page.summary.includes(`Service ${ground.namespace}/${DATABASE}`),
    );
    const message = await stage.until(
      "the message",
      async () => slack.messages.find((m) => m.threadTs === null),
      15_000,
    );
    stage.screen.show({ phone: phone(message) });
    expect("the message suspects it too", phone(message).join("\n").includes(DATABASE));
    expect("nothing written during the storm", (await stage.effects()).length === 0);
    say("told", "That is all that people get; the alerts' own incidents are told within it.");

    await stage.pause(2000);
    hangs = false;
    await stage.until("everything to run", async () => serving() === all, 15_000);
    await stage.resolve(alerts);
    say("mended", "A person mends the database; everything recovers by itself, and the alerts resolve.");
    const over = await stage.incident(
      "the storm to be over",
      (r) => r.storm != null && r.storm.overAt !== null,
      40_000,
    );
    say("over", `After the quiet: ${over.timeline.at(-1)?.says ?? "it is over"}.`);
    await stage.until("the message to say so", async () => phone(message).join("\n").includes("STORM OVER"), 15_000);
    stage.screen.show({ phone: phone(message) });

    const effects = (await stage.effects()).length;
    const messages = slack.messages.filter((m) => m.threadTs === null).length;
    const pages = pager.alerts.length;
    expect("nothing written after the storm either", effects === 0);
    expect(
      `${REACHES.messages} message and ${REACHES.pages} page (found ${messages} and ${pages})`,
      messages === REACHES.messages && pages === REACHES.pages,
    );
    expect("no call broke a vendor's rule", slack.violations.length + pager.violations.length === 0);
    say(
      "summary",
      `alerts: ${alerts.length} · workloads: ${deployments.length} · effects: ${effects} · messages: ${messages} · pages: ${pages}`,
      { alerts: alerts.length, workloads: deployments.length, reason: "storm", messages, pages, effects },
    );
  },
};

/** The guide's three services and three more, each told by its ConfigMap where the database is. */
function workloads(): Workload[] {
  const others = ["mcp-gateway", "mcp-scheduler", "mcp-worker"].map((name, index) => ({
    name,
    image: `ghcr.io/your-org/${name}:v1.0.0`,
    replicas: 1,
    port: 8010 + index,
  }));
  return [...SERVICES, ...others].map((one) => ({
    ...one,
    config: { name: `${one.name}-config`, data: { DATABASE_HOST: DATABASE } },
  }));
}

/** The incidents of the workloads once all alerts are in them and none is open; at once when something was written. */
async function decidedOf(stage: Stage, alerts: number): Promise<IncidentRecord[] | null> {
  const records = (await stage.incidents()).filter((r) => r.storm == null);
  if ((await stage.effects()).length > 0) return records;
  const known = new Set(records.flatMap((r) => r.alerts.map((a) => a.fingerprint)));
  const settled = records.every((r) => ["held", "suppressed", "remediated"].includes(r.state));
  return known.size === alerts && settled ? records : null;
}

const RULES = `  - name: unavailable
    match: ['alertname=~"ServiceUnavailable|KubeDeploymentReplicasMismatch"']
    runbook: restart-workload
    autonomy: auto
    target: { kind: Deployment, namespace: $labels.namespace, name: $labels.deployment }`;

function alertsOf(stage: Stage, deployment: string): DemoAlert[] {
  const { cluster, namespace } = stage.ground;
  const labels = { cluster, namespace, deployment };
  return [
    {
      labels: { alertname: "ServiceUnavailable", ...labels, severity: "critical" },
      annotations: { summary: `${deployment}: no replica is available` },
    },
    {
      labels: {
        alertname: "KubeDeploymentReplicasMismatch",
        ...labels,
        job: "kube-state-metrics",
        severity: "warning",
      },
      annotations: { summary: "Deployment has not matched the expected number of replicas." },
    },
  ];
}
