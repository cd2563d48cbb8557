/** A database in a protected namespace: looked at and paged, never touched, although rule and rights would allow it. */
import { buttons } from "../../slack/index.js";
import { SERVICES, seedDeployment, seedStatefulSet } from "../platform.js";
import { seePodReadiness } from "../pod-readiness.js";
import { policyText } from "../policy.js";
import type { Story } from "../story.js";

const DATA = "mcp-data";
const POD = "postgres-primary-0";

export const story: Story = {
  name: "protected",
  says: "PostgreSQL in a protected namespace: diagnosed and paged with the reason, never touched",
  title: "a protected database",

  async tell(stage) {
    const { ground, say, expect, pager, slack } = stage;
    const { kubernetes, behave, grant } = stage.sandbox();
    let sick = false;
    behave((pod) =>
      pod.metadata.name === POD && sick
        ? { kind: "unready" }
        : { kind: "ready", readyAfterMs: 300, logs: ["database system is ready to accept connections"] },
    );
    seePodReadiness(stage, DATA, "critical");
    for (const service of SERVICES) seedDeployment(kubernetes, service);
    for (const [name, replicas] of [
      ["postgres-primary", 1],
      ["postgres-replica", 2],
    ] as const)
      seedStatefulSet(kubernetes, { name, namespace: DATA, image: "postgres:17", replicas, port: 5432 });
    const ready = async () => (await ground.get("Pod", POD, DATA))?.status?.containerStatuses?.[0]?.ready === true;
    await stage.until("the database to run", ready, 15_000);
    await grant("a", DATA);
    await grant("b", DATA);
    await stage.startNightshift({
      policy: policyText(ground, {
        namespaces: [DATA],
        protected: [DATA],
        rules: `  - name: pod-not-ready
    match: ['alertname="KubePodNotReady"']
    runbook: restart-workload
    autonomy: approve
    target: { from: pod, namespace: $labels.namespace, name: $labels.pod }`,
      }),
      memory: "protected",
    });
    say(
      "world",
      `PostgreSQL runs in a namespace of its own here, ${DATA}. The rule would ask to restart what is not ready, and the writer's identity may: but the policy lists ${DATA} under \`protected\`.`,
    );

    sick = true;
    await stage.until("the database to be sick", async () => !(await ready()), 15_000);
    const labels = { cluster: ground.cluster, namespace: DATA, pod: POD, job: "kube-state-metrics" };
    const alerts = [
      {
        labels: { alertname: "KubePodNotReady", ...labels, severity: "critical" },
        annotations: { summary: `Pod ${DATA}/${POD} has been in a non-ready state for longer than 15 minutes.` },
      },
    ];
    await stage.fire(alerts);
    say(
      "alerts",
      `KubePodNotReady fires: ${POD} does not answer. Restarting a primary may lose what it has not replicated.`,
    );

    const held = await stage.incident("the hold", (r) => r.state !== "open");
    expect(`held because it is protected (found ${held.reason}: ${held.says})`, held.reason === "protected");
    say("held", `Held: ${held.says}. No plan is made, so there is nothing to approve.`);
    for (const line of held.diagnosis?.headline ?? []) say("diagnosis", `  ${line}`);
    expect("a diagnosis is attached", (held.diagnosis?.headline.length ?? 0) >= 2);
    const page = await stage.until("the page", async () => pager.alerts.find((a) => a.dedupKey === held.dedupKey));
    say("paged", `PagerDuty rings: ${page.summary}`);
    expect("the page names the reason", page.state === "triggered" && page.summary.includes("protected"));
    const message = await stage.until("the message", async () => {
      const found = stage.messageOf((await stage.incidents()).find((r) => r.id === held.id) ?? held);
      return found?.text.includes("postgres-primary") === true ? found : null;
    });
    expect("nobody can press anything", buttons(message).length === 0);
    stage.shown((await stage.incidents()).find((r) => r.id === held.id) ?? held);

    await stage.pause(2000);
    sick = false;
    await stage.until("the database to be mended", ready, 15_000);
    await stage.resolve(alerts);
    await stage.incident("the alert to resolve", (r) => r.id === held.id && r.resolved);
    say("mended", "The person on call mends it with what they know about it; the alert resolves.");

    const effects = (await stage.effects()).length;
    const touched = kubernetes.writes().filter((w) => w.namespace === DATA && w.user.includes("nightshift")).length;
    expect(`nothing written in ${DATA}, not even a fence`, effects === 0 && touched === 0);
    expect("no call broke a vendor's rule", slack.violations.length + pager.violations.length === 0);
    say(
      "summary",
      `alerts: 1 · outcome: held, protected · pages: ${pager.alerts.length} · effects: ${effects} · writes in ${DATA}: ${touched}`,
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
