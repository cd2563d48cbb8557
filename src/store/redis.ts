import { Redis, type RedisOptions } from "ioredis";
import { messageOf, TerminalError, UnavailableError } from "../errors.js";

/**
 * Connections to Redis. Every command has a deadline, so a hung server (stopped process, cut network) is noticed; nothing
 * is queued while it is away, so that callers learn it at once and answer 503.
 */

/** Milliseconds until a command counts as unanswered. A hung Redis is noticed by nothing else. */
export const COMMAND_TIMEOUT_MS = 1500;

export function redisOptions(url: string): RedisOptions {
  return {
    ...placeOf(url),
    enableOfflineQueue: false,
    commandTimeout: COMMAND_TIMEOUT_MS,
    connectTimeout: 2000,
    maxRetriesPerRequest: 1,
    // 200 ms, 400 ms … 2 s: back within two seconds of Redis being back.
    retryStrategy: (times) => Math.min(times * 200, 2000),
  };
}

/** What ioredis does not read from a URL by itself: a socket's path, or Sentinels and the name that they watch. */
function placeOf(url: string): RedisOptions {
  if (url.startsWith("unix://")) return { path: url.slice("unix://".length) };
  const found = /^sentinel:\/\/(?:([^:@/]*):([^@/]*)@)?([^/@]+)\/([^/]+)(?:\/(\d+))?$/.exec(url);
  if (found === null) return {};
  const [, username = "", password = "", hosts = "", name = "", db] = found;
  return {
    sentinels: hosts.split(",").map((one) => {
      const [host = "", port = "26379"] = one.split(":");
      return { host, port: Number(port) };
    }),
    name,
    role: "master",
    ...(username === "" ? {} : { username: decodeURIComponent(username) }),
    ...(password === "" ? {} : { password: decodeURIComponent(password) }),
    ...(db === undefined ? {} : { db: Number(db) }),
    sentinelRetryStrategy: (times) => Math.min(times * 100, 1000),
  };
}

/** Whether ioredis is to be given the URL itself beside the options. */
export function isPlainUrl(url: string): boolean {
  return /^rediss?:/.test(url);
}

/** Opens a connection for records. `unix://`, `redis://`, `rediss://` or `sentinel://`. Does not wait for the server. */
export function connectRedis(url: string, onError: (message: string) => void, extra: RedisOptions = {}): Redis {
  const options: RedisOptions = { ...redisOptions(url), ...extra };
  // ioredis types its options without `| undefined`, which exactOptionalPropertyTypes holds against them.
  const redis = isPlainUrl(url) ? new Redis(url, options as object) : new Redis(options as object);
  redis.on("error", (error) => onError(messageOf(error)));
  return redis;
}

/** Resolves when the connection is usable; rejects with UnavailableError after `ms`. */
export async function untilReady(redis: Redis, ms: number): Promise<void> {
  if (redis.status === "ready") return;
  await new Promise<void>((resolve, reject) => {
    const timer = setTimeout(() => {
      redis.off("ready", ready);
      reject(new UnavailableError("ERR_REDIS_UNREACHABLE", `Redis did not answer within ${ms / 1000} s`));
    }, ms);
    function ready() {
      clearTimeout(timer);
      resolve();
    }
    redis.once("ready", ready);
  });
}

/** Runs one exchange with Redis; whatever goes wrong is an UnavailableError. */
export async function asking<T>(what: string, ask: () => Promise<T>): Promise<T> {
  try {
    return await ask();
  } catch (cause) {
    throw new UnavailableError("ERR_REDIS_UNREACHABLE", `Redis could not ${what}: ${messageOf(cause)}`, { cause });
  }
}

/**
 * Refuses a Redis that may throw away what was accepted. A managed service that hides its settings is let pass with a
 * warning. Errors: TerminalError says how to mend it.
 */
export async function checkRedis(redis: Redis, warn: (says: string) => void): Promise<void> {
  const info = await asking(
    "tell its settings",
    async () => `${await redis.info("memory")}\r\n${await redis.info("persistence")}`,
  );
  const value = (name: string) => new RegExp(`^${name}:(\\S+)`, "m").exec(info)?.[1];
  const eviction = value("maxmemory_policy");
  if (eviction === undefined) warn("Redis does not tell its eviction policy: make sure that it is noeviction");
  else if (eviction !== "noeviction") {
    throw new TerminalError(
      "ERR_REDIS_EVICTS",
      `Redis has maxmemory-policy ${eviction}: accepted alerts would vanish under memory pressure; set maxmemory-policy noeviction`,
    );
  }
  if (value("aof_enabled") === "0")
    warn("Redis keeps no AOF: a restart of it loses what was accepted since its last snapshot; set appendonly yes");
}
