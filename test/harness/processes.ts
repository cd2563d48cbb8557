import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePort, prometheusProgram, type Running, run } from "../../sandbox/processes.js";

/** Real programs for tests; what the demo needs as well lies in sandbox/. */

export { alertmanagerProgram, freePort, prometheusProgram, type Running, until } from "../../sandbox/processes.js";

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
