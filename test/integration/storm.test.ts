import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Redis } from "ioredis";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Kubernetes, startKubernetes } from "../../sandbox/kubernetes/kubernetes.js";
import { blockFaults } from "../../sandbox/slack/validate.js";
import { fingerprintOf } from "../../src/alert/identity.js";
import type { IncidentRecord } from "../../src/record/incident.js";
import { createFactStore } from "../../src/store/facts.js";
import { alertmanagerProgram, until } from "../harness/processes.js";
import { startWorld, TOKEN, type World } from "../harness/world.js";

const missing = alertmanagerProgram() === null ? "no Alertmanager on this machine" : null;
const SPACES = ["shop", "mail", "data"];
const WORKLOADS = 30;
const target = "target: { kind: Deployment, namespace: $labels.namespace, name: $labels.deployment }";
const POLICY = `apiVersion: nightshift.dev/v1
clusters: [{ name: test, namespaces: [${SPACES.join(", ")}] }]
guards:
  storm: { within: 10s, quiet: 10s }
  change: { deployAge: 0s, humanWrite: 0s }
rules:
  - { name: gone, match: ['alertname=~"Down|Crash"'], runbook: restart-workload, autonomy: auto, ${target} }
  - { name: slow, match: ['alertname="Slow"'], runbook: diagnose-pods, ${target} }
  - { name: root, match: ['alertname="DatabaseDown"'], escalate: { severity: critical } }
`;

