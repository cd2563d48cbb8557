import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Kubernetes, startKubernetes } from "../../sandbox/kubernetes/kubernetes.js";
import { alertmanagerProgram, until } from "../harness/processes.js";
import { badRelease, deploy, errorRate, startWorld, testPolicy, type World } from "../harness/world.js";

const missing = alertmanagerProgram() === null ? "no Alertmanager on this machine" : null;
const NAMESPACE = "outcomes";
const RULES = `    autonomy: approve
    approval: { from: ['slack-user:U1'], count: 1, expires: 5m }
  - { name: see, match: ['alertname="See"'], runbook: diagnose-pods, target: { kind: Deployment, namespace: $labels.namespace, name: $labels.deployment } }
  - { name: would, match: ['alertname="Would"'], runbook: rollback-deployment, target: { kind: Deployment, namespace: $labels.namespace, name: $labels.deployment } }
  - { name: offer, match: ['alertname="Offer"'], runbook: rollback-deployment, autonomy: propose, target: { kind: Deployment, namespace: $labels.namespace, name: $labels.deployment } }
  - { name: wake, match: ['alertname="Wake"'], escalate: { severity: critical } }
  - { name: noise, match: ['alertname="Noise"'], ignore: true }
  - { name: beat, match: ['alertname="Beat"'], heartbeat: 10s }`;

