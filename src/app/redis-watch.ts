/** The direct path while Redis is away: it needs neither Redis nor Slack. Part of the composition root. */
import { type Alert, alertName } from "../alert/alert.js";
import { dedupKeyOf, incidentId } from "../alert/identity.js";
import type { Clock } from "../clock.js";
import { messageOf } from "../errors.js";
import type { Metrics } from "../metrics.js";
import type { PagerPort } from "../notify/notify.js";
import { directPage } from "../notify/pager-event.js";
import { decide } from "../policy/decide.js";
import { type Policy, wakesPeople } from "../policy/policy.js";

/** Alerts that could not be stored and that somebody must hear of, by the dedup_key that their incident would have. */
export type Missed = Map<string, string>;

/** More groups than this are told of by the page about Redis itself. */
const MAX_MISSED = 50;
/** The same page again after this long; PagerDuty merges by key. */
const AGAIN_MS = 60_000;

export function rememberMissed(missed: Missed, policy: Policy, alerts: readonly Alert[]): void {
  for (const alert of alerts) {
    if (alert.status !== "firing" || missed.size >= MAX_MISSED) continue;
    const { decision } = decide(policy, alert);
    if (decision === "ignore" || (!wakesPeople(alert.labels) && decision !== "escalate")) continue;
    missed.set(
      dedupKeyOf(alert.groupKey, incidentId("", null, alert.identity)),
      `${alertName(alert)} fires and could not be stored: Nightshift can store nothing in Redis and does nothing about it`,
    );
  }
}

export interface RedisWatch {
  /** Errors: UnavailableError where nothing can be stored, also for want of memory. */
  probe(): Promise<void>;
  depth(): Promise<{ jobs: number }>;
  graceMs: number;
  pager: PagerPort | null;
  clock: Clock;
  metrics: Metrics;
  url: string;
  missed: Missed;
}

/** Answers how much waits; while Redis is away past the grace time it pages, and answers zero. */
export function createRedisWatch(w: RedisWatch): () => Promise<number> {
  let awaySince: number | null = null;
  let pagedAt = Number.NEGATIVE_INFINITY;
  return async () => {
    try {
      await w.probe();
      const { jobs } = await w.depth();
      awaySince = null;
      pagedAt = Number.NEGATIVE_INFINITY;
      w.missed.clear();
      return jobs;
    } catch (error) {
      const now = w.clock.monotonic();
      awaySince ??= now;
      if (now - awaySince > w.graceMs && now - pagedAt > AGAIN_MS && w.pager !== null) {
        pagedAt = now;
        const says = messageOf(error);
        const full = /\bOOM\b/.test(says) ? " Raise its maxmemory, or remove what else fills it." : "";
        const summary = `Nightshift can store nothing in Redis: alerts are refused with 503 and nothing is remediated. ${says}${full}`;
        const pages = [
          { key: "nightshift/redis-down", summary },
          ...[...w.missed].map(([key, says]) => ({ key, summary: says })),
        ];
        for (const page of pages) {
          await w.pager.send(directPage(page, { url: w.url, now: w.clock.now() }));
          w.metrics.pages.inc({ result: "direct" });
        }
        w.missed.clear();
      }
      return 0;
    }
  };
}
