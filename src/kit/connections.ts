/** Whether PostgreSQL bears the connections that more pods open. For runbooks. */
import { quoted } from "../verify/quoted.js";
import { type Busy, one } from "./saturation.js";

/** Connections that PostgreSQL keeps for its superuser, and a little for people. */
const KEPT = 5;

export interface ConnectionQuestion extends Pick<Busy, "measure" | "now"> {
  namespace: string;
  /** What each pod's pool may open, how many pods there are, how many come. */
  each: number;
  pods: number;
  added: number;
}

/**
 * Judged by postgres_exporter's `pg_settings_max_connections` and `pg_stat_activity_count` of the namespace: neither the
 * connections open now with those that come, nor all pools together, may pass the limit.
 */
export async function connectionsBorne(
  q: ConnectionQuestion,
): Promise<{ ok: true; says: string } | { ok: false; reason: "no-capacity" | "no-data"; says: string }> {
  const at = `{namespace=${quoted(q.namespace)}}`;
  const most = await one(q, `max(pg_settings_max_connections${at})`);
  const used = await one(q, `sum(pg_stat_activity_count${at})`);
  if (most === null || used === null) {
    const says = `each pod may open ${q.each} database connections, and PostgreSQL's limit and use are not known: expected fresh pg_settings_max_connections and pg_stat_activity_count, found none`;
    return { ok: false, reason: "no-data", says };
  }
  const all = (q.pods + q.added) * q.each;
  const after = used + q.added * q.each;
  if (Math.max(all, after) > most - KEPT) {
    const says = `${q.pods + q.added} pods of ${q.each} connections make ${all}, and ${used} are open now: PostgreSQL takes ${most}. Put a pooler in front, or relieve it first`;
    return { ok: false, reason: "no-capacity", says };
  }
  return { ok: true, says: `PostgreSQL bears it: ${used} of ${most} connections open, at most ${after} then` };
}
