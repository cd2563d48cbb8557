import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** Real programs on loopback for tests: started on free ports, stopped by pid. */

export interface Running {
  url: string;
  dir: string;
  child: ChildProcess;
  stop(): Promise<void>;
}

export async function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const { port } = server.address() as { port: number };
      server.close(() => resolve(port));
    });
  });
}

/** The first of the programs that this machine has; null where it has none. */
export function program(...names: string[]): string | null {
  for (const name of names) {
    if (name.includes("/") ? existsSync(name) : false) return name;
    for (const dir of (process.env["PATH"] ?? "").split(":")) if (existsSync(join(dir, name))) return join(dir, name);
  }
  return null;
}

export async function until<T>(
  what: string,
  probe: () => Promise<T | null | undefined | false>,
  ms = 60_000,
): Promise<T> {
  const deadline = performance.now() + ms;
  let last: unknown = null;
  while (performance.now() < deadline) {
    try {
      const found = await probe();
      if (found) return found as T;
    } catch (error) {
      last = error;
    }
    await new Promise((done) => setTimeout(done, 100));
  }
  throw new Error(`${what}: not within ${ms / 1000} s${last instanceof Error ? `; last: ${last.message}` : ""}`);
}

async function run(command: string, args: string[], of: { dir: string; url: string; ready: string }): Promise<Running> {
  const child = spawn(command, args, { stdio: ["ignore", "pipe", "pipe"], cwd: of.dir });
  let words = "";
  for (const stream of [child.stdout, child.stderr])
    stream?.on("data", (chunk: Buffer) => (words = (words + chunk.toString()).slice(-4000)));
  const stop = async () => {
    if (child.exitCode === null && child.signalCode === null) {
      const ended = new Promise<void>((done) => child.once("exit", () => done()));
      child.kill("SIGTERM");
      const timer = setTimeout(() => child.kill("SIGKILL"), 5000);
      await ended;
      clearTimeout(timer);
    }
    rmSync(of.dir, { recursive: true, force: true });
  };
  try {
    await until(
      `${command} to answer`,
      async () => {
        if (child.exitCode !== null) throw new Error(`ended: ${words}`);
        return (await fetch(of.url + of.ready)).ok;
      },
      20_000,
    );
  } catch (error) {
    await stop();
    throw new Error(`${(error as Error).message}\n${words}`);
  }
  return { url: of.url, dir: of.dir, child, stop };
}

export const alertmanagerProgram = () =>
  process.env["ALERTMANAGER_BIN"] ?? program("prometheus-alertmanager", "alertmanager");
export const prometheusProgram = () => process.env["PROMETHEUS_BIN"] ?? program("prometheus");

/** A real Alertmanager that notifies one webhook at once. */
export async function startAlertmanager(of: { webhook: string; token: string; groupBy?: string[] }): Promise<Running> {
  const binary = alertmanagerProgram();
  if (binary === null) throw new Error("no Alertmanager on this machine");
  const dir = mkdtempSync(join(tmpdir(), "am-"));
  const port = await freePort();
  writeFileSync(
    join(dir, "am.yml"),
    `route: { receiver: nightshift, group_by: [${(of.groupBy ?? ["namespace"]).join(", ")}], group_wait: 0s, group_interval: 1s, repeat_interval: 1h }
receivers:
  - name: nightshift
    webhook_configs:
      - url: ${of.webhook}
        send_resolved: true
        http_config: { authorization: { type: Bearer, credentials: ${of.token} } }
`,
  );
  const url = `http://127.0.0.1:${port}`;
  const args = [
    `--config.file=${join(dir, "am.yml")}`,
    `--storage.path=${dir}`,
    `--web.listen-address=127.0.0.1:${port}`,
    "--cluster.listen-address=",
  ];
  return run(binary, args, { dir, url, ready: "/-/ready" });
}

/** A real Prometheus that scrapes and evaluates every second. */
export async function startPrometheus(of: {
  rules: string;
  scrape: string;
  alertmanager: string | null;
  labels?: Record<string, string>;
  job?: string;
}): Promise<Running> {
  const binary = prometheusProgram();
  if (binary === null) throw new Error("no Prometheus on this machine");
  const dir = mkdtempSync(join(tmpdir(), "prom-"));
  const port = await freePort();
  const host = (url: string) => new URL(url).host;
  writeFileSync(join(dir, "rules.yml"), of.rules);
  writeFileSync(
    join(dir, "prom.yml"),
    `global: { scrape_interval: 1s, evaluation_interval: 1s, external_labels: ${JSON.stringify(of.labels ?? {})} }
rule_files: [rules.yml]
${of.alertmanager === null ? "" : `alerting: { alertmanagers: [{ static_configs: [{ targets: ["${host(of.alertmanager)}"] }] }] }`}
scrape_configs:
  - job_name: ${of.job ?? "app"}
    static_configs: [{ targets: ["${host(of.scrape)}"] }]
`,
  );
  const url = `http://127.0.0.1:${port}`;
  const args = [
    `--config.file=${join(dir, "prom.yml")}`,
    `--storage.tsdb.path=${join(dir, "data")}`,
    `--web.listen-address=127.0.0.1:${port}`,
  ];
  return run(binary, args, { dir, url, ready: "/-/ready" });
}

/** A real redis-server on a private socket. */
export async function startRedis(): Promise<{ url: string; stop(): Promise<void>; pid: number }> {
  const { startEmbeddedRedis } = await import("../../src/store/embedded.js");
  const dir = mkdtempSync(join(tmpdir(), "redis-"));
  const redis = await startEmbeddedRedis(dir);
  return {
    url: redis.url,
    pid: redis.pid,
    async stop() {
      await redis.stop();
      rmSync(dir, { recursive: true, force: true });
    },
  };
}
