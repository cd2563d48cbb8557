import {
  type ConnectionOptions,
  DelayedError,
  type Job as BullJob,
  Queue,
  UnrecoverableError,
  WaitingError,
  Worker,
} from "bullmq";
import { type Clock, systemClock } from "../clock.js";
import { messageOf, NewerError, TerminalError, UnavailableError } from "../errors.js";
import type { Log } from "../log.js";
import type { Metrics } from "../metrics.js";
import { isPlainUrl, redisOptions } from "../store/redis.js";
import { collapseKey, type Job, JOB_VERSION, jobSchema, queueOf, type QueueName } from "./jobs.js";

/** BullMQ behind one face: the only file that imports it. It delivers at least once, and nothing relies on more. */

export const queueNames: readonly QueueName[] = ["alerts", "runs", "notices"];

/** What a handler wants done with its job. `again` puts it back; `now` without waiting, for a hand-over. */
export type HandlerEnd = { end: "done" } | { end: "again"; inMs: number };
export type Handler = (job: Job, signal: AbortSignal) => Promise<HandlerEnd>;

export interface Producer {
  /** Stores a job. Errors: UnavailableError, within the command's timeout, when Redis does not take it. */
  add(job: Job, delayMs?: number): Promise<void>;
  /** Waiting, active and delayed jobs of each queue, and the age of the oldest waiting one. */
  depth(queue: QueueName): Promise<{ jobs: number; oldestMs: number }>;
  /** Puts failed jobs back, at most three rounds each; those past it are counted. */
  revive(queue: QueueName): Promise<{ revived: number; given: string[] }>;
  close(): Promise<void>;
}

const KEEP_DONE = { count: 0 } as const;

function connection(url: string): ConnectionOptions {
  return (isPlainUrl(url) ? { url, ...redisOptions(url) } : redisOptions(url)) as ConnectionOptions;
}

/**
 * The producer fails fast when Redis is down or hung, and recovers when it is back: with `skipWaitingForReady` alone a
 * rejected first connection is cached for ever, `skipVersionCheck` avoids that.
 */
export function createProducer(
  redis: { url: string; prefix: string },
  clock: Clock,
  onError: (message: string) => void,
): Producer {
  const queues = new Map<QueueName, Queue>();
  for (const name of queueNames) {
    const queue = new Queue(name, {
      connection: connection(redis.url),
      prefix: redis.prefix,
      skipWaitingForReady: true,
      skipVersionCheck: true,
    });
    queue.on("error", (error) => onError(messageOf(error)));
    queues.set(name, queue);
  }
  const queueFor = (name: QueueName) => queues.get(name) as Queue;

  return {
    async add(job, delayMs) {
      const key = collapseKey(job);
      try {
        await queueFor(queueOf(job)).add(job.kind, job, {
          removeOnComplete: KEEP_DONE,
          attempts: 200,
          backoff: { type: "fixed", delay: 2000, jitter: 0.5 },
          ...(delayMs !== undefined && delayMs > 0 ? { delay: delayMs } : {}),
          ...(key === null ? {} : { deduplication: { id: key, keepLastIfActive: true } }),
        });
      } catch (cause) {
        throw new UnavailableError(
          "ERR_QUEUE_UNAVAILABLE",
          `Redis did not take a ${job.kind} job: ${messageOf(cause)}`,
          { cause },
        );
      }
    },
    async depth(name) {
      const queue = queueFor(name);
      const counts = await queue.getJobCounts("waiting", "active", "delayed", "prioritized");
      const [oldest] = await queue.getWaiting(0, 0);
      return {
        jobs: Object.values(counts).reduce((sum, n) => sum + n, 0),
        oldestMs: oldest ? Math.max(0, clock.now() - oldest.timestamp) : 0,
      };
    },
    async revive(name) {
      const failed = await queueFor(name).getFailed(0, 99);
      const given: string[] = [];
      let revived = 0;
      for (const job of failed) {
        if (job.attemptsStarted > 3 * 200) given.push(`${job.name} ${job.failedReason}`);
        else {
          await job.retry().catch(() => undefined);
          revived += 1;
        }
      }
      return { revived, given };
    },
    async close() {
      await Promise.all([...queues.values()].map((queue) => queue.close().catch(() => undefined)));
    },
  };
}

