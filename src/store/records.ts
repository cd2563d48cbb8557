import type { Redis } from "ioredis";
import type { RandomHex } from "../clock.js";
import { NewerError } from "../errors.js";
import { type IncidentRecord, isLive, RECORD_VERSION } from "../record/incident.js";
import { sha256 } from "../plan/digest.js";
import { entryText, TRAIL_LENGTH } from "../record/chain.js";
import { needsAttention } from "../record/machine.js";
import type { AuditEntry, Created, RecordStore } from "../record/store.js";
import { CHAIN_SCRIPT } from "./chain-script.js";
import { lineFor, LINES_TTL_S } from "./lines.js";
import { asking } from "./redis.js";
import { createScript } from "./script.js";
import { trailKey } from "./trail.js";

/** Decisions are kept 14 days, ended incidents 90. */
const INDEX_TTL_S = 14 * 24 * 3600;
const RECORD_TTL_S = 90 * 24 * 3600;

/**
 * One script for every write. `rev` is random: after a failover that loses a suffix, a counter would come round to the
 * same number with other content.
 * The audit's entry is linked to the chain by the same script: no transition without its entry, and none twice.
 * KEYS: record, target index, attention, recent, trail, lines of its week, identity indexes…, then as many indexes by millisecond
 * ARGV: expected rev ("" = create), new rev, json, id, live, attention, claim, now, index ttl, record ttl, sha256 and text of the audit
 *   entry, trail length, identities, line ("" = none), lines' ttl
 */
const COMMIT = `${CHAIN_SCRIPT}
local rev = redis.call('HGET', KEYS[1], 'rev')
if ARGV[1] == '' then
  if rev then return {'id', ARGV[4]} end
  for i = 7, 6 + tonumber(ARGV[13]) do
    local holder = redis.call('GET', KEYS[i])
    if holder then return {'identity', holder} end
  end
  if ARGV[7] == '1' then
    local holder = redis.call('GET', KEYS[2])
    if holder and holder ~= ARGV[4] then
      local prefix = string.sub(KEYS[1], 1, #KEYS[1] - #ARGV[4])
      if redis.call('HGET', prefix .. holder, 'live') == '1' then return {'target', holder} end
    end
  end
elseif rev ~= ARGV[1] then
  return {'rev', rev or ''}
end
redis.call('HSET', KEYS[1], 'rev', ARGV[2], 'json', ARGV[3], 'live', ARGV[5])
if ARGV[5] == '1' then redis.call('PERSIST', KEYS[1]) else redis.call('EXPIRE', KEYS[1], ARGV[10]) end
if ARGV[7] == '1' then
  local holder = redis.call('GET', KEYS[2])
  if not holder or holder == ARGV[4] or ARGV[5] == '1' then redis.call('SET', KEYS[2], ARGV[4], 'EX', ARGV[10]) end
end
if ARGV[6] == '1' then redis.call('ZADD', KEYS[3], ARGV[8], ARGV[4]) else redis.call('ZREM', KEYS[3], ARGV[4]) end
redis.call('ZADD', KEYS[4], ARGV[8], ARGV[4])
redis.call('ZREMRANGEBYRANK', KEYS[4], 0, -100001)
for i = 7, #KEYS do redis.call('SET', KEYS[i], ARGV[4], 'EX', ARGV[9]) end
if ARGV[14] == '' then redis.call('HDEL', KEYS[6], ARGV[4]) else
  redis.call('HSET', KEYS[6], ARGV[4], ARGV[14])
  redis.call('EXPIRE', KEYS[6], ARGV[15])
end
append(KEYS[5], ARGV[11], ARGV[12], ARGV[2])
return {'ok', ARGV[4]}
`;

/** Records in Redis. `prefix` carries a hash tag, so that every key of one install lies in one Cluster slot. */
export function createRecordStore(redis: Redis, prefix: string, random: RandomHex): RecordStore {
  const key = (...parts: string[]) => [prefix, ...parts].join(":");
  const run = createScript(redis, COMMIT);
  const targetKeyOf = (record: IncidentRecord) =>
    record.target ? `${record.target.cluster}/${record.target.uid}` : null;

  async function commit(
    record: IncidentRecord,
    expected: string,
    audit: AuditEntry,
  ): Promise<{ what: string; id: string; stored: IncidentRecord }> {
    const target = targetKeyOf(record);
    const rev = random(8);
    const stored = { ...record, rev };
    const line = lineFor(record, prefix);
    const keys = [
      key("inc", record.id),
      key("target", target ?? "none"),
      key("attention"),
      key("recent"),
      trailKey(prefix),
      line.key,
      ...record.alerts.map((alert) => key("alert", alert.identity)),
      ...record.alerts.map((alert) => key("alertms", `${alert.fingerprint}@${Date.parse(alert.startsAt)}`)),
    ];
    const live = isLive(record.state);
    const entry = entryText(audit, record);
    const answer = await asking("store an incident", () =>
      run(keys, [
        expected,
        rev,
        JSON.stringify(stored),
        record.id,
        live ? "1" : "0",
        needsAttention(record) ? "1" : "0",
        target !== null ? "1" : "0",
        String(record.updatedAt),
        String(INDEX_TTL_S),
        String(RECORD_TTL_S),
        `${sha256(entry)}${entry}`,
        String(TRAIL_LENGTH),
        String(record.alerts.length),
        line.text,
        String(LINES_TTL_S),
      ]),
    );
    const [what, id] = answer as [string, string];
    return { what, id, stored };
  }

  async function get(id: string): Promise<IncidentRecord | null> {
    const json = await asking("read an incident", () => redis.hget(key("inc", id), "json"));
    return json === null ? null : parseRecord(json);
  }

  return {
    get,
    byIdentity: (identity) => asking("look up an alert", () => redis.get(key("alert", identity))),
    byMillisecond: (fingerprint, startsAtMs) =>
      asking("look up an alert", () => redis.get(key("alertms", `${fingerprint}@${startsAtMs}`))),
    byTarget: (targetKey) => asking("look up a target", () => redis.get(key("target", targetKey))),
    async create(record, audit): Promise<Created> {
      const { what, id, stored } = await commit(record, "", audit);
      if (what === "ok") return { created: true, record: stored };
      return { created: false, incident: id, because: what as "identity" | "target" | "id" };
    },
    async save(record, audit) {
      const { what, stored } = await commit(record, record.rev, audit);
      return what === "ok" ? stored : null;
    },
    attention: () => asking("list the incidents to look after", () => redis.zrange(key("attention"), "0", "-1")),
    async forget(id) {
      await asking("tidy the list of incidents", () => redis.zrem(key("attention"), id));
    },
    async recent(limit) {
      const ids = await asking("list incidents", () => redis.zrevrange(key("recent"), 0, limit - 1));
      // One that only a newer version can read is not shown; it hides no other.
      const found = await Promise.all(ids.map((id) => get(id).catch(nullIfNewer)));
      return found.filter((record) => record !== null);
    },
  };
}

function nullIfNewer(error: unknown): null {
  if (error instanceof NewerError) return null;
  throw error;
}

/** Refuses a record of a newer shape: the newer version will look after it. Errors: NewerError. */
export function parseRecord(json: string): IncidentRecord {
  const record = JSON.parse(json) as IncidentRecord;
  if (record.v > RECORD_VERSION) {
    throw new NewerError(
      "ERR_RECORD_VERSION",
      `incident ${record.id} has format ${record.v}, this version reads ${RECORD_VERSION}: left for the newer one`,
    );
  }
  return record;
}
