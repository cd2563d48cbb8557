/** What every story is played with: a cluster, Redis, Alertmanager, and stand-ins for what costs money. */
import { type ChildProcess, fork } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { startEmbeddedRedis } from "../../src/store/embedded.js";
import { startAlertmanager } from "../alertmanager/index.js";
import { startPagerDuty } from "../pagerduty/index.js";
import { freePort } from "../processes.js";
import { startPrometheusStandIn } from "../prometheus/index.js";
import { startSlack } from "../slack/index.js";
import type { Cleanup } from "./cleanup.js";
import type { Ground } from "./ground.js";

export type DemoWorld = Awaited<ReturnType<typeof startDemoWorld>>;

/** One process of Nightshift. */
export interface ProcessOptions {
  role: "front" | "hands";
  /** The policy's text. */
  policy: string;
  /** Processes with the same name share records and queues. */
  memory: string;
  /** Dies by SIGKILL right after its first write; one of all those that are told so. */
  kill?: boolean;
}

/** Errors: whatever keeps a part from starting, in a sentence; what has been started stands in `cleanup`. */
export async function startDemoWorld<G extends Ground>(
  cleanup: Cleanup,
  groundOf: (dir: string, cleanup: Cleanup) => Promise<G>,
) {
  const dir = mkdtempSync(join(tmpdir(), "nightshift-demo-"));
  cleanup.push(() => rmSync(dir, { recursive: true, force: true }));
  const redis = await startEmbeddedRedis(dir);
  cleanup.push(() => redis.stop());
  const ground = await groundOf(dir, cleanup);
  const slack = await startSlack();
  cleanup.push(() => slack.stop());
  const pager = await startPagerDuty();
  cleanup.push(() => pager.stop());
  const prometheus = await startPrometheusStandIn(() => Date.now());
  cleanup.push(() => prometheus.stop());
  const port = await freePort();
  const alertmanager = await startAlertmanager({
    webhook: `http://127.0.0.1:${port}/webhooks/alertmanager`,
    token: "demo-token",
    // Long enough for alerts that fire at one moment to come as one notification, as with the usual 30 s.
    groupWait: "300ms",
  });
  cleanup.push(() => alertmanager.stop());

  const children = new Set<ChildProcess>();
  cleanup.push(() => Promise.all([...children].map(end)));
  const killFlag = join(dir, "killed");
  let policies = 0;

  /** Starts one process of Nightshift; resolves when it serves. */
  async function startProcess(options: ProcessOptions): Promise<ChildProcess> {
    const { role } = options;
    policies += 1;
    const policy = join(dir, `policy-${policies}.yaml`);
    writeFileSync(policy, options.policy);
    const env: Record<string, string> = {
      PATH: process.env["PATH"] ?? "",
      ...ground.env,
      NIGHTSHIFT_CLUSTER: ground.cluster,
      NIGHTSHIFT_ROLE: role,
      NIGHTSHIFT_POLICY: policy,
      NIGHTSHIFT_HOST: "127.0.0.1",
      NIGHTSHIFT_PORT: role === "front" ? String(port) : "0",
      NIGHTSHIFT_SECRET: "the secret of this demo, and of nothing else",
      NIGHTSHIFT_WEBHOOK_TOKEN: "demo-token",
      NIGHTSHIFT_NAMESPACE: ground.own,
      NIGHTSHIFT_DATA: dir,
      NIGHTSHIFT_REDIS_PREFIX: `{demo-${options.memory}}`,
      REDIS_URL: redis.url,
      PROMETHEUS_URL: prometheus.url,
      ALERTMANAGER_URL: alertmanager.url,
      PAGERDUTY_ROUTING_KEY: "0123456789abcdef0123456789abcdef",
      PAGERDUTY_EVENTS_URL: pager.eventsUrl,
      SLACK_BOT_TOKEN: "xoxb-demo",
      SLACK_APP_TOKEN: "xapp-demo",
      SLACK_CHANNEL: "C0SRE",
      SLACK_API_URL: slack.apiUrl,
      ...(options.kill === true ? { DEMO_KILL_FLAG: killFlag } : {}),
      ...(process.env["DEMO_LOG"] ? { DEMO_LOG: "1" } : {}),
    };
    const self = fileURLToPath(import.meta.url);
    const worker = fileURLToPath(new URL(self.endsWith(".ts") ? "./worker.ts" : "./worker.js", import.meta.url));
    const child = fork(worker, [], {
      env,
      stdio: ["ignore", "inherit", "inherit", "ipc"],
      execArgv: self.endsWith(".ts") ? ["--import", "tsx"] : [],
    });
    children.add(child);
    child.once("exit", () => children.delete(child));
    await new Promise<void>((resolve, reject) => {
      child.once("message", (message: { ready: boolean; says?: string }) =>
        message.ready ? resolve() : reject(new Error(message.says)),
      );
      child.once("exit", (code, signal) => reject(new Error(`a process of the demo ended with ${signal ?? code}`)));
    });
    return child;
  }

  return { ground, slack, pager, prometheus, alertmanager, port, startProcess, end };
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = new Promise((done) => child.once("exit", done));
  child.kill("SIGTERM");
  const timer = setTimeout(() => child.kill("SIGKILL"), 5000);
  await gone;
  clearTimeout(timer);
}