export interface WorkerOptions {
  url: string;
  prefix: string;
  concurrency: number;
  log: Log;
  metrics: Metrics;
}

/** A consumer of one queue. `stop` takes no more jobs, asks the running ones to hand over, and waits for them. */
export interface Consumer {
  ready(): Promise<void>;
  running(): boolean;
  stop(): Promise<void>;
}

/** A killed worker's job runs elsewhere after about lock + 2 checks; safety does not rest on the lock, so it may be short. */
const LOCK_MS = 3000;
const STALLED_CHECK_MS = 1000;
/** What only a newer version can do is put back for this long; either may be the one to find it then. */
const NEWER_MS = 5_000;

export function createConsumer(name: QueueName, handle: Handler, options: WorkerOptions): Consumer {
  const { log, metrics } = options;
  const forNewer = (job: BullJob, token: string | undefined, what: string) => {
    metrics.jobs.inc({ queue: name, result: "newer" });
    log.info({ queue: name, kind: job.name, what }, "left for the newer version that runs beside this one");
    return putBack(job, token, NEWER_MS);
  };
  const worker = new Worker(
    name,
    // BullMQ passes the signal only to functions that declare three plain parameters.
    async (job: BullJob, token: string | undefined, signal: AbortSignal | undefined) => {
      const parsed = jobSchema.safeParse(job.data);
      if (!parsed.success) {
        const v = (job.data as { v?: unknown } | null)?.v;
        if (typeof v === "number" && v > JOB_VERSION) return forNewer(job, token, `a job of format ${v}`);
        metrics.jobs.inc({ queue: name, result: "failed" });
        throw new UnrecoverableError(`a ${job.name} job that this version cannot read`);
      }
      try {
        const end = await handle(parsed.data, signal ?? new AbortController().signal);
        metrics.jobs.inc({ queue: name, result: end.end });
        if (end.end === "done") return;
        return await putBack(job, token, end.inMs);
      } catch (error) {
        if (error instanceof DelayedError || error instanceof WaitingError) throw error;
        if (error instanceof NewerError) return forNewer(job, token, error.message);
        metrics.jobs.inc({ queue: name, result: error instanceof TerminalError ? "failed" : "retried" });
        log.warn(
          { queue: name, kind: job.name, incident: (job.data as { incident?: string }).incident, error },
          "job did not succeed",
        );
        if (error instanceof TerminalError) throw new UnrecoverableError(error.message);
        throw error;
      }
    },
    {
      connection: {
        ...connection(options.url),
        maxRetriesPerRequest: null,
        enableOfflineQueue: true,
        commandTimeout: undefined,
      } as never,
      prefix: options.prefix,
      concurrency: options.concurrency,
      lockDuration: LOCK_MS,
      stalledInterval: STALLED_CHECK_MS,
      // Whether a run may go on is decided by its journal, never by how often BullMQ saw it stall.
      maxStalledCount: 1_000_000,
      drainDelay: 2,
      autorun: true,
    },
  );
  worker.on("error", (error) => log.warn({ queue: name, error }, "worker reports an error"));
  worker.on("lockRenewalFailed", (ids: string[]) => {
    for (const id of ids) worker.cancelJob(id, "lock lost");
  });
  return {
    async ready() {
      await worker.waitUntilReady();
    },
    running: () => worker.isRunning() && !worker.closing,
    async stop() {
      const closed = worker.close();
      worker.cancelAllJobs("shutdown");
      await closed;
    },
  };
}

async function putBack(job: BullJob, token: string | undefined, inMs: number): Promise<never> {
  if (inMs <= 0) {
    await job.moveToWait(token);
    throw new WaitingError();
  }
  await job.moveToDelayed(systemClock.now() + inMs, token);
  throw new DelayedError();
}