describe.skipIf(missing !== null)(
  `every alert ends in one outcome${missing === null ? "" : ` (not run: ${missing})`}`,
  () => {
    let kubernetes: Kubernetes;
    let world: World;
    const dir = mkdtempSync(join(tmpdir(), "outcomes-"));
    const sick = new Set(["restart", "lost"]);

    beforeAll(async () => {
      kubernetes = await startKubernetes();
      writeFileSync(join(dir, "kubeconfig"), kubernetes.kubeconfig());
      world = await startWorld({ kubeconfig: join(dir, "kubeconfig"), policy: testPolicy([NAMESPACE], RULES) });
      errorRate(
        world.prometheus,
        ({ service }) => (sick.has(service) ? 0.4 : 0),
        ["restart", "lost"].map((service) => ({ namespace: NAMESPACE, service })),
      );
      await deploy(world.k, { namespace: NAMESPACE, name: "calm", tag: "good" });
      await badRelease(world.k, { namespace: NAMESPACE, name: "bad" });
      await badRelease(world.k, { namespace: NAMESPACE, name: "bad2" });
    }, 60_000);

    afterAll(async () => {
      await world?.stop();
      await kubernetes?.stop();
      rmSync(dir, { recursive: true, force: true });
    }, 60_000);

    const rows: [
      what: string,
      labels: Record<string, string>,
      ends: { state: string; reason: string },
      paged: boolean,
      told: boolean,
    ][] = [
      [
        "a diagnosis",
        { alertname: "See", namespace: NAMESPACE, deployment: "calm", severity: "warning" },
        { state: "suppressed", reason: "diagnosis" },
        false,
        true,
      ],
      [
        "what would have been done",
        { alertname: "Would", namespace: NAMESPACE, deployment: "bad", severity: "critical" },
        { state: "suppressed", reason: "observed" },
        false,
        true,
      ],
      [
        "a proposal",
        { alertname: "Offer", namespace: NAMESPACE, deployment: "bad2", severity: "warning" },
        { state: "suppressed", reason: "proposed" },
        false,
        true,
      ],
      [
        "an escalation",
        { alertname: "Wake", namespace: NAMESPACE },
        { state: "held", reason: "escalated" },
        true,
        true,
      ],
      [
        "a critical alert that nobody thought of",
        { alertname: "Unknown", severity: "critical" },
        { state: "held", reason: "unmatched" },
        true,
        true,
      ],
      [
        "a warning that nobody thought of",
        { alertname: "Unknown", severity: "warning" },
        { state: "suppressed", reason: "unmatched" },
        false,
        false,
      ],
      ["noise", { alertname: "Noise", severity: "critical" }, { state: "suppressed", reason: "ignored" }, false, false],
      [
        "a target that is not there",
        { alertname: "See", namespace: NAMESPACE, deployment: "nowhere" },
        { state: "held", reason: "target-not-found" },
        true,
        true,
      ],
      [
        "a label that is missing (H21)",
        { alertname: "See", namespace: NAMESPACE, severity: "warning", x: "1" },
        { state: "held", reason: "missing-label" },
        true,
        true,
      ],
      [
        "a command in a label (H47)",
        { alertname: "See", namespace: NAMESPACE, deployment: "x; kubectl delete ns prod" },
        { state: "held", reason: "invalid-name" },
        true,
        true,
      ],
      [
        "a namespace that is not ours",
        { alertname: "See", namespace: "theirs", deployment: "calm" },
        { state: "suppressed", reason: "unmanaged" },
        false,
        false,
      ],
    ];

    it.each(rows)(
      "%s",
      async (_what, labels, ends, paged, told) => {
        await world.fire(labels);
        const mine = (r: { alerts: { labels: Readonly<Record<string, string>> }[] }) =>
          r.alerts.some(
            (a) =>
              Object.entries(labels).every(([k, v]) => a.labels[k] === v) &&
              Object.keys(a.labels).length === Object.keys(labels).length,
          );
        const record = await world.incident("the outcome", (r) => mine(r) && r.endedAt !== null);

        expect(record, record.says).toMatchObject(ends);
        if (paged) await until("the page", async () => world.pager.alerts.some((a) => a.dedupKey === record.dedupKey));
        if (told) await world.incident("the message", (r) => r.id === record.id && r.slack !== null);
        const again = (await world.incidents()).find((r) => r.id === record.id);
        if (!told) expect(again?.slack).toBeNull();
        if (!paged) expect(again?.page).toBe("none");
        expect(kubernetes.writes().filter((w) => w.op !== null)).toEqual([]);
      },
      60_000,
    );

    it("pages when a heartbeat falls silent", async () => {
      await world.fire({ alertname: "Beat" });
      await world.incident("the beat", (r) => r.reason === "heartbeat");

      await until(
        "the page",
        async () =>
          world.pager.alerts.some(
            (a) => a.dedupKey === "nightshift/heartbeat/beat" && /has been silent/.test(a.summary),
          ),
        30_000,
      );
    }, 60_000);

    it("keeps an ask over a restart of every process, and acts on the answer that comes afterwards", async () => {
      const labels = { alertname: "HighErrorRate", namespace: NAMESPACE, service: "restart", severity: "critical" };
      await badRelease(world.k, { namespace: NAMESPACE, name: "restart" });
      await world.fire(labels);
      const ask = await world.incident(
        "the ask",
        (r) => r.target?.name === "restart" && r.state === "waiting" && r.slack !== null,
      );

      await world.restart();
      await until("Slack to be connected again", async () => world.slack.connected() > 0);
      const message = world.slack.messages.find((m) => m.ts === ask.slack?.ts);
      if (!message) throw new Error("no message");
      await world.slack.press(message, "approve", { user: "U1" });
      await world.incident("the step", (r) => r.id === ask.id && (r.run?.steps.length ?? 0) > 0);
      sick.delete("restart");
      await world.resolve(labels);

      const done = await world.incident("the end", (r) => r.id === ask.id && r.state === "remediated");
      expect(done.alerts).toHaveLength(1);
      expect(
        kubernetes.writes().filter((w) => w.kind === "Deployment" && w.templateChanged && w.op !== null),
      ).toHaveLength(1);
    }, 60_000);

    it("posts one message although Slack's answer to the first was lost (H45)", async () => {
      world.slack.fail({ method: "chat.postMessage", times: 1, answer: "drop-after-applying" });
      await world.fire({ alertname: "Wake", namespace: NAMESPACE, x: "lost-answer" });
      const record = await world.incident(
        "the message",
        (r) => r.alerts[0]?.labels["x"] === "lost-answer" && r.slack !== null,
      );

      const mine = world.slack.messages.filter(
        (m) => m.threadTs === null && JSON.stringify(m.metadata).includes(record.id),
      );
      expect(mine).toHaveLength(1);
    }, 60_000);

    it("pages although Slack is away, and tells Slack afterwards (H48)", async () => {
      world.slack.fail({ method: "chat.postMessage", times: 2, answer: { status: 500 } });
      await world.fire({ alertname: "Wake", namespace: NAMESPACE, x: "slack-away" });
      const record = await world.incident(
        "the hold",
        (r) => r.alerts[0]?.labels["x"] === "slack-away" && r.state === "held",
      );

      await until("the page", async () => world.pager.alerts.some((a) => a.dedupKey === record.dedupKey));
      await world.incident("the message", (r) => r.id === record.id && r.slack !== null, 40_000);
    }, 60_000);

    it("goes on paging until PagerDuty takes it (H48)", async () => {
      world.pager.fail("/v2/enqueue", 2, 503);
      await world.fire({ alertname: "Wake", namespace: NAMESPACE, x: "pager-away" });
      const record = await world.incident(
        "the page noted",
        (r) => r.alerts[0]?.labels["x"] === "pager-away" && r.page === "sent",
        40_000,
      );

      expect(world.pager.alerts.filter((a) => a.dedupKey === record.dedupKey && a.state === "triggered")).toHaveLength(
        1,
      );
    }, 60_000);
  },
);
