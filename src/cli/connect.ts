import { randomHex, systemClock } from "../clock.js";
import { type Config, readConfig } from "../config.js";
import { TerminalError } from "../errors.js";
import type { IncidentRecord } from "../record/incident.js";
import type { AuditTrail } from "../record/chain.js";
import type { LineStore, RecordStore } from "../record/store.js";
import { createLineStore } from "../store/lines.js";
import { createRecordStore } from "../store/records.js";
import { connectRedis, untilReady } from "../store/redis.js";
import { createAuditTrail } from "../store/trail.js";
import { existsSync } from "node:fs";
import { join, resolve } from "node:path";

/** What a short command needs of Redis. The embedded server of a running `serve` is found by its socket. */
export interface Connection {
  config: Config;
  redisUrl: string;
  records: RecordStore;
  lines: LineStore;
  trail: AuditTrail;
  close(): void;
}

export async function connect(env: NodeJS.ProcessEnv = process.env): Promise<Connection> {
  const config = readConfig(env, false);
  const socket = join(resolve(config.dataDir, "redis"), "redis.sock");
  const redisUrl = config.redisUrl ?? (existsSync(socket) ? `unix://${socket}` : null);
  if (redisUrl === null)
    throw new TerminalError(
      "ERR_NO_REDIS",
      `no Redis to ask: set REDIS_URL as \`serve\` has it, or run this where \`serve\` runs (NIGHTSHIFT_DATA is ${config.dataDir})`,
    );
  const redis = connectRedis(redisUrl, () => undefined);
  await untilReady(redis, 5000).catch((error: unknown) => {
    redis.disconnect();
    throw error;
  });
  return {
    config,
    redisUrl,
    records: createRecordStore(redis, config.redisPrefix, randomHex),
    lines: createLineStore(redis, config.redisPrefix),
    trail: createAuditTrail(redis, config.redisPrefix),
    close: () => redis.disconnect(),
  };
}

/** An incident by its id or an unmistakable beginning of it. */
export async function find(records: RecordStore, id: string): Promise<IncidentRecord> {
  const exact = await records.get(id);
  if (exact !== null) return exact;
  const close = (await records.recent(500)).filter((record) => record.id.startsWith(id) || record.run?.id === id);
  const [only] = close;
  if (only !== undefined && close.length === 1) return only;
  throw new TerminalError(
    "ERR_NO_INCIDENT",
    close.length === 0
      ? `no incident ${id}: see \`nightshift incidents\``
      : `${id} is the beginning of ${close.length} incidents`,
  );
}

export const clock = systemClock;
