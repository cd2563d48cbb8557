/** What every cell stands on: real Redis as the product wants it, an API server, stand-ins, a policy, the environment. */
import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startEmbeddedRedis } from "../src/store/embedded.js";
import { startPlane } from "../test/cluster/plane.js";
import type { ApiServerReady } from "./api-server.js";
import { start } from "./child.js";
import { startStandIns } from "./stand-ins.js";

export const TOKEN = "bench-token";
export const ALERT = "Stuck";
/** As `ALERT`, for incidents that are not measured and that are over soon. */
export const WARM_ALERT = "Warm";

export interface World {
  dir: string;
  /** Redis' socket: AOF everysec, noeviction. */
  socket: string;
  kubeconfig: string;
  stand: Awaited<ReturnType<typeof startStandIns>>;
  env: Record<string, string>;
  stop(): Promise<void>;
}

export interface WorldOptions {
  policy: string;
  /** A real control plane instead of the sandbox's API server. */
  cluster?: boolean;
}

export async function startWorld(options: WorldOptions): Promise<World> {
  const cleanup: (() => Promise<unknown> | unknown)[] = [];
  const stop = async () => {
    for (const close of cleanup.splice(0).reverse()) await Promise.resolve(close()).catch(() => undefined);
  };
  try {
    const dir = mkdtempSync(join(tmpdir(), "nightshift-bench-"));
    cleanup.push(() => rmSync(dir, { recursive: true, force: true }));
    const redis = await startEmbeddedRedis(dir);
    cleanup.push(() => redis.stop());
    const kubeconfig = join(dir, "kubeconfig");
    if (options.cluster) {
      const plane = await startPlane();
      cleanup.push(() => plane.stop());
      copyFileSync(plane.kubeconfig, kubeconfig);
    } else {
      const api = await start<ApiServerReady>("api-server.ts", {});
      cleanup.push(() => api.stop());
      writeFileSync(kubeconfig, api.ready.kubeconfig, { mode: 0o600 });
    }
    const stand = await startStandIns([ALERT, WARM_ALERT]);
    cleanup.push(() => stand.stop());
    const policy = join(dir, "policy.yaml");
    writeFileSync(policy, options.policy);
    const env = {
      NIGHTSHIFT_POLICY: policy,
      NIGHTSHIFT_SECRET: "the secret of this benchmark, and of nothing else",
      NIGHTSHIFT_WEBHOOK_TOKEN: TOKEN,
      NIGHTSHIFT_NAMESPACE: "nightshift",
      NIGHTSHIFT_DATA: dir,
      NIGHTSHIFT_LOG_LEVEL: process.env["BENCH_LOG"] ? "info" : "warn",
      REDIS_URL: redis.url,
      KUBECONFIG: kubeconfig,
      ...stand.env,
    };
    return { dir, socket: redis.url.slice("unix://".length), kubeconfig, stand, env, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** Rounds of more targets would meet limits that no policy can lift: at most 100 actions may be under way. */
export const MOST_TARGETS = 90;

/** Every guard runs, its limits as far out of the way as a policy may set them. */
export function policyOf(namespaces: readonly string[], rules: string): string {
  return `apiVersion: nightshift.dev/v1
clusters: [{ name: bench, namespaces: [${namespaces.join(", ")}] }]
guards:
  change: { deployAge: 0s, humanWrite: 0s }
  budget: { target: 100/100ms, targetDay: 100/100ms, namespace: 100/100ms, cluster: 100/100ms, atOnce: 100 }
  storm: { workloads: 100, within: 10s }
verify: { samples: 4, every: 30s, bake: 10m }
rules:
${rules}
`;
}
