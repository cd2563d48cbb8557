/** The head of the audit chain goes where Redis cannot lose it: into the log and the cluster. Part of the composition root. */
import type { Redis } from "ioredis";
import type { Clock } from "../clock.js";
import type { OwnObjects } from "../cluster.js";
import { createAuditHeads } from "../execution/audit-heads.js";
import type { Log } from "../log.js";
import type { Metrics } from "../metrics.js";
import type { Head } from "../record/chain.js";
import { lostWords } from "../record/chain-check.js";
import { keepHead, type LostHead } from "../record/kept-heads.js";
import { createAuditTrail } from "../store/trail.js";

const HOUR_MS = 3600_000;
/** A quarter of what the stream holds: however fast it grows, a kept head is found in it again. */
const ENTRIES = 50_000;
/** A stop does not wait longer than this for a cluster that does not answer. */
const STOP_MS = 3000;

export interface AuditKeeper {
  /** To be called each minute: notes the head at the start, each hour, and when the chain has grown much. */
  round(): Promise<void>;
  stop(): Promise<void>;
}

export function createAuditKeeper(of: {
  redis: Redis;
  prefix: string;
  /** The hands' own objects; null for the front, which only logs. */
  own: OwnObjects | null;
  namespace: string;
  clock: Clock;
  log: Log;
  metrics: Pick<Metrics, "auditHeads">;
}): AuditKeeper {
  const { clock, log, metrics } = of;
  const trail = createAuditTrail(of.redis, of.prefix);
  const heads = of.own === null ? null : createAuditHeads(of.own, of.namespace);
  let logged: { at: number; seq: number } | null = null;
  let kept = true;

  function tell(head: Head | null, when: "start" | "hour" | "stop"): void {
    log.info({ when, seq: head?.seq ?? 0, hash: head?.hash ?? null }, "head of the audit chain");
    logged = { at: clock.monotonic(), seq: head?.seq ?? 0 };
  }

  function noticed(lost: LostHead | null): void {
    if (lost === null) return;
    metrics.auditHeads.inc({ result: "lost" });
    const says = lostWords(lost, lost.sound);
    log.error({ says }, "the audit was lost or replaced; `nightshift audit verify` says what remains");
  }

  async function keep(): Promise<void> {
    if (heads === null) return;
    kept = false;
    try {
      let lost: LostHead | null = null;
      await heads.change(async (present) => {
        // The kept heads were read before the chain: whatever they name must be in it by now.
        const head = await trail.head();
        const where = await Promise.all(present.heads.map((one) => trail.whereIs(one)));
        const keeps = keepHead(present, { head, where, now: clock.now() });
        lost = keeps?.lost ?? null;
        return keeps?.next ?? null;
      });
      noticed(lost);
      metrics.auditHeads.inc({ result: "kept" });
      kept = true;
    } catch (error) {
      metrics.auditHeads.inc({ result: "failed" });
      log.warn({ error }, "the head of the audit chain could not be kept in the cluster; tried again in a minute");
    }
  }

  return {
    async round() {
      const head = await trail.head();
      const seq = head?.seq ?? 0;
      const due =
        logged === null || clock.monotonic() - logged.at >= HOUR_MS || seq - logged.seq >= ENTRIES || seq < logged.seq;
      if (due) tell(head, logged === null ? "start" : "hour");
      if (due || !kept) await keep();
    },
    async stop() {
      tell(await trail.head(), "stop");
      await Promise.race([keep(), clock.sleep(STOP_MS)]);
    },
  };
}
