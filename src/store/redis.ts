import { Redis, type RedisOptions } from "ioredis";
import { UnavailableError, messageOf } from "../errors.js";

/**
 * Connections to Redis. Every command has a deadline, so a hung server (stopped process, cut network) is noticed; nothing
 * is queued while it is away, so that callers learn it at once and answer 503.
 */

/** Milliseconds until a command counts as unanswered. A hung Redis is noticed by nothing else. */
export const COMMAND_TIMEOUT_MS = 1500;

export function redisOptions(url: string): RedisOptions {
  const unix = url.startsWith("unix://");
  return {
    ...(unix ? { path: url.slice("unix://".length) } : {}),
    enableOfflineQueue: false,
    commandTimeout: COMMAND_TIMEOUT_MS,
    connectTimeout: 2000,
    maxRetriesPerRequest: 1,
    // 200 ms, 400 ms … 2 s: back within two seconds of Redis being back.
    retryStrategy: (times) => Math.min(times * 200, 2000),
  };
}

/** Opens a connection for records. `unix:///path` or `redis://…`. Does not wait for the server. */
export function connectRedis(url: string, onError: (message: string) => void, extra: RedisOptions = {}): Redis {
  const options: RedisOptions = { ...redisOptions(url), ...extra };
  // ioredis types its options without `| undefined`, which exactOptionalPropertyTypes holds against them.
  const redis = url.startsWith("unix://") ? new Redis(options as object) : new Redis(url, options as object);
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
