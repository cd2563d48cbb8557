import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Redis } from "ioredis";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Kubernetes, startKubernetes } from "../../sandbox/kubernetes/kubernetes.js";
import { alertmanagerProgram, freePort, until } from "../harness/processes.js";
import { badRelease, errorRate, startWorld, testPolicy, type World } from "../harness/world.js";

const noSentinel = spawnSync("redis-server", ["--version"]).status !== 0 ? "no redis-server on this machine" : null;
const missing = noSentinel ?? (alertmanagerProgram() === null ? "no Alertmanager on this machine" : null);
const NAMESPACE = "failover";

describe.skipIf(missing !== null)(
  `Redis fails over by Sentinel${missing === null ? "" : ` (not run: ${missing})`}`,
  () => {
    let kubernetes: Kubernetes;
    let world: World;
    const servers: ChildProcess[] = [];
    const dir = mkdtempSync(join(tmpdir(), "sentinel-"));
    const sick = new Set(["during"]);
    let masterPort = 0;

    function server(name: string, port: number, lines: string[], sentinel = false): ChildProcess {
      const home = join(dir, name);
      mkdirSync(home, { recursive: true });
      const file = join(home, "redis.conf");
      writeFileSync(file, [`port ${port}`, "bind 127.0.0.1", `dir ${home}`, "protected-mode no", ...lines].join("\n"));
      const child = spawn("redis-server", [file, ...(sentinel ? ["--sentinel"] : [])], { stdio: "ignore" });
      servers.push(child);
      return child;
    }

    beforeAll(async () => {
      const [replicaPort, sentinelPort] = [await freePort(), await freePort()];
      masterPort = await freePort();
      const kept = ["appendonly yes", "maxmemory-policy noeviction"];
      server("master", masterPort, kept);
      server("replica", replicaPort, [...kept, `replicaof 127.0.0.1 ${masterPort}`]);
      const watched = [
        `sentinel monitor nightshift 127.0.0.1 ${masterPort} 1`,
        "sentinel down-after-milliseconds nightshift 1000",
        "sentinel failover-timeout nightshift 3000",
      ];
      server("sentinel", sentinelPort, watched, true);
      const replica = new Redis({ host: "127.0.0.1", port: replicaPort });
      replica.on("error", () => undefined);
      await until("the replica to follow", async () => /master_link_status:up/.test(await replica.info("replication")));
      replica.disconnect();
      const sentinel = new Redis({ host: "127.0.0.1", port: sentinelPort });
      sentinel.on("error", () => undefined);
      await until("the Sentinel to know the replica", async () => {
        const found = (await sentinel.call("SENTINEL", "replicas", "nightshift")) as unknown[];
        return found.length === 1;
      });
      sentinel.disconnect();

      kubernetes = await startKubernetes();
      writeFileSync(join(dir, "kubeconfig"), kubernetes.kubeconfig());
      world = await startWorld({
        kubeconfig: join(dir, "kubeconfig"),
        policy: testPolicy([NAMESPACE], "    autonomy: auto"),
        slackMode: "none",
        env: { REDIS_URL: `sentinel://127.0.0.1:${sentinelPort}/nightshift` },
      });
      errorRate(
        world.prometheus,
        ({ service }) => (sick.has(service) ? 0.4 : 0),
        ["during", "after"].map((service) => ({ namespace: NAMESPACE, service })),
      );
    }, 60_000);

    afterAll(async () => {
      await world?.stop();
      await kubernetes?.stop();
      for (const one of servers) one.kill("SIGKILL");
      rmSync(dir, { recursive: true, force: true });
    }, 60_000);

    const labels = (service: string) => ({
      alertname: "HighErrorRate",
      namespace: NAMESPACE,
      service,
      severity: "critical",
    });
    const effects = (name: string) =>
      kubernetes
        .writes()
        .filter((w) => w.kind === "Deployment" && w.name === name && w.templateChanged && w.op !== null);

    it("with a run under way: it goes on and ends, its effect was made once; what comes later is taken again (H42 I1 I7)", async () => {
      await badRelease(world.k, { namespace: NAMESPACE, name: "during" });
      await badRelease(world.k, { namespace: NAMESPACE, name: "after" });
      await world.fire(labels("during"));
      await world.incident("the effect", (r) => r.target?.name === "during" && (r.run?.looks.length ?? 0) > 0);
      expect(effects("during")).toHaveLength(1);

      servers[0]?.kill("SIGKILL");
      await until("the store to be back at the other one", async () => {
        const answer = await fetch(`http://127.0.0.1:${world.port}/readyz`);
        return answer.status === 200;
      });
      sick.delete("during");
      await world.resolve(labels("during"));
      const ended = await world.incident("the end", (r) => r.target?.name === "during" && r.endedAt !== null);
      expect(["remediated", "held"]).toContain(ended.state);
      expect(effects("during")).toHaveLength(1);

      sick.add("after");
      await world.fire(labels("after"));
      await world.incident("the later one", (r) => r.target?.name === "after" && (r.run?.looks.length ?? 0) > 0);
      expect(effects("after")).toHaveLength(1);
    }, 120_000);
  },
);
