/** A real Redis with an audit chain in it, and the hands of somebody who tampers with it. */
import { type ChildProcess, spawn } from "node:child_process";
import { copyFileSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Redis } from "ioredis";
import { randomHex, systemClock } from "../../src/clock.js";
import { type Anchor, type ChainReport, createChainCheck } from "../../src/record/chain-check.js";
import { createTransition, type Transition } from "../../src/record/transition.js";
import { createRecordStore } from "../../src/store/records.js";
import { createAuditTrail, trailKey } from "../../src/store/trail.js";
import { until } from "./processes.js";
import { scene } from "./guard-scene.js";

export const PREFIX = "{trail}";

/** redis-server on a private socket without AOF: what it holds after a start is what its dump holds. */
export async function startTrail() {
  const dir = mkdtempSync(join(tmpdir(), "trail-"));
  const path = join(dir, "redis.sock");
  const connections: Redis[] = [];
  let server: ChildProcess;

  const connect = (): Redis => {
    const redis = new Redis({ path, retryStrategy: () => 50 } as object);
    redis.on("error", () => undefined);
    connections.push(redis);
    return redis;
  };
  const up = async () => {
    server = spawn("redis-server", ["--port", "0", "--unixsocket", path, "--dir", dir, "--save", ""], {
      stdio: "ignore",
    });
    await until("redis-server", async () => (await redis.ping().catch(() => "")) === "PONG");
  };
  const down = async () => {
    const ended = new Promise((done) => server.once("exit", done));
    server.kill("SIGKILL");
    await ended;
  };
  const redis = connect();
  await up();
  const stream = trailKey(PREFIX);
  const trail = createAuditTrail(redis, PREFIX);

  return {
    redis,
    stream,
    trail,
    url: `unix://${path}`,
    /** One worker: a connection of its own, as a process has. */
    worker(): { opens(id: string): Promise<void>; moves: Transition } {
      const records = createRecordStore(connect(), PREFIX, randomHex);
      const moves = createTransition({
        records,
        clock: systemClock,
        nudge: async () => undefined,
        stored: () => undefined,
      });
      return {
        moves,
        async opens(id) {
          const base = scene().context.incident;
          const alerts = base.alerts.map((alert) => ({ ...alert, identity: `${id}@t`, fingerprint: id }));
          const record = { ...base, id, alerts, target: null, plan: null, run: null, state: "open" as const };
          const made = await records.create(record, {
            at: systemClock.now(),
            incident: id,
            event: "opened",
            from: "none",
            to: "open",
            who: "alertmanager",
            says: `${id} fires`,
          });
          if (!made.created) throw new Error(`${id} is there already`);
        },
      };
    },
    /** The head of this moment as it would be kept in the cluster. */
    async keep(): Promise<Anchor> {
      const head = await trail.head();
      if (head === null) throw new Error("no head");
      return { ...head, at: systemClock.now() };
    },
    async verify(anchors: Anchor[] = [], least?: number): Promise<ChainReport> {
      const check = createChainCheck(anchors, least);
      return check.end(await trail.read(check.take));
    },
    /** Replaces the stream by what `edit` makes of its entries: the only way to change what stands in a stream. */
    async rewrite(edit: (entries: [string, string[]][]) => [string, string[]][]): Promise<void> {
      const entries = edit(await redis.xrange(stream, "-", "+"));
      await redis.del(stream);
      for (const [id, fields] of entries) await redis.xadd(stream, id, ...fields);
    },
    async snapshot(): Promise<void> {
      await redis.save();
      copyFileSync(join(dir, "dump.rdb"), join(dir, "older.rdb"));
    },
    /** The server dies and comes back with the snapshot. */
    async restore(): Promise<void> {
      await down();
      copyFileSync(join(dir, "older.rdb"), join(dir, "dump.rdb"));
      await up();
    },
    async stop(): Promise<void> {
      for (const one of connections) one.disconnect();
      await down();
      rmSync(dir, { recursive: true, force: true });
    },
  };
}
