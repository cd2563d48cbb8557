/** The composition root: holds every key, hands each room its own, locks up in reverse order. */
import { hostname } from "node:os";
import { createAuditKeeper } from "./app/audit.js";
import { createGuardWorld } from "./app/guard-world.js";
import { createHandle } from "./app/handle.js";
import { incidentSymptom, reserveBudget, runVerdict } from "./app/cluster-ports.js";
import { openClients } from "./app/clients.js";
import { createClocks } from "./app/clocks.js";
import { createRedisWatch, type Missed, rememberMissed } from "./app/redis-watch.js";
import { rememberYes } from "./app/rights.js";
import { embeddedSecret } from "./app/secret.js";
import { createStormView } from "./app/storm-view.js";
import { createMayLift } from "./app/may-lift.js";
import { createNudge } from "./app/nudge.js";
import { createTasks, obeyControl } from "./app/tasks.js";
import { createServer } from "./app/server.js";
import { startSlack } from "./app/slack.js";
import { findPolicy, known } from "./app/policy.js";
import { type Clock, randomHex, systemClock } from "./clock.js";
import type { Config } from "./config.js";
import { FaultsError, messageOf } from "./errors.js";
import { createProbe } from "./clients/probe.js";
import { createBudgets } from "./execution/budget.js";
import { createControl } from "./execution/control.js";
import { createLeaseStore, createLeaseWatch } from "./execution/lease.js";
import { createMemoryCopy } from "./execution/memory-lease.js";
import type { Bracket } from "./execution/ports.js";
import { loadGuards } from "./guard/gate.js";
import { createLog, type Log } from "./log.js";
import { createMetrics } from "./metrics.js";
import { createMemory } from "./memory.js";
import { createPipeline } from "./pipeline.js";
import { incidentActivity } from "./pipeline-consider.js";
import type { PipelinePorts } from "./pipeline-ports.js";
import { loadRunbooks } from "./plan/registry.js";
import { createConsumer, createProducer, type Consumer, queueNames } from "./queue/queues.js";
import type { Job } from "./queue/jobs.js";
import { startEmbeddedRedis } from "./store/embedded.js";
import { createFactStore } from "./store/facts.js";
import { createLineStore } from "./store/lines.js";
import { createRecordStore } from "./store/records.js";
import { checkRedis, connectRedis, untilReady } from "./store/redis.js";
import { READ_AFTER_MS } from "./shadow/shadow.js";
import { sweep } from "./sweep.js";
import { readShadows } from "./sweep-shadows.js";
import { outcomes, reasonNames } from "./record/reasons.js";
import { createTransition } from "./record/transition.js";

/** How often the hands say that they live; missed five times in a row they count as gone. */
const PRESENT_MS = 500;
const CONTROL_MS = 5000;
const CLOCK_MS = 10_000;
/** How often it is looked whether Redis still remembers. */
const MEMORY_MS = 1000;
const AUDIT_MS = 60_000;
const SWEEP_MS = 60_000;
const LEASE_SECONDS = 35;
/** Redis must be away this long before the direct page goes out; DESIGN asks for 60 s at most. */
const REDIS_GRACE_MS = 20_000;

export interface AppOptions {
  log?: Log;
  clock?: Clock;
  /** Tests make a worker die here. */
  at?(bracket: Bracket, about: { incident: string; step: string }): Promise<void>;
  sweepMs?: number;
  /** How long Redis may be away until the direct page goes out, milliseconds. */
  redisGraceMs?: number;
  /** Milliseconds between two tries of an eviction; 30 s unless told. */
  evictEveryMs?: number;
  /** Milliseconds until what people did instead of an observed plan is read; 30 min unless told. */
  readAfterMs?: number;
}

export interface App {
  url: string;
  stop(): Promise<void>;
}

/** Starts everything that the role asks for. Errors: FaultsError and TerminalError say what to mend. */
export async function startApp(config: Config, options: AppOptions = {}): Promise<App> {
  const cleanup: (() => Promise<unknown> | unknown)[] = [];
  const stop = async () => {
    for (const close of cleanup.splice(0).reverse()) await Promise.resolve(close()).catch(() => undefined);
  };
  try {
    return await start(config, options, { cleanup, stop });
  } catch (error) {
    await stop();
    throw error;
  }
}

