/**
 * Ingest: webhooks per second at 64 connections, each answered when Redis has it, beside a bare Fastify with one BullMQ
 * add on the same Redis. Rounds of both alternate, so that a noisy minute of the machine hits both.
 */
import { Queue } from "bullmq";
import type { BareInput } from "./bare-receiver.js";
import { cpuOf, measured, serve, start } from "./child.js";
import { type Figure, figure, median } from "./figures.js";
import type { LoadAnswer, LoadInput } from "./load.js";
import { policyOf, startWorld, TOKEN } from "./world.js";

const RULES = `  - { name: everything, match: ['alertname=~".+"'], ignore: true }`;
const BODY_LIMIT = 4 * 1024 * 1024;

export interface IngestOptions {
  rounds: number;
  ms: number;
}

interface Round extends LoadAnswer {
  cpuMs: number;
}

export async function ingest(options: IngestOptions): Promise<Figure[]> {
  const figures: Figure[] = [];
  // The door alone: the workers rest, what is accepted stays in the queue. Then the same with the workers at work.
  for (const workers of ["resting", "working"] as const) {
    for (const alerts of [1, 100]) figures.push(...(await pair(alerts, workers, options)));
  }
  return figures;
}

async function pair(alerts: number, workers: "resting" | "working", options: IngestOptions): Promise<Figure[]> {
  const world = await startWorld({ policy: policyOf(["shop"], RULES) });
  const running: { stop(): Promise<unknown> }[] = [world];
  try {
    const bare = await start<{ url: string }>("bare-receiver.ts", {
      socket: world.socket,
      bodyLimit: BODY_LIMIT,
    } satisfies BareInput);
    running.push(bare);
    const served = await serve({
      ...world.env,
      NIGHTSHIFT_MAX_PENDING: "1000000",
      NIGHTSHIFT_MAX_BODY_BYTES: String(BODY_LIMIT),
    });
    running.push(served);
    if (workers === "resting") await rest(world.socket);
    const rounds: Record<"ours" | "floor", Round[]> = { ours: [], floor: [] };
    for (let round = 0; round < options.rounds; round += 1) {
      rounds.floor.push(await load({ url: bare.ready.url, pid: bare.pid, alerts, ms: options.ms }));
      rounds.ours.push(await load({ url: served.url, pid: served.pid, alerts, ms: options.ms }));
    }
    return figuresOf(alerts, workers, rounds);
  } finally {
    for (const one of running.reverse()) await one.stop();
  }
}

/** The workers take nothing more; what is added waits. */
async function rest(socket: string): Promise<void> {
  const queue = new Queue("alerts", { connection: { path: socket } as never, prefix: "{nightshift}:queue" });
  await queue.pause();
  await queue.close();
}

async function load(of: { url: string; pid: number; alerts: number; ms: number }): Promise<Round> {
  const before = cpuOf(of.pid);
  const warmUpMs = of.ms / 4;
  const answer = await measured<LoadAnswer>("load.ts", {
    url: `${of.url.replace(/\/$/, "")}/webhooks/alertmanager`,
    token: TOKEN,
    connections: 64,
    ms: of.ms,
    warmUpMs,
    alertsPerPost: of.alerts,
  } satisfies LoadInput);
  return { ...answer, cpuMs: ((cpuOf(of.pid) - before) * of.ms) / (of.ms + warmUpMs) };
}

function figuresOf(alerts: number, workers: string, rounds: Record<"ours" | "floor", Round[]>): Figure[] {
  const stored = (round: Round) => (round.answers["202"] ?? 0) / round.seconds;
  const cpu = (round: Round) => round.cpuMs / Math.max(1, round.answers["202"] ?? 0);
  const other = (round: Round) =>
    Object.entries(round.answers).reduce((sum, [status, n]) => sum + (status === "202" ? 0 : n), 0);
  const at = `ingest/${alerts} per POST, workers ${workers}`;
  const both = (name: string, unit: Figure["unit"], of: (round: Round) => number, target?: Figure["target"]) =>
    figure({
      name: `${at}: ${name}`,
      unit,
      value: median(rounds.ours.map(of)),
      floor: median(rounds.floor.map(of)),
      ...(target ? { target } : {}),
    });
  return [
    both("stored", "req/s", stored, { of: "ratio", is: "at least", bar: 0.7 }),
    both("cpu of the receiver", "ms cpu", cpu),
    both("answer p50", "ms", (round) => round.p50),
    both("answer p99", "ms", (round) => round.p99),
    figure({
      name: `${at}: answers other than 202`,
      unit: "count",
      value: rounds.ours.reduce((sum, round) => sum + other(round), 0),
      target: { of: "value", is: "at most", bar: 0 },
    }),
  ];
}
