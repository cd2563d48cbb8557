import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { homedir, tmpdir } from "node:os";
import { join } from "node:path";
import { Redis } from "ioredis";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Kubernetes, startKubernetes } from "../../sandbox/kubernetes/kubernetes.js";
import { program } from "../../sandbox/processes.js";
import { type EmbeddedRedis, startEmbeddedRedis } from "../../src/store/embedded.js";
import { alertmanagerProgram, until } from "../harness/processes.js";
import { badRelease, errorRate, startWorld, testPolicy, type World } from "../harness/world.js";

/** What `tools/valkey` fetches. */
const fetched = join(
  process.env["XDG_CACHE_HOME"] ?? join(homedir(), ".cache"),
  "nightshift-tools/valkey/usr/bin/valkey-server",
);
const noAlertmanager = alertmanagerProgram() === null ? "no Alertmanager on this machine" : null;
const stores = [
  {
    name: "Redis",
    server: program("redis-server"),
    absent: "no redis-server on this machine",
    is: /^redis_version:[7-9]/m,
  },
  {
    name: "Valkey",
    server: program("valkey-server") ?? (existsSync(fetched) ? fetched : null),
    absent: "no valkey-server on this machine: tools/valkey",
    is: /^server_name:valkey/m,
  },
].map((store) => {
  const missing = store.server === null ? store.absent : noAlertmanager;
  return { ...store, missing, what: `${store.name}${missing === null ? "" : ` (not run: ${missing})`}` };
});

describe.each(stores)("$what", ({ name, server: found, is, missing }) => {
  describe.skipIf(missing !== null)("as the store", () => {
    const namespace = name.toLowerCase();
    const binary = found ?? "";
    let kubernetes: Kubernetes;
    let world: World;
    let server: EmbeddedRedis;
    let redis: Redis;
    const dir = mkdtempSync(join(tmpdir(), "store-"));
    const sick = new Set<string>();

    beforeAll(async () => {
      server = await startEmbeddedRedis(dir, binary);
      kubernetes = await startKubernetes();
      writeFileSync(join(dir, "kubeconfig"), kubernetes.kubeconfig());
      world = await startWorld({
        kubeconfig: join(dir, "kubeconfig"),
        policy: testPolicy([namespace], "    autonomy: auto"),
        slackMode: "none",
        env: { REDIS_URL: server.url },
      });
      errorRate(
        world.prometheus,
        ({ service }) => (sick.has(service) ? 0.4 : 0),
        ["restarted", "flushed"].map((service) => ({ namespace, service })),
      );
      redis = new Redis({ path: server.url.slice("unix://".length) } as object);
      redis.on("error", () => undefined);
    }, 60_000);

    afterAll(async () => {
      redis?.disconnect();
      await world?.stop();
      await server?.stop();
      await kubernetes?.stop();
      rmSync(dir, { recursive: true, force: true });
    }, 60_000);

    const labels = (service: string) => ({
      alertname: "HighErrorRate",
      namespace,
      service,
      severity: "critical",
    });
    const effects = (name: string) =>
      kubernetes
        .writes()
        .filter((w) => w.kind === "Deployment" && w.name === name && w.templateChanged && w.op !== null);
    async function underWay(name: string): Promise<void> {
      sick.add(name);
      await badRelease(world.k, { namespace, name });
      await world.fire(labels(name));
      await world.incident("the effect", (r) => r.target?.name === name && (r.run?.looks.length ?? 0) > 0);
    }

    it("is what answers", async () => {
      expect(await redis.info("server")).toMatch(is);
    });

    it("is killed and restarted from its AOF in the middle of a run: the run goes on, its effect was made once (H42 I1)", async () => {
      await underWay("restarted");
      process.kill(server.pid, "SIGKILL");
      await server.stop();
      server = await startEmbeddedRedis(dir, binary);
      sick.delete("restarted");
      await world.resolve(labels("restarted"));
      const end = await until("the end", async () =>
        (await world.incidents()).find((r) => r.target?.name === "restarted" && r.endedAt !== null),
      );

      expect(end, JSON.stringify(end.timeline)).toMatchObject({ state: "remediated" });
      expect(effects("restarted")).toHaveLength(1);
    }, 120_000);

    it("is flushed in the middle of a run: the run is settled, held and paged (H42)", async () => {
      await underWay("flushed");
      await redis.flushall();
      const held = await world.incident("the hold", (r) => r.target?.name === "flushed" && r.state === "held", 60_000);

      expect(held, JSON.stringify(held.timeline)).toMatchObject({ reason: "lost-memory", lost: true });
      expect(effects("flushed")).toHaveLength(1);
      await until("the page about the store", async () =>
        world.pager.alerts.some((a) => a.dedupKey.startsWith("nightshift/data-loss/")),
      );
    }, 120_000);
  });
});