async function start(
  config: Config,
  options: AppOptions,
  life: { cleanup: (() => Promise<unknown> | unknown)[]; stop(): Promise<void> },
): Promise<App> {
  const clock = options.clock ?? systemClock;
  const log = options.log ?? createLog(config.logLevel);
  const runbooks = await loadRunbooks();
  const guards = await loadGuards();
  const policy = findPolicy(config, known(runbooks));
  const cluster = config.cluster || (policy.clusters.length === 1 ? (policy.clusters[0]?.name ?? "") : "");
  if (!policy.clusters.some((c) => c.name === cluster)) {
    throw new FaultsError("ERR_CONFIG", "configuration", [
      `NIGHTSHIFT_CLUSTER: expected one of ${policy.clusters.map((c) => c.name).join(", ")}, found ${JSON.stringify(cluster)}`,
    ]);
  }
  const metrics = createMetrics({
    guards: guards.map((g) => g.name),
    runbooks: [...runbooks.keys()],
    outcomes,
    reasons: reasonNames,
  });
  const hands = config.role !== "front";
  const front = config.role !== "hands";

  const embedded = config.redisUrl === null ? await startEmbeddedRedis(config.dataDir) : null;
  if (embedded) life.cleanup.push(() => embedded.stop());
  const redisUrl = config.redisUrl ?? embedded?.url ?? "";
  const secret = config.secret ?? embeddedSecret(config.dataDir);
  const redis = connectRedis(redisUrl, (says) => log.warn({ says }, "Redis reports an error"));
  life.cleanup.push(() => redis.disconnect());
  await untilReady(redis, 10_000);
  await checkRedis(redis, (says) => log.warn({ says }, "Redis is not set up as it should be"));
  const prefix = config.redisPrefix;
  const records = createRecordStore(redis, prefix, randomHex);
  const lines = createLineStore(redis, prefix);
  await lines.begin(clock.now());
  const facts = createFactStore(redis, prefix);
  const producer = createProducer({ url: redisUrl, prefix: `${prefix}:queue` }, clock, (says) =>
    log.warn({ says }, "the queue reports an error"),
  );
  life.cleanup.push(() => producer.close());

  const { reader, writer, prometheus, alertmanagers, pager, rest, slack } = await openClients(config, {
    clock,
    log,
    hands,
  });
  life.cleanup.push(() => reader.close());
  if (writer) life.cleanup.push(() => writer.close());
  // Leases and the control ConfigMap lie in Nightshift's own namespace: the hands write them, the front only reads.
  const own = writer ?? reader;
  const control = createControl(own, config.namespace);
  if (hands) await control.create();
  const audit = createAuditKeeper({ redis, prefix, own: writer, namespace: config.namespace, clock, log, metrics });
  life.cleanup.push(() => audit.stop());
  const leases = createLeaseStore(own, config.namespace, { clock, durationSeconds: LEASE_SECONDS });
  const budgets = createBudgets(own, config.namespace, clock);
  const holder = `${process.env["POD_UID"] ?? hostname()}-${process.pid}-${randomHex(4)}`;
  const holderLives = createLeaseWatch(clock, (who) => facts.isPresent(who));
  const add = (job: Job, delayMs?: number) => producer.add(job, delayMs);
  const transition = createTransition({
    records,
    clock,
    nudge: createNudge({ add, slack: slack !== null || !front, clock, log }),
    stored(before, after) {
      if (before.state !== after.state && after.endedAt !== null && before.endedAt === null) {
        metrics.outcomes.inc({ outcome: after.state as "held", reason: after.reason ?? "none" });
        log.info(
          { incident: after.id, outcome: after.state, reason: after.reason, says: after.says },
          "incident ended",
        );
      }
    },
  });
  let pending = 0;
  const missed: Missed = new Map();
  const verify = {
    clock,
    policy: () => policy,
    metrics: prometheus,
    activity: (record: Parameters<typeof incidentActivity>[1]) => incidentActivity(ports, record),
  };
  const symptom = (record: Parameters<typeof incidentSymptom>[1]) => incidentSymptom(verify, record);
  const writerAccount = `system:serviceaccount:${config.namespace}:nightshift-hands`;
  const clocks = createClocks({ clock, reader, facts, log, metrics });
  const storm = createStormView({ cluster, reader, facts, policy: () => policy, clock });
  const world = {
    cluster,
    alertmanagers,
    reader,
    leases,
    budgets,
    control,
    facts,
    storm,
    clock: () => clocks.verdict(),
    policy: () => policy,
    keys: () => secret.values(),
    symptom,
    writerCan: rememberYes(
      (question) => (writer ? writer.can(question) : reader.canUser(writerAccount, question)),
      clock,
    ),
    now: () => clock.now(),
  };
  const ports: PipelinePorts = {
    clock,
    random: randomHex,
    log,
    metrics,
    settings: {
      cluster,
      namespace: config.namespace,
      install: config.install,
      url: config.url,
      channel: config.slack.channel,
      maxAlerts: config.limits.alerts,
      maxLabelLength: config.limits.labelLength,
      logLines: 20,
      guardTimeoutMs: 10_000,
      readAfterMs: options.readAfterMs ?? READ_AFTER_MS,
    },
    policy: () => policy,
    runbooks,
    guards,
    records,
    facts,
    transition,
    add,
    overloaded: () => pending > config.limits.pending,
    missed: (alerts) => rememberMissed(missed, policy, alerts),
    reader,
    // What a query asks wrongly or cannot be asked is the same to a runbook: nothing is known.
    measure: async (expr) => (prometheus === null ? null : prometheus.query(expr).catch(() => null)),
    probe: createProbe(clock),
    leases,
    holderLives,
    dryRunner: writer,
    alertmanagers,
    guardWorld: (record, of) => createGuardWorld(world, record, of),
    storm,
    remembers: () => memory.trusted(),
    slack,
    pager,
    onCall: async () => rest?.onCall().catch(() => null) ?? null,
    keys: () => secret.values(),
    engine:
      writer === null
        ? null
        : {
            clock,
            log,
            holder,
            records,
            transition,
            leases,
            holderLives,
            reader: writer,
            writer,
            runbook: (name) => runbooks.get(name),
            reserve: (record, run) => reserveBudget(budgets, { record, run, policy, clock }),
            closeBudget: (run) => budgets.close(run),
            symptom,
            verdict: async (record, remedy) => {
              const judged = await runVerdict(verify, record, remedy);
              if (judged.verdict !== null) metrics.verdicts.inc({ runbook: remedy.name, verdict: judged.verdict });
              return judged;
            },
            effectTimeoutMs: 10_000,
            renewMs: 10_000,
            evictEveryMs: options.evictEveryMs ?? 30_000,
            evictWithinMs: 5 * 60_000,
            at: options.at ?? (async () => undefined),
            effectAnswered: (runbook, answer) => metrics.effects.inc({ runbook, answer: answer as "applied" }),
          },
  };
  const pipeline = createPipeline(ports);

  const consumers: Consumer[] = [];
  const handle = createHandle(pipeline);
  const consume = (name: "alerts" | "runs" | "notices", concurrency: number) => {
    const consumer = createConsumer(name, handle, {
      url: redisUrl,
      prefix: `${prefix}:queue`,
      concurrency,
      log,
      metrics,
    });
    consumers.push(consumer);
    life.cleanup.push(() => consumer.stop());
  };

  const missing = new Set<string>();
  const sweepOnce = () =>
    sweep(
      {
        ...ports,
        open: async (alerts) => void (await pipeline.open({ alerts: [...alerts], truncated: 0, groupKey: null })),
        revive: async () =>
          (await Promise.all(queueNames.map((name) => producer.revive(name)))).flatMap((r) => r.given),
      },
      missing,
    );
  const memory = createMemory({
    facts,
    copy: createMemoryCopy(own, config.namespace, clock),
    records,
    transition,
    sweep: sweepOnce,
    pager,
    clock,
    random: randomHex,
    log,
    metrics,
    url: config.url,
  });
  const tasks = createTasks(clock, log);
  await clocks.look();
  if (hands) await memory.look().catch((error: unknown) => log.warn({ error }, "the store could not be looked at yet"));
  else metrics.memoryTrusted.set(1);
  if (hands) await facts.present(holder, 5 * PRESENT_MS);
  if (front) {
    consume("alerts", 16);
    consume("notices", 8);
  }
  if (hands) consume("runs", 8);
  await Promise.all(consumers.map((consumer) => consumer.ready()));

  if (hands) tasks.every(PRESENT_MS, "presence", () => facts.present(holder, 5 * PRESENT_MS));
  tasks.every(CLOCK_MS, "clocks", () => clocks.look());
  tasks.every(AUDIT_MS, "audit", () => audit.round());
  if (hands) tasks.every(MEMORY_MS, "memory", () => memory.look());
  tasks.every(options.sweepMs ?? SWEEP_MS, "sweep", sweepOnce);
  tasks.every(options.sweepMs ?? SWEEP_MS, "what people did", () => readShadows(ports));
  if (writer) tasks.every(CONTROL_MS, "control", () => obeyControl({ control, leases, writer, clock, metrics }));
  const watch = createRedisWatch({
    probe: () => facts.probe(),
    depth: () => producer.depth("alerts"),
    graceMs: options.redisGraceMs ?? REDIS_GRACE_MS,
    pager,
    clock,
    metrics,
    url: config.url,
    missed,
  });
  tasks.every(1000, "pending", async () => {
    pending = await watch();
  });
  life.cleanup.push(() => tasks.stop());

  const mayLift = createMayLift({ policy, slack, onCall: ports.onCall });
  const app =
    front && slack !== null ? await startSlack({ config, log, clock, add, control, records, lines, mayLift }) : null;
  if (app) life.cleanup.push(() => app.stop());
  const server = await createServer({
    config,
    front,
    pipeline,
    metrics,
    slackHttp: app?.http ?? null,
    records,
    readiness,
    refresh,
    log,
  });
  life.cleanup.push(() => server.close());
  log.info(
    { url: server.url, role: config.role, cluster, rules: policy.rules.length, policy: policy.digest.slice(0, 12) },
    "nightshift serves",
  );
  return { url: server.url, stop: life.stop };

  async function readiness(): Promise<string[]> {
    const out: string[] = [];
    if (redis.status !== "ready") out.push("Redis is not connected");
    else await facts.probe().catch((error: unknown) => out.push(messageOf(error)));
    const found = await control.read();
    if (found.state === "unreadable") out.push(found.why);
    for (const consumer of consumers) if (!consumer.running()) out.push("a worker is not running");
    return out;
  }

  async function refresh(): Promise<void> {
    for (const name of queueNames) {
      const depth = await producer.depth(name);
      metrics.queueDepth.set({ queue: name }, depth.jobs);
      metrics.oldestJob.set({ queue: name }, depth.oldestMs / 1000);
    }
  }
}
