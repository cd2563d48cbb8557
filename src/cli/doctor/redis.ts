import { existsSync } from "node:fs";
import { join, resolve } from "node:path";
import type { Config } from "../../config.js";
import { messageOf } from "../../errors.js";
import { connectRedis, untilReady } from "../../store/redis.js";
import { error, type Finding, ok, skew, warning } from "./finding.js";

/** Shares of maxmemory. */
const MEMORY_WARN = 0.7;
const MEMORY_STOP = 0.85;

export async function redisFindings(config: Config): Promise<Finding[]> {
  const socket = join(resolve(config.dataDir, "redis"), "redis.sock");
  const url = config.redisUrl ?? (existsSync(socket) ? `unix://${socket}` : null);
  if (url === null)
    return [
      warning(
        "Redis",
        "REDIS_URL is not set: `serve` starts the machine's own redis-server",
        "for more than one process, or to survive this machine, set REDIS_URL",
      ),
    ];
  let words = "";
  const redis = connectRedis(url, (says) => (words = says));
  try {
    await untilReady(redis, 3000);
    const info = parsed(await redis.info());
    const [seconds = "0", micros = "0"] = (await redis.time()).map(String);
    return [
      version(info),
      ...(info["role"] === "slave"
        ? [
            error(
              "Redis",
              `it is a replica of ${info["master_host"] ?? "another"}: it refuses every write`,
              "point REDIS_URL at the primary",
            ),
          ]
        : []),
      eviction(info),
      persistence(info),
      memory(info),
      skew("Redis", Number(seconds) * 1000 + Number(micros) / 1000),
    ];
  } catch (fault) {
    return [unusable(words === "" ? messageOf(fault) : words)];
  } finally {
    redis.disconnect();
  }
}

function unusable(says: string): Finding {
  if (/WRONGPASS|NOAUTH|invalid.*password|NOPERM/i.test(says))
    return error(
      "Redis",
      `it refuses the credentials: ${says}`,
      "put the right user and password into REDIS_URL (redis://USER:PASSWORD@HOST:PORT)",
    );
  return error("Redis", `cannot be reached: ${says}`, "is REDIS_URL right, and may this host reach it?");
}

function parsed(info: string): Record<string, string> {
  const lines = info.split("\r\n").filter((line) => !line.startsWith("#") && line.includes(":"));
  return Object.fromEntries(lines.map((line) => [line.slice(0, line.indexOf(":")), line.slice(line.indexOf(":") + 1)]));
}

function version(info: Record<string, string>): Finding {
  const found = info["valkey_version"] ?? info["redis_version"] ?? "unknown";
  return Number(found.split(".")[0]) >= 7
    ? ok("Redis", `answers, version ${found}`)
    : error("Redis", `version ${found}, expected 7 or newer`, "upgrade Redis, or use Valkey 8");
}

function eviction(info: Record<string, string>): Finding {
  const found = info["maxmemory_policy"];
  if (found === undefined)
    return warning("Redis eviction", "cannot be told from INFO", "make sure that maxmemory-policy is noeviction");
  return found === "noeviction"
    ? ok("Redis eviction", "noeviction")
    : error(
        "Redis eviction",
        `maxmemory-policy is ${found}: jobs and records would vanish`,
        "set maxmemory-policy noeviction",
      );
}

function persistence(info: Record<string, string>): Finding {
  if (info["aof_enabled"] !== "1")
    return error("Redis AOF", "off: a restart of Redis loses what was accepted", "set appendonly yes");
  return (info["aof_last_write_status"] ?? "ok") === "ok"
    ? ok("Redis AOF", "on")
    : error("Redis AOF", "its last write failed: Redis refuses writes", "look at the disk and the log of Redis");
}

function memory(info: Record<string, string>): Finding {
  const most = Number(info["maxmemory"] ?? 0);
  const share = most === 0 ? 0 : Number(info["used_memory"] ?? 0) / most;
  const says = `${Math.round(share * 100)} % of maxmemory is used`;
  const how = "raise maxmemory, or find what else fills it: a full Redis refuses alerts";
  if (share > MEMORY_STOP) return error("Redis memory", says, how);
  return share > MEMORY_WARN
    ? warning("Redis memory", says, how)
    : ok("Redis memory", most === 0 ? "no maxmemory is set" : says);
}
