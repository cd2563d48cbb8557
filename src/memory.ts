/**
 * Whether the store still remembers: a counter in Redis that only rises, against what this process saw last and against its
 * copy on the cluster. A store that is behind was lost or restored: one page, no effect until everything was swept. Part of
 * the hall. PROTOCOL section 9.
 */
import type { Clock, RandomHex } from "./clock.js";
import { isConflict, type MemoryCopy } from "./execution/memory-lease.js";
import type { Log } from "./log.js";
import type { Metrics } from "./metrics.js";
import type { PagerPort } from "./notify/notify.js";
import { directPage } from "./notify/pager-event.js";
import type { FactStore, RecordStore, StoreEpoch } from "./record/store.js";
import type { Transition } from "./record/transition.js";

/** A store that is restored from before this long ago is noticed even when every process was restarted with it. */
const COPY_MS = 15_000;
/** One process sees to a loss at a time; a dead one is followed by another after this. */
const CLAIM_MS = 30_000;
/** After a sweep that did not succeed (an Alertmanager that does not answer) it is tried again. */
const AGAIN_MS = 5_000;
const WHO = "memory";

export interface MemoryPorts {
  facts: Pick<FactStore, "tick" | "beginEpoch" | "claimMemory" | "releaseMemory">;
  copy: MemoryCopy;
  records: Pick<RecordStore, "attention" | "get">;
  transition: Transition;
  /** Records, Leases, Alertmanagers; false where a round did not succeed. */
  sweep(): Promise<boolean>;
  pager: PagerPort | null;
  clock: Clock;
  random: RandomHex;
  log: Log;
  metrics: Metrics;
  url: string;
}

export interface Memory {
  /** False while the store may have forgotten something: nothing is begun then. */
  trusted(): boolean;
  /** Looks once. Errors: UnavailableError, ClusterError; the next look comes. */
  look(): Promise<void>;
}

export function createMemory(m: MemoryPorts): Memory {
  const me = m.random(8);
  let againAt = Number.NEGATIVE_INFINITY;
  /** The loss that this process has paged. */
  let paged = "";
  let known: StoreEpoch | null = null;
  let trusted = false;
  let copiedAt = Number.NEGATIVE_INFINITY;

  const trust = (seen: StoreEpoch) => {
    known = seen;
    trusted = true;
    m.metrics.memoryTrusted.set(1);
  };

  async function look(): Promise<void> {
    const seen = await m.facts.tick();
    if (seen !== null && known !== null && seen.epoch === known.epoch && seen.tick > known.tick) {
      if (trusted) known = seen;
      if (trusted && m.clock.monotonic() - copiedAt >= COPY_MS) await keep(seen);
      if (trusted) return;
    }
    const copy = await m.copy.read();
    const ahead = seen !== null && copy !== null && seen.epoch === copy.epoch && seen.tick >= copy.tick;
    // Behind what this very process saw: the store came back without its last writes.
    const behind = seen !== null && known !== null && seen.epoch === known.epoch && seen.tick <= known.tick;
    if (seen !== null && (ahead || copy === null) && !behind) {
      if (copy === null) await keep(seen);
      trust(seen);
      return;
    }
    if (seen === null && copy === null && known === null) {
      // The very first start. Of two processes one begins; the other finds it begun at its next look.
      await alone(begin);
      return;
    }
    trusted = false;
    m.metrics.memoryTrusted.set(0);
    if (m.clock.monotonic() >= againAt) await alone(() => settle(copy ?? known, seen));
  }

  /** One process at a time; the claim is given back, or a snapshot taken meanwhile would bring it back with the rest. */
  async function alone(work: () => Promise<void>): Promise<void> {
    if (!(await m.facts.claimMemory(me, CLAIM_MS))) return;
    try {
      await work();
    } finally {
      await m.facts.releaseMemory(me);
    }
  }

  /** The copy follows from time to time; whoever is faster has written the same. */
  async function keep(seen: StoreEpoch): Promise<void> {
    await m.copy.write(seen).catch((error: unknown) => {
      if (!isConflict(error)) throw error;
    });
    copiedAt = m.clock.monotonic();
  }

  /** The cluster learns of the new epoch first: a death in between leaves a store that is still taken for lost. */
  async function begin(): Promise<void> {
    const next: StoreEpoch = { epoch: m.random(8), tick: 0 };
    await m.copy.write(next);
    copiedAt = m.clock.monotonic();
    await m.facts.beginEpoch(next.epoch);
    trust(next);
  }

  async function settle(before: StoreEpoch | null, seen: StoreEpoch | null): Promise<void> {
    const says =
      seen === null
        ? "Redis has forgotten everything: it was flushed or replaced"
        : `Redis is behind what was known of it (expected epoch ${before?.epoch ?? "none"} at ${before?.tick ?? 0} or later, found ${seen.epoch} at ${seen.tick}): it was restored or has lost its last writes`;
    m.log.error({ expected: before, found: seen }, says);
    const key = `nightshift/data-loss/${before?.epoch ?? "unknown"}-${before?.tick ?? 0}`;
    if (m.pager !== null && paged !== key) {
      const summary = `${says}. Alerts that were accepted and no longer fire may be forgotten; asks and runs are held. What still fires is read from Alertmanager again.`;
      await m.pager.send(directPage({ key, summary }, { url: m.url, now: m.clock.now() }));
      m.metrics.pages.inc({ result: "direct" });
      paged = key;
    }
    // What the store has may be old: an ask that was answered since, a run that ended. A person looks at each.
    for (const id of await m.records.attention()) {
      const record = await m.records.get(id).catch(() => null);
      if (record !== null) await m.transition(id, { type: "memoryLost", says }, WHO);
    }
    if (await m.sweep()) return begin();
    againAt = m.clock.monotonic() + AGAIN_MS;
    m.log.warn({}, "not everything could be swept after the loss: nothing is begun until it was");
  }

  return { trusted: () => trusted, look };
}
