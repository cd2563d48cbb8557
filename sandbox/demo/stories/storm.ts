/** Everything fails at once: one cause is likely, so that nothing is restarted and people are told, few times. */
import { SERVICES, seedDeployment, seedStatefulSet } from "../platform.js";
import { policyText } from "../policy.js";
import type { DemoAlert, Stage } from "../stage.js";
import type { Story } from "../story.js";

/** No more than this may reach people: messages in the channel, alerts at PagerDuty. */
const MOST = { messages: 5, pages: 2 };
const DATABASE = "postgres-primary";
const CACHE = { name: "redis", image: "redis:7", replicas: 1, port: 6379 };

export const story: Story = {
  name: "storm",
  says: "five workloads fail at once: nothing is restarted, although the rule may; people are told of one likely cause",
  title: "an alert storm",

  async tell(stage) {
    const { ground, say, expect, pager, slack } = stage;
    const { kubernetes, behave, grant } = stage.sandbox();
    let cut = false;
    behave(() => (cut ? { kind: "unready" } : { kind: "ready", readyAfterMs: 300, logs: ["listening"] }));
    const deployments = [...SERVICES, CACHE];
    for (const one of deployments) seedDeployment(kubernetes, one);
    seedStatefulSet(kubernetes, { name: DATABASE, image: "postgres:17", replicas: 1, port: 5432 });
    const serving = () =>
      kubernetes.list("Pod", ground.namespace).filter((p) => p.status?.containerStatuses?.[0]?.ready === true).length;
    const all = deployments.reduce((sum, one) => sum + one.replicas, 1);
    await stage.until("the platform to run", async () => serving() === all, 15_000);
    await grant("a");
    await stage.startNightshift({ policy: policyText(ground, { rules: RULES }), memory: "storm" });
    say(
      "world",
      `${deployments.length} Deployments and a database. The rule may restart each Deployment by itself (autonomy: auto): one by one, each of these plans would be allowed.`,
    );

    cut = true;
    await stage.until("everything to fail", async () => serving() === 0, 15_000);
    say(
      "cut",
      "Somebody changes the network: no pod reaches the database any more. Restarting anything would help nothing, and load what still works.",
    );
    const alerts = alertsOf(stage, [DATABASE, ...deployments.map((one) => one.name)]);
    await stage.fire(alerts);
    say("alerts", `${alerts.length} alerts fire within a moment, for ${alerts.length} workloads.`);

    const decided = await stage.until(
      "every alert to be decided",
      async () => {
        const records = await stage.incidents();
        // A write is the end of the story, and no reason to wait.
        if ((await stage.effects()).length > 0) return records;
        const known = new Set(records.flatMap((r) => r.alerts.map((a) => a.fingerprint)));
        const settled = records.every(
          (r) => r.state === "held" || r.state === "suppressed" || r.state === "remediated",
        );
        return known.size === alerts.length && settled ? records : null;
      },
      40_000,
    );
    const held = decided.filter((r) => r.reason === "storm");
    const [one] = held;
    say("held", `${held.length} plans are held: ${one?.says ?? "none"}.`, { held: held.length });
    expect(
      `every restart held because of the storm (found ${decided.map((r) => `${r.target?.name ?? "?"}: ${r.state} ${r.reason ?? ""}`).join(", ")})`,
      held.length >= deployments.length,
    );
    await stage.until("people to be told", async () => pager.alerts.length > 0 && slack.messages.length > 0, 15_000);
    // Whoever may still write or tell has had time to.
    await stage.pause(4000);
    const messages = slack.messages.filter((m) => m.threadTs === null).length;
    const pages = pager.alerts.length;
    for (const page of pager.alerts) say("paged", `PagerDuty rings: ${page.summary}`);
    if (one !== undefined) stage.shown((await stage.incidents()).find((r) => r.id === one.id) ?? one);
    const summaries = pager.calls.map(({ body }) => String((body as PagerCall).payload?.summary ?? ""));
    expect(
      `a page names one likely cause (found ${summaries.join(" | ") || "no page"})`,
      summaries.some((summary) => /cause/.test(summary)),
    );
    expect(
      `at most ${MOST.messages} messages and ${MOST.pages} pages (found ${messages} and ${pages})`,
      messages <= MOST.messages && pages <= MOST.pages,
    );
    expect("nothing written during the storm", (await stage.effects()).length === 0);
    say(
      "told",
      `People are told: ${messages} messages in Slack, ${pages} page${pages === 1 ? "" : "s"}. Nothing was written.`,
      { messages, pages },
    );

    cut = false;
    await stage.until("everything to run", async () => serving() === all, 15_000);
    await stage.resolve(alerts);
    say("mended", "The network is put back by a person; everything recovers by itself, and the alerts resolve.");
    await stage.until("the alerts to resolve", async () => (await stage.incidents()).every((r) => r.resolved), 15_000);
    await stage.pause(1000);
    const effects = (await stage.effects()).length;
    expect("nothing written afterwards either", effects === 0);
    expect("no call broke a vendor's rule", slack.violations.length + pager.violations.length === 0);
    say(
      "summary",
      `alerts: ${alerts.length} · workloads: ${alerts.length} · effects: ${effects} · messages: ${messages} · pages: ${pages}`,
      {
        alerts: alerts.length,
        outcome: held.every((r) => r.state === "held") ? "held" : "mixed",
        reason: "storm",
        messages,
        pages,
        effects,
      },
    );
  },
};

interface PagerCall {
  payload?: { summary?: string };
}

const RULES = `  - name: database
    match: ['alertname="DatabaseDown"']
    runbook: check-health
    target: { from: pod, namespace: $labels.namespace, name: $labels.pod }
  - name: unavailable
    match: ['alertname="ServiceUnavailable"']
    runbook: restart-workload
    autonomy: auto
    target: { kind: Deployment, namespace: $labels.namespace, name: $labels.deployment }`;

/** The database's alert first, then one for each Deployment. */
function alertsOf(stage: Stage, workloads: readonly string[]): DemoAlert[] {
  const { cluster, namespace } = stage.ground;
  return workloads.map((name) =>
    name === DATABASE
      ? {
          labels: { alertname: "DatabaseDown", cluster, namespace, pod: `${DATABASE}-0`, severity: "critical" },
          annotations: { summary: "PostgreSQL does not answer" },
        }
      : {
          labels: {
            alertname: "ServiceUnavailable",
            cluster,
            namespace,
            deployment: name,
            service: name,
            severity: "critical",
          },
          annotations: { summary: `${name}: no replica is available` },
        },
  );
}