describe.skipIf(missing !== null)(`a storm${missing === null ? "" : ` (not run: ${missing})`}`, () => {
  let kubernetes: Kubernetes;
  let world: World;
  let redis: Redis;
  const dir = mkdtempSync(join(tmpdir(), "storm-"));

  beforeAll(async () => {
    kubernetes = await startKubernetes({ behaviour: () => ({ kind: "unready" }), tickMs: null });
    for (let i = 0; i < WORKLOADS; i += 1) seedWorkload(i);
    writeFileSync(join(dir, "kubeconfig"), kubernetes.kubeconfig());
    world = await startWorld({ kubeconfig: join(dir, "kubeconfig"), policy: POLICY });
    redis = new Redis(world.redis.url);
  }, 60_000);

  afterAll(async () => {
    redis?.disconnect();
    await world?.stop();
    await kubernetes?.stop();
    rmSync(dir, { recursive: true, force: true });
  }, 60_000);

  const place = (i: number) => {
    const n = i % WORKLOADS;
    return { namespace: SPACES[n % SPACES.length] ?? "", deployment: `app-${n}` };
  };

  /** A Deployment that calls the database, which has no pod. */
  function seedWorkload(i: number): void {
    const { namespace, deployment } = place(i);
    const labels = { app: deployment };
    const url = { name: "DATABASE_URL", value: "postgres://app@postgres.data:5432/app" };
    const template = { metadata: { labels }, spec: { containers: [{ name: "main", image: "x", env: [url] }] } };
    kubernetes.seed({
      apiVersion: "apps/v1",
      kind: "Deployment",
      metadata: { name: deployment, namespace },
      spec: { replicas: 1, selector: { matchLabels: labels }, template },
    });
    if (i === 0)
      kubernetes.seed({
        apiVersion: "v1",
        kind: "Service",
        metadata: { name: "postgres", namespace: "data" },
        spec: { selector: { app: "postgres" }, ports: [{ port: 5432 }] },
      });
  }

  async function post(
    alerts: { labels: Record<string, string>; status?: string; startsAt: string }[],
  ): Promise<number> {
    const body = {
      version: "4",
      status: "firing",
      groupKey: `{}:{n="${alerts[0]?.labels["alertname"] ?? ""}"}`,
      truncatedAlerts: 0,
      receiver: "nightshift",
      groupLabels: {},
      commonLabels: {},
      commonAnnotations: {},
      externalURL: "http://am.example",
      alerts: alerts.map(({ labels, status, startsAt }) => ({
        status: status ?? "firing",
        labels,
        annotations: { summary: "<!channel> *everything* is down" },
        startsAt,
        endsAt: status === "resolved" ? new Date().toISOString() : "0001-01-01T00:00:00Z",
        generatorURL: "",
        fingerprint: fingerprintOf(labels),
      })),
    };
    const answer = await fetch(`http://127.0.0.1:${world.port}/webhooks/alertmanager`, {
      method: "POST",
      body: JSON.stringify(body),
      headers: { "content-type": "application/json", authorization: `Bearer ${TOKEN}` },
    });
    return answer.status;
  }

  const stormIn = async () => (await world.incidents()).find((one) => one.storm !== undefined);
  const posts = () => world.slack.messages.filter((one) => one.threadTs === null);
  const workloadWrites = () => kubernetes.writes().filter((one) => one.kind === "Deployment" || one.kind === "Pod");
  let storm: IncidentRecord;

  it("of 200 alerts over 30 workloads is one message and one page that names the cause, and nothing is changed (H38 H17 G08)", async () => {
    const startsAt = new Date().toISOString();
    const alerts = Array.from({ length: 200 }, (_, i) => {
      const alertname = ["Down", "Crash", "Slow"][Math.floor(i / WORKLOADS) % 3] ?? "Down";
      return {
        labels: { alertname, ...place(i), pod: `p-${i}`, severity: i % 2 === 0 ? "critical" : "warning" },
        startsAt,
      };
    });
    const answers = await Promise.all(Array.from({ length: 20 }, (_, i) => post(alerts.slice(i * 10, i * 10 + 10))));
    expect(new Set(answers)).toEqual(new Set([202]));

    await world.until("every incident to be decided", async () => {
      const found = (await world.incidents()).filter((one) => one.storm === undefined);
      const known = found.reduce((sum, one) => sum + one.alerts.length, 0);
      return known === 200 && found.every((one) => one.endedAt !== null);
    });
    storm = await world.until("the storm to be paged", async () => {
      const found = await stormIn();
      return found?.page === "sent" && found.storm?.cause ? found : null;
    });
    const held = (await world.incidents()).filter((one) => one.storm === undefined);

    expect(held.map((one) => one.joined)).toEqual(held.map(() => storm.id));
    expect(workloadWrites()).toEqual([]);
    expect(storm.storm?.cause).toBe("Service data/postgres: there is no pod behind it");
    expect(new Set(world.pager.alerts.map((one) => one.dedupKey))).toEqual(new Set([storm.dedupKey]));
    const [page] = world.pager.alerts;
    expect(page).toMatchObject({ state: "triggered", severity: "critical" });
    expect(page?.summary).toMatch(
      /^Storm: \d+ workloads began to fail at once; suspected common cause: Service data\/postgres/,
    );
    await until("the message to tell of all of them", async () =>
      JSON.stringify(posts()[0]?.blocks).includes(`${held.length} incidents`),
    );
    expect(posts()).toHaveLength(1);
    expect(blockFaults(posts()[0]?.blocks ?? [])).toEqual([]);
    expect(JSON.stringify(posts()[0]?.blocks)).toContain("30 workloads");
    expect(JSON.stringify(world.slack.messages)).not.toContain("<!channel>");
  }, 90_000);

  it("keeps what the policy sends to a person as critical on a page of its own", async () => {
    await post([{ labels: { alertname: "DatabaseDown", severity: "critical" }, startsAt: new Date().toISOString() }]);
    const own = await world.incident("the escalation", (one) => one.rule === "root" && one.page === "sent");

    expect(own.joined).toBeNull();
  });

  it("goes on while it is quiet for less than it must be, and is over after that (G08)", async () => {
    // One workload by itself would be no storm: it is held because the storm is not over.
    kubernetes.seed({
      ...kubernetes.get("Deployment", "shop", "app-0"),
      metadata: { name: "late", namespace: "shop" },
    } as never);
    await redis.del("{nightshift}:firing");
    await post([
      { labels: { alertname: "Down", namespace: "shop", deployment: "late" }, startsAt: new Date().toISOString() },
    ]);
    const late = await world.incident("the late one", (one) => one.target?.name === "late" && one.endedAt !== null);
    expect(late).toMatchObject({ state: "held", reason: "storm", joined: storm.id });

    await world.until("the storm to be over", async () => (await stormIn())?.storm?.overAt !== null, 60_000);
    await until("the message to say so", async () => JSON.stringify(posts()[0]?.blocks).includes("Storm over"));
    expect(posts().filter((one) => JSON.stringify(one.blocks).includes("Storm"))).toHaveLength(1);
    // Its workloads still fail: the page stays with whoever took it.
    expect(world.pager.alerts.find((one) => one.dedupKey === storm.dedupKey)?.state).toBe("triggered");
  }, 90_000);

  it("begins anew as another one, also where a process died between opening it and telling of it", async () => {
    const facts = createFactStore(redis, "{nightshift}");
    const opened = Date.now();
    expect(await facts.keepStorm(opened, opened + 60_000)).toBe(opened);
    expect(await facts.keepStorm(opened + 5, opened + 10)).toBe(opened);
    expect(await redis.pttl("{nightshift}:storm")).toBeGreaterThan(30_000);

    const labels = { alertname: "Down", namespace: "shop", deployment: "late", pod: "again" };
    const startsAt = new Date().toISOString();
    const first = await world.incident("the earlier incident of the workload", (one) => one.target?.name === "late");
    const [alert] = first.alerts;
    await post([{ labels: alert?.labels ?? {}, startsAt: alert?.startsAt ?? "", status: "resolved" }]);
    await world.incident("that to be known", (one) => one.id === first.id && one.resolved);
    await post([{ labels, startsAt }]);
    const again = await world.incident(
      "the new one",
      (one) => one.target?.name === "late" && one.id !== first.id && one.endedAt !== null,
    );

    expect(again).toMatchObject({ state: "held", reason: "storm", joined: `storm-${opened}` });
    await world.incident("its storm", (one) => one.id === `storm-${opened}` && one.page === "sent");

    await post([{ labels, startsAt, status: "resolved" }]);
    await world.incident("it to be resolved", (one) => one.id === again.id && one.resolved);
    await redis.del("{nightshift}:storm", "{nightshift}:firing");
    await until("the page of a storm whose alerts are all gone to be resolved", async () =>
      world.pager.alerts.some((one) => one.dedupKey === `nightshift/storm-${opened}` && one.state === "resolved"),
    );
  }, 90_000);
});
