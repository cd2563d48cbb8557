import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Redis } from "ioredis";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Kubernetes, startKubernetes } from "../../sandbox/kubernetes/kubernetes.js";
import { startApp } from "../../src/app.js";
import { randomHex } from "../../src/clock.js";
import { readConfig } from "../../src/config.js";
import { silentLog } from "../../src/log.js";
import { apply } from "../../src/record/machine.js";
import { createFactStore } from "../../src/store/facts.js";
import { createRecordStore } from "../../src/store/records.js";
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
      ["during", "after", "between"].map((service) => ({ namespace: NAMESPACE, service })),
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
  const trusted = async () => {
    const text = await (await fetch(`http://127.0.0.1:${world.port}/metrics`)).text();
    return /^nightshift_memory_trusted 1$/m.test(text);
  };
  /** The store as it is now; what comes back puts it there again, as a restored backup would. */
  async function snapshot(): Promise<() => Promise<unknown>> {
    const keys = (await redis.keys("*")).map(async (key) => ({
      key,
      ttl: await redis.pttl(key),
      dump: await redis.dumpBuffer(key),
    }));
    const kept = await Promise.all(keys);
    return () => {
      const restore = redis.multi().flushall();
      for (const { key, ttl, dump } of kept) if (dump) restore.restore(key, Math.max(0, ttl), dump);
      return restore.exec();
    };
  }
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
    const losses = () => world.pager.alerts.filter((a) => a.dedupKey.startsWith("nightshift/data-loss/"));
    const told = await until("the page about the store", async () => (losses().length > 0 ? losses() : null));
    expect(told.map((a) => [a.events, /forgotten everything/.test(a.summary)])).toEqual([[1, true]]);
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

  it("its last hour: what was asked then is held and paged, and not done however it had ended since (H42 I8)", async () => {
    await world.stop();
    redis.disconnect();
    world = await startWorld({
      kubeconfig: join(dir, "kubeconfig"),
      policy: testPolicy(
        [NAMESPACE],
        "    autonomy: approve\n    approval: { from: ['cli:*'], count: 1, expires: 1h }",
      ),
      slackMode: "none",
      namespace: "nightshift-2",
    });
    redis = new Redis({ path: world.redis.url.slice("unix://".length) } as object);
    errorRate(world.prometheus, () => 0.4, [{ namespace: NAMESPACE, service: "restored" }]);
    await badRelease(world.k, { namespace: NAMESPACE, name: "restored" });
    await world.fire(labels("restored"));
    const ask = await world.incident("the ask", (r) => r.state === "waiting");
    const restore = await snapshot();
    const memory = createFactStore(redis, "{nightshift}");
    await until("time to pass", async () => ((await memory.tick())?.tick ?? 0) > 20);
    // Somebody says no; then the store comes back as it was before.
    const records = createRecordStore(redis, "{nightshift}", randomHex);
    const record = await records.get(ask.id);
    if (record?.plan == null) throw new Error("no plan");
    const denied = apply(record, { type: "no", nonce: record.plan.nonce, says: "no" }, Date.now());
    if (!denied.changed) throw new Error(denied.why);
    await records.save(denied.record, {
      at: 0,
      incident: ask.id,
      event: "no",
      from: "waiting",
      to: "held",
      who: "ann",
      says: "",
    });
    const asks = world.pager.alerts.length;
    await restore();

    const held = await world.incident("the hold", (r) => r.id === ask.id && r.state === "held" && r.page === "sent");
    expect(held).toMatchObject({ reason: "lost-memory" });
    await until("the page about the store", async () =>
      world.pager.alerts.some((a) => a.dedupKey.startsWith("nightshift/data-loss/") && /restored/.test(a.summary)),
    );
    expect(world.pager.alerts.length).toBeGreaterThan(asks);
    expect(effects("restored")).toHaveLength(0);
    // Once everything was swept it works again.
    await until("the store to be trusted", trusted);
  }, 120_000);

  it("its last hour while no process runs: noticed at the next start by the copy on the cluster (H42)", async () => {
    const restore = await snapshot();
    const memory = createFactStore(redis, "{nightshift}");
    const before = (await memory.tick())?.tick ?? 0;
    // The copy follows in its own time; it must be past what will come back.
    await until("the copy to follow", async () => {
      const lease = kubernetes.get("Lease", "nightshift-2", "nightshift-memory");
      const copy = JSON.parse(lease?.metadata.annotations["nightshift.dev/epoch"] ?? "{}") as { tick?: number };
      return (copy.tick ?? 0) > before + 5;
    });
    const pages = world.pager.alerts.filter((a) => a.dedupKey.startsWith("nightshift/data-loss/")).length;
    await world.restart(restore);

    await until(
      "the page about the store",
      async () => world.pager.alerts.filter((a) => a.dedupKey.startsWith("nightshift/data-loss/")).length > pages,
    );
    await world.restart();
    await until("another start to be trusted", trusted);
    expect(world.pager.alerts.filter((a) => a.dedupKey.startsWith("nightshift/data-loss/"))).toHaveLength(pages + 1);
  }, 120_000);

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
