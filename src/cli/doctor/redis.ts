import { existsSync } from "node:fs";
import { join, resolve } from "node:path";
import type { Config } from "../../config.js";
import { messageOf } from "../../errors.js";
import { connectRedis, untilReady } from "../../store/redis.js";
import { error, type Finding, ok, skew, warning } from "./finding.js";

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
  const findings: Finding[] = [];
  const redis = connectRedis(url, () => undefined);
  try {
    await untilReady(redis, 3000);
    const info = async (section: string) =>
      Object.fromEntries(
        (await redis.info(section))
          .split("\r\n")
          .map((line) => line.split(":", 2))
          .filter((pair) => pair.length === 2),
      ) as Record<string, string>;
    const server = await info("server");
    const version = server["valkey_version"] ?? server["redis_version"] ?? "unknown";
    const major = Number(version.split(".")[0]);
    findings.push(
      major >= 7
        ? ok("Redis", `answers, version ${version}`)
        : error("Redis", `version ${version}, expected 7 or newer`, "upgrade Redis, or use Valkey 8"),
    );
    const memory = await info("memory");
    const eviction = memory["maxmemory_policy"];
    if (eviction === undefined)
      findings.push(
        warning("Redis eviction", "cannot be told from INFO", "make sure that maxmemory-policy is noeviction"),
      );
    else
      findings.push(
        eviction === "noeviction"
          ? ok("Redis eviction", "noeviction")
          : error(
              "Redis eviction",
              `maxmemory-policy is ${eviction}: jobs and records would vanish`,
              "set maxmemory-policy noeviction",
            ),
      );
    const persistence = await info("persistence");
    findings.push(
      persistence["aof_enabled"] === "1"
        ? ok("Redis AOF", "on")
        : error("Redis AOF", "off: a restart of Redis loses what was accepted", "set appendonly yes"),
    );
    const most = Number(memory["maxmemory"] ?? 0);
    const share = most === 0 ? 0 : Number(memory["used_memory"] ?? 0) / most;
    if (share > 0.85)
      findings.push(error("Redis memory", `${Math.round(share * 100)} % of maxmemory is used`, "raise maxmemory"));
    else if (share > 0.7)
      findings.push(warning("Redis memory", `${Math.round(share * 100)} % of maxmemory is used`, "raise maxmemory"));
    const [seconds = "0", micros = "0"] = (await redis.time()).map(String);
    findings.push(skew("Redis", Number(seconds) * 1000 + Number(micros) / 1000));
  } catch (fault) {
    findings.push(error("Redis", messageOf(fault), "is REDIS_URL right, and may this host reach it?"));
  } finally {
    redis.disconnect();
  }
  return findings;
}
