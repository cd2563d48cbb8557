import type { Redis } from "ioredis";
import type { StormMember } from "../record/incident.js";
import type { DryRunAnswer, FactStore } from "../record/store.js";
import { asking } from "./redis.js";
import { createScript } from "./script.js";

const DAY_S = 24 * 3600;
/** As long as its record. */
const STORM_TTL_S = 90 * DAY_S;
/** The front waits for seconds. */
const DRY_RUN_TTL_S = 60;
const STORM_READ = 5000;

/** KEYS: changes of a fingerprint. ARGV: at, change, seconds that it is kept. */
const NOTE_CHANGE = `
redis.call('ZADD', KEYS[1], 'NX', ARGV[1], ARGV[2])
redis.call('EXPIRE', KEYS[1], ARGV[3])
`;

/** KEYS: firing workloads. ARGV: at, workload, since when they are kept. */
const NOTE_FIRING = `
redis.call('ZADD', KEYS[1], ARGV[1], ARGV[2])
redis.call('ZREMRANGEBYSCORE', KEYS[1], 0, ARGV[3])
`;

/** KEYS: storm. ARGV: now, until. Never shortens a storm. */
const KEEP_STORM = `
local since = redis.call('GET', KEYS[1])
if not since then
  redis.call('SET', KEYS[1], ARGV[1], 'PXAT', ARGV[2])
  return ARGV[1]
end
redis.call('PEXPIREAT', KEYS[1], ARGV[2], 'GT')
return since
`;

/** KEYS: memory. The name of the epoch and the counter, one further. */
const TICK = `
local epoch = redis.call('HGET', KEYS[1], 'epoch')
if not epoch then return nil end
return {epoch, tostring(redis.call('HINCRBY', KEYS[1], 'tick', 1))}
`;

/** Small shared facts in Redis: losing them costs a warning, never a second effect. */
/** Takes a claim away only from whoever has it. */
const RELEASE = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0";

export function createFactStore(redis: Redis, prefix: string): FactStore {
  const release = createScript(redis, RELEASE);
  // Scripts, because a transaction is four commands, and every webhook notes something.
  const noteChange = createScript(redis, NOTE_CHANGE);
  const noteFiring = createScript(redis, NOTE_FIRING);
  const key = (...parts: string[]) => [prefix, ...parts].join(":");
  return {
    async noteChange(fingerprint, change, at) {
      await asking("note a change", () =>
        noteChange([key("changes", fingerprint)], [String(at), change, String(DAY_S)]),
      );
    },
    async changes(fingerprint) {
      const flat = await asking("read the changes", () =>
        redis.zrange(key("changes", fingerprint), "0", "-1", "WITHSCORES"),
      );
      return flat.filter((_, index) => index % 2 === 1).map(Number);
    },
    async noteFiring(workload, at) {
      await asking("note a firing workload", () =>
        noteFiring([key("firing")], [String(at), workload, String(at - DAY_S * 1000)]),
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
    async keepStorm(now, until) {
      const since = await asking("note the storm", () =>
        redis.eval(KEEP_STORM, 1, key("storm"), String(now), String(until)),
      );
      return Number(since);
    },
    async joinStorm(storm, member) {
      const name = key("storm", storm);
      await asking("note an incident of the storm", () =>
        redis.multi().hset(name, member.incident, JSON.stringify(member)).expire(name, STORM_TTL_S).exec(),
      );
    },
    async stormMembers(storm) {
      const name = key("storm", storm);
      const [all, total] = await Promise.all([
        // A storm without end is told by its first thousands; how many there are in all is counted.
        asking("read the storm's incidents", () => redis.hscan(name, 0, "COUNT", STORM_READ)),
        asking("count the storm's incidents", () => redis.hlen(name)),
      ]);
      const members: StormMember[] = [];
      for (let i = 1; i < all[1].length; i += 2) members.push(JSON.parse(all[1][i] ?? "{}") as StormMember);
      return { members: members.sort((a, b) => a.at - b.at), total };
    },
    async claimTelling(storm, forMs) {
      const claimed = await asking("claim the telling of a storm", () =>
        redis.set(key("storm", storm, "telling"), "1", "PX", forMs, "NX"),
      );
      return claimed === "OK";
    },
    async dryRun(nonce) {
      const found = await asking("read a dry run's answer", () => redis.get(key("dry-run", nonce)));
      return found === null ? null : (JSON.parse(found) as DryRunAnswer);
    },
    async noteDryRun(nonce, answer) {
      await asking("note a dry run's answer", () =>
        redis.set(key("dry-run", nonce), JSON.stringify(answer), "EX", DRY_RUN_TTL_S),
      );
    },
    async tick() {
      const found = await asking("count on", () => redis.eval(TICK, 1, key("memory")));
      const [epoch, tick] = (found ?? []) as [string?, string?];
      return epoch === undefined ? null : { epoch, tick: Number(tick) };
    },
    async beginEpoch(epoch) {
      await asking("begin an epoch", () =>
        redis
          .multi()
          .del(key("memory"))
          .hset(key("memory"), "epoch", epoch, "tick", "0")
          .del(key("memory", "claim"))
          .exec(),
      );
    },
    async now() {
      const [seconds = "", micros = ""] = (await asking("tell the time", () => redis.time())).map(String);
      return Number(seconds) * 1000 + Number(micros) / 1000;
    },
    async probe() {
      await asking("store anything", () => redis.set(key("probe"), "1", "PX", 60_000));
    },
    async claimMemory(who, forMs) {
      const claimed = await asking("claim the memory", () => redis.set(key("memory", "claim"), who, "PX", forMs, "NX"));
      return claimed === "OK";
    },
    async releaseMemory(who) {
      await asking("give the claim back", () => release([key("memory", "claim")], [who]));
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
