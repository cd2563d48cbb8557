/** A real redis-server that is killed, frozen, emptied and set back; its socket stays the same. */
import { cpSync, rmSync } from "node:fs";
import { join } from "node:path";
import { Redis } from "ioredis";
import { type EmbeddedRedis, startEmbeddedRedis } from "../../../src/store/embedded.js";
import { scratch } from "./scratch.js";

export interface RedisVictim {
  url: string;
  flush(): Promise<void>;
  freeze(): void;
  thaw(): void;
  /** SIGKILL, then a start from the AOF that it had written. */
  restart(): Promise<void>;
  /** Keeps a copy of what Redis holds now. */
  snapshot(): void;
  /** SIGKILL, then a start from the copy. */
  restore(): Promise<void>;
  end(): Promise<void>;
}

export async function startRedisVictim(): Promise<RedisVictim> {
  const { dir, remove } = scratch("chaos-redis-");
  const data = join(dir, "redis", "appendonlydir");
  const copy = join(dir, "copy");
  let server: EmbeddedRedis = await startEmbeddedRedis(dir);

  async function kill(): Promise<void> {
    process.kill(server.pid, "SIGKILL");
    await server.stop();
  }
  return {
    url: server.url,
    async flush() {
      const redis = new Redis({ path: server.url.slice("unix://".length) } as object);
      redis.on("error", () => undefined);
      await redis.flushall().finally(() => redis.disconnect());
    },
    freeze: () => void process.kill(server.pid, "SIGSTOP"),
    thaw: () => void process.kill(server.pid, "SIGCONT"),
    async restart() {
      await kill();
      server = await startEmbeddedRedis(dir);
    },
    snapshot() {
      rmSync(copy, { recursive: true, force: true });
      cpSync(data, copy, { recursive: true });
    },
    async restore() {
      await kill();
      rmSync(data, { recursive: true, force: true });
      cpSync(copy, data, { recursive: true });
      server = await startEmbeddedRedis(dir);
    },
    async end() {
      process.kill(server.pid, "SIGCONT");
      await server.stop();
      remove();
    },
  };
}
