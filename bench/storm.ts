/**
 * A storm: a thousand webhooks of a hundred distinct alerts in a minute, each alert ten times, as an Alertmanager that
 * repeats itself sends them; in the middle one critical alert that is no part of it. Nothing may be lost.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { Pool } from "undici";
import { memoryOf, serve } from "./child.js";
import { type Figure, figure, quantile } from "./figures.js";
import { type AlertOf, alertOf, bodyOf, crashLoop } from "./payload.js";
import { policyOf, startWorld, TOKEN } from "./world.js";

const RULES = `  - { name: loops, match: ['alertname="KubePodCrashLooping"'], runbook: diagnose-pods, target: { from: pod, namespace: $labels.namespace, name: $labels.pod } }
  - { name: people, match: ['alertname="DatabaseDown"'], escalate: { severity: critical } }`;
const TEAMS = Array.from({ length: 17 }, (_, i) => `team-${i}`);
/** An incident that is not decided so long after the last webhook is not counted as decided. */
const PATIENCE_MS = 60_000;

export interface StormOptions {
  webhooks: number;
  alerts: number;
  ms: number;
}

interface Told {
  state: string;
  openedAt: number;
  endedAt: number | null;
  alerts: { fingerprint: string; labels: Record<string, string> }[];
}

export async function storm(options: StormOptions): Promise<Figure[]> {
  const world = await startWorld({ policy: policyOf(TEAMS, RULES) });
  const running: { stop(): Promise<unknown> }[] = [world];
  try {
    const served = await serve(world.env);
    running.push(served);
    const atRest = memoryOf(served.pid).rss;
    const pool = new Pool(served.url, { connections: 64 });
    running.push({ stop: () => pool.close() });
    const post = poster(pool);
    const incidents = async () => {
      const answer = await pool.request({ method: "GET", path: "/api/v1/incidents?limit=1000" });
      return ((await answer.body.json()) as { incidents: Told[] }).incidents;
    };

    const alerts = Array.from({ length: options.alerts }, (_, i) => alertOf(crashLoop(i)));
    const critical = alertOf({ alertname: "DatabaseDown", severity: "critical", namespace: "team-1" });
    for (const alert of [...alerts, critical]) world.stand.fires(alert);
    const began = performance.now();
    let criticalMs: Promise<number> = Promise.resolve(Number.NaN);
    const posts: Promise<void>[] = [];
    for (let n = 0; n < options.webhooks; n += 1) {
      const wait = began + (n * options.ms) / options.webhooks - performance.now();
      if (wait > 0) await sleep(wait);
      posts.push(post.send([alerts[n % alerts.length] as AlertOf]));
      if (n === Math.floor(options.webhooks / 2)) criticalMs = decided(post.send([critical]), critical, incidents);
    }
    await Promise.all(posts);
    const found = await settled(alerts, incidents);
    const peak = memoryOf(served.pid).peak;
    return figuresOf(options, { post, lost: found, criticalMs: await criticalMs, atRest, peak });
  } finally {
    for (const one of running.reverse()) await one.stop();
  }
}

interface Poster {
  times: number[];
  refused: number;
  send(alerts: readonly AlertOf[]): Promise<void>;
}

function poster(pool: Pool): Poster {
  const headers = { "content-type": "application/json", authorization: `Bearer ${TOKEN}` };
  const self: Poster = {
    times: [],
    refused: 0,
    async send(alerts) {
      const at = performance.now();
      const name = alerts[0]?.labels["pod"] ?? alerts[0]?.labels["alertname"] ?? "";
      const body = bodyOf(alerts, `{}:{name="${name}"}`);
      const answer = await pool.request({ method: "POST", path: "/webhooks/alertmanager", headers, body });
      await answer.body.dump();
      if (answer.statusCode !== 202) self.refused += 1;
      self.times.push(performance.now() - at);
    },
  };
  return self;
}

/** Milliseconds from the POST until the alert's incident has left `open`. */
async function decided(sent: Promise<void>, alert: AlertOf, incidents: () => Promise<Told[]>): Promise<number> {
  const at = performance.now();
  await sent;
  while (performance.now() - at < PATIENCE_MS) {
    const mine = (await incidents()).find((one) => one.alerts.some((a) => a.fingerprint === alert.fingerprint));
    if (mine !== undefined && mine.state !== "open") return performance.now() - at;
    await sleep(20);
  }
  return Number.POSITIVE_INFINITY;
}

/** How many of the alerts no decided incident holds. */
async function settled(alerts: readonly AlertOf[], incidents: () => Promise<Told[]>): Promise<number> {
  const at = performance.now();
  for (;;) {
    const held = new Set(
      (await incidents())
        .filter((one) => one.state !== "open")
        .flatMap((one) => one.alerts.map((alert) => alert.fingerprint)),
    );
    const missing = alerts.filter((alert) => !held.has(alert.fingerprint)).length;
    if (missing === 0 || performance.now() - at > PATIENCE_MS) return missing;
    await sleep(250);
  }
}

function figuresOf(
  options: StormOptions,
  of: { post: Poster; lost: number; criticalMs: number; atRest: number; peak: number },
): Figure[] {
  const at = `storm/${options.webhooks} webhooks of ${options.alerts} alerts`;
  const most = (bar: number) => ({ of: "value", is: "at most", bar }) as const;
  return [
    figure({ name: `${at}: alerts without a decision`, unit: "count", value: of.lost, target: most(0) }),
    figure({ name: `${at}: answers other than 202`, unit: "count", value: of.post.refused, target: most(0) }),
    figure({ name: `${at}: a critical alert decided after`, unit: "ms", value: of.criticalMs, target: most(2000) }),
    figure({ name: `${at}: peak memory`, unit: "MiB", value: of.peak, floor: of.atRest, target: most(300) }),
    figure({ name: `${at}: answer p99`, unit: "ms", value: quantile(of.post.times, 0.99) }),
  ];
}
