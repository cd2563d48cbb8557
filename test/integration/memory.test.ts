import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Redis } from "ioredis";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Kubernetes, startKubernetes } from "../../sandbox/kubernetes/kubernetes.js";
import { startApp } from "../../src/app.js";
import { readConfig } from "../../src/config.js";
import { silentLog } from "../../src/log.js";
import { alertmanagerProgram, until } from "../harness/processes.js";
import { badRelease, errorRate, startWorld, testPolicy, type World } from "../harness/world.js";

const missing = alertmanagerProgram() === null ? "no Alertmanager on this machine" : null;
const NAMESPACE = "memory";

describe.skipIf(missing !== null)(`Redis forgets${missing === null ? "" : ` (not run: ${missing})`}`, () => {
  let kubernetes: Kubernetes;
  let world: World;
  let redis: Redis;
  const dir = mkdtempSync(join(tmpdir(), "memory-"));
  /** What a worker meets at a bracket of the protocol. */
  let passing: (bracket: string) => Promise<void> = async () => undefined;

  beforeAll(async () => {
    kubernetes = await startKubernetes();
    writeFileSync(join(dir, "kubeconfig"), kubernetes.kubeconfig());
    world = await startWorld({
      kubeconfig: join(dir, "kubeconfig"),
      policy: testPolicy([NAMESPACE], "    autonomy: auto"),
      slackMode: "none",
      app: { at: (bracket) => passing(bracket) },
    });
    // The symptom stays: every run waits in its verification until it is disturbed.
    errorRate(
      world.prometheus,
      () => 0.4,
      ["during", "after", "between", "caught-up"].map((service) => ({ namespace: NAMESPACE, service })),
    );
    redis = new Redis({ path: world.redis.url.slice("unix://".length) } as object);
  }, 60_000);

  afterAll(async () => {
    redis?.disconnect();
    await world?.stop();
    await kubernetes?.stop();
    rmSync(dir, { recursive: true, force: true });
  }, 60_000);

  const labels = (service: string) => ({
    alertname: "HighErrorRate",
    namespace: NAMESPACE,
    service,
    severity: "critical",
  });
  const effects = (name: string) =>
    kubernetes.writes().filter((w) => w.kind === "Deployment" && w.name === name && w.templateChanged && w.op !== null);
  const ledger = (name: string) => {
    const lease = kubernetes
      .list("Lease", "nightshift")
      .find((l) => String(l.metadata.annotations?.["nightshift.dev/target"]).includes(`"${name}"`));
    return JSON.parse(lease?.metadata.annotations["nightshift.dev/ledger"] ?? "null") as {
      run: unknown;
      ops: unknown[];
      ends: { outcome: string; told: boolean }[];
    } | null;
  };

  it("everything while a run is under way: the run is settled, held and paged, never carried on and never begun again (H42)", async () => {
    await badRelease(world.k, { namespace: NAMESPACE, name: "during" });
    const startsAt = new Date().toISOString();
    await world.fire(labels("during"), startsAt);
    await world.incident("the effect", (r) => r.target?.name === "during" && (r.run?.looks.length ?? 0) > 0);

    await redis.flushall();
    await world.fire(labels("during"), startsAt);
    const held = await world.incident("the hold", (r) => r.target?.name === "during" && r.state === "held", 60_000);

    expect(held, JSON.stringify(held.timeline)).toMatchObject({ reason: "lost-memory", lost: true });
    await until("the page", async () => world.pager.alerts.some((a) => /memory of this run was lost/.test(a.summary)));
    expect(effects("during")).toHaveLength(1);
    expect(ledger("during")).toMatchObject({ run: null, ends: [{ outcome: "held(lost-memory)" }] });
  }, 120_000);

  it("everything after a run has ended: the same alert is held by the ledger on the cluster (H42 I1)", async () => {
    await redis.flushall();
    await world.fire(labels("during"));
    const held = await world.incident(
      "the hold",
      (r) => r.target?.name === "during" && r.state === "held" && !r.lost,
      60_000,
    );

    expect(held.reason).toBe("done-before");
    expect(effects("during")).toHaveLength(1);
  }, 120_000);

  it("everything just before a run's first intent, and then hears of the alert's end alone: the run is settled and paged (H42 I7)", async () => {
    await badRelease(world.k, { namespace: NAMESPACE, name: "between" });
    const known = async () => (await world.incidents()).some((r) => r.state === "suppressed" && r.resolved);
    let met = false;
    passing = async (bracket) => {
      if (bracket !== "intent" || met) return;
      met = true;
      await redis.flushall();
      await world.resolve(labels("between"));
      await until("the alert's end to be heard", known, 20_000);
    };
    await world.fire(labels("between"));
    await until("the forgotten run to be settled", async () => met && ledger("between")?.ends.length === 1, 60_000);
    const held = await world.incident("the hold", (r) => r.target?.name === "between" && r.state === "held");

    expect(held, JSON.stringify(held.timeline)).toMatchObject({ reason: "lost-memory", lost: true });
    await until("the page", async () => world.pager.alerts.some((a) => a.dedupKey === held.dedupKey));
    expect(effects("between")).toHaveLength(1);
    expect(ledger("between")).toMatchObject({ run: null, open: null });
  }, 120_000);

  it("a begun run, and its alert is caught up under another startsAt: neither waits for the other (H42 I7)", async () => {
    await badRelease(world.k, { namespace: NAMESPACE, name: "caught-up" });
    const caughtUp = async () => (await world.incidents()).some((r) => r.target?.name === "caught-up");
    passing = async (bracket) => {
      if (bracket !== "done") return;
      await redis.flushall();
      await until("the alert to be caught up", caughtUp, 20_000);
    };
    // Finer than Alertmanager's API tells it.
    await world.fire(labels("caught-up"), new Date().toISOString().replace("Z", "456789Z"));
    await until("the forgotten run to be settled", async () => ledger("caught-up")?.ends.length === 1, 90_000);
    passing = async () => undefined;
    const mine = await world.until("both to end", async () => {
      const found = (await world.incidents()).filter((r) => r.target?.name === "caught-up");
      return found.length === 2 && found.every((r) => r.state === "held") && found;
    });

    expect(mine.map((r) => r.reason)).toEqual(["lost-memory", "lost-memory"]);
    for (const { dedupKey } of mine)
      await until("the page", async () => world.pager.alerts.some((a) => a.dedupKey === dedupKey));
    expect(effects("caught-up")).toHaveLength(1);
  }, 150_000);

  it("is refused at the start when it may evict what was accepted (H42)", async () => {
    await redis.config("SET", "maxmemory-policy", "allkeys-lru");
    try {
      await expect(
        startApp(readConfig({ ...world.env, NIGHTSHIFT_PORT: "0" }, true), { log: silentLog }),
      ).rejects.toThrow(/maxmemory-policy allkeys-lru[\s\S]*set maxmemory-policy noeviction/);
    } finally {
      await redis.config("SET", "maxmemory-policy", "noeviction");
    }
  });
});
