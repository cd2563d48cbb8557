import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { homedir, tmpdir } from "node:os";
import { join } from "node:path";
import { Redis } from "ioredis";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { program } from "../../sandbox/processes.js";
import { type EmbeddedRedis, startEmbeddedRedis } from "../../src/store/embedded.js";
import { until } from "../harness/processes.js";
import { noSickWorld, type SickWorld, startSickWorld, suite } from "../harness/sick-world.js";

/** What `tools/valkey` fetches. */
const fetched = join(
  process.env["XDG_CACHE_HOME"] ?? join(homedir(), ".cache"),
  "nightshift-tools/valkey/usr/bin/valkey-server",
);
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
  const missing = store.server === null ? store.absent : noSickWorld;
  return { ...store, missing, what: suite(store.name, missing) };
});

describe.each(stores)("$what", ({ name, server: found, is, missing }) => {
  describe.skipIf(missing !== null)("as the store", () => {
    const binary = found ?? "";
    let s: SickWorld;
    let server: EmbeddedRedis;
    let redis: Redis;
    const dir = mkdtempSync(join(tmpdir(), "store-"));

    beforeAll(async () => {
      server = await startEmbeddedRedis(dir, binary);
      s = await startSickWorld({
        namespace: name.toLowerCase(),
        services: ["restarted", "flushed"],
        env: { REDIS_URL: server.url },
      });
      redis = new Redis({ path: server.url.slice("unix://".length) } as object);
      redis.on("error", () => undefined);
    }, 60_000);

    afterAll(async () => {
      redis?.disconnect();
      await s?.stop();
      await server?.stop();
      rmSync(dir, { recursive: true, force: true });
    }, 60_000);

    async function underWay(workload: string): Promise<void> {
      await s.sicken(workload);
      await s.underWay(workload);
    }

    it("is what answers", async () => {
      expect(await redis.info("server")).toMatch(is);
    });

    it("is killed and restarted from its AOF in the middle of a run: the run goes on, its effect was made once (H42 I1)", async () => {
      await underWay("restarted");
      process.kill(server.pid, "SIGKILL");
      await server.stop();
      server = await startEmbeddedRedis(dir, binary);
      await s.mend("restarted");
      const end = await s.end("restarted");

      expect(end, JSON.stringify(end.timeline)).toMatchObject({ state: "remediated" });
      expect(s.effects("restarted")).toBe(1);
    }, 120_000);

    it("is flushed in the middle of a run: the run is settled, held and paged (H42)", async () => {
      await underWay("flushed");
      await redis.flushall();
      const held = await s.record("the hold", "flushed", (r) => r.state === "held");

      expect(held, JSON.stringify(held.timeline)).toMatchObject({ reason: "lost-memory", lost: true });
      expect(s.effects("flushed")).toBe(1);
      await until("the page about the store", async () =>
        s.world.pager.alerts.some((a) => a.dedupKey.startsWith("nightshift/data-loss/")),
      );
    }, 120_000);
  });
});
