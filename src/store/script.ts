import { createHash } from "node:crypto";
import type { Redis } from "ioredis";
import { messageOf } from "../errors.js";

/** A script by its SHA-1, so that its text is sent once per Redis and not with every call. */
export function createScript(
  redis: Redis,
  text: string,
): (keys: readonly string[], args: readonly string[]) => Promise<unknown> {
  const name = createHash("sha1").update(text).digest("hex");
  return async (keys, args) => {
    try {
      return await redis.evalsha(name, keys.length, ...keys, ...args);
    } catch (error) {
      // A Redis that has not seen it yet has done nothing.
      if (!messageOf(error).startsWith("NOSCRIPT")) throw error;
      return redis.eval(text, keys.length, ...keys, ...args);
    }
  };
}
