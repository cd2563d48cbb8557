import type { Redis } from "ioredis";
import type { FactStore } from "../record/store.js";
import { asking } from "./redis.js";

const DAY_S = 24 * 3600;

/** Small shared facts in Redis: losing them costs a warning, never a second effect. */
export function createFactStore(redis: Redis, prefix: string): FactStore {
  const key = (...parts: string[]) => [prefix, ...parts].join(":");
  return {
    async noteChange(fingerprint, change, at) {
      const name = key("changes", fingerprint);
      await asking("note a change", () => redis.multi().zadd(name, "NX", at, change).expire(name, DAY_S).exec());
    },
    async changes(fingerprint) {
      const flat = await asking("read the changes", () =>
        redis.zrange(key("changes", fingerprint), "0", "-1", "WITHSCORES"),
      );
      return flat.filter((_, index) => index % 2 === 1).map(Number);
    },
    async noteFiring(workload, at) {
      const name = key("firing");
      await asking("note a firing workload", () =>
        redis
          .multi()
          .zadd(name, at, workload)
          .zremrangebyscore(name, 0, at - DAY_S * 1000)
          .exec(),
      );
    },
    async firing(since) {
      const flat = await asking("read the firing workloads", () =>
        redis.zrangebyscore(key("firing"), since, "+inf", "WITHSCORES"),
      );
      const out: { workload: string; since: number }[] = [];
      for (let i = 0; i < flat.length; i += 2) out.push({ workload: flat[i] ?? "", since: Number(flat[i + 1]) });
      return out;
    },
    async stormOpen() {
      const value = await asking("read the storm", () => redis.get(key("storm")));
      return value === null ? null : Number(value);
    },
    async setStorm(openSince, until) {
      if (openSince === null) await asking("end the storm", () => redis.del(key("storm")));
      else await asking("note the storm", () => redis.set(key("storm"), String(openSince), "PXAT", until));
    },
    async noteHeartbeat(rule, at) {
      await asking("note a heartbeat", () => redis.hset(key("heartbeats"), rule, String(at)));
    },
    async heartbeats() {
      const all = await asking("read the heartbeats", () => redis.hgetall(key("heartbeats")));
      return Object.fromEntries(Object.entries(all).map(([rule, at]) => [rule, Number(at)]));
    },
    async present(holder, ttlMs) {
      await asking("note that this process lives", () => redis.set(key("present", holder), "1", "PX", ttlMs));
    },
    async isPresent(holder) {
      return (await asking("ask who lives", () => redis.exists(key("present", holder)))) === 1;
    },
    async deadLetter(entry) {
      const name = key("dead");
      await asking("keep a refused alert", () =>
        redis.multi().lpush(name, JSON.stringify(entry)).ltrim(name, 0, 9999).exec(),
      );
    },
  };
}
