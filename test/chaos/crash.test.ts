import { type ChildProcess, fork } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Kubernetes, startKubernetes } from "../../sandbox/kubernetes/kubernetes.js";
import type { Bracket } from "../../src/execution/ports.js";
import { alertmanagerProgram } from "../harness/processes.js";
import { badRelease, errorRate, startWorld, testPolicy, type World } from "../harness/world.js";

/**
 * Real processes, real Redis, real SIGKILL at each bracket of the protocol: whoever takes over finds the effect done or
 * does it, never twice. The API server is the sandbox's, whose write log counts.
 */
const missing = alertmanagerProgram() === null ? "no Alertmanager on this machine" : null;
const NAMESPACE = "crashes";
const HANDS = fileURLToPath(new URL("../harness/hands.ts", import.meta.url));

const deaths: { at: Bracket[]; why: string }[] = [
  { at: ["take"], why: "before it holds the Lease" },
  { at: ["check"], why: "under the Lease, before anything was begun" },
  { at: ["intent"], why: "before the intent" },
  { at: ["effect"], why: "after the intent, before the write" },
  { at: ["answer"], why: "after the write, before its answer was noted" },
  { at: ["done"], why: "after the ledger has it" },
  { at: ["end"], why: "before the run's end is written" },
  { at: ["copy"], why: "after the Lease says ended, before the record does" },
  { at: ["effect", "fence"], why: "and the next one before its fence" },
  { at: ["answer", "look"], why: "and the next one before it looks" },
  { at: ["answer", "settle"], why: "and the next one before it writes what it saw" },
];

describe.skipIf(missing !== null)(
  `a worker killed in the middle${missing === null ? "" : ` (not run: ${missing})`}`,
  () => {
    let kubernetes: Kubernetes;
    let world: World;
    const dir = mkdtempSync(join(tmpdir(), "crash-"));
    const workers = new Set<ChildProcess>();
    let stopping = false;
    let crash = { at: "", flags: dir };
    let watching: NodeJS.Timeout;

    const names = deaths.map((death) => `die-${death.at.join("-")}`);
    const good = (name: string) =>
      String(kubernetes.get("Deployment", NAMESPACE, name)?.spec.template.spec.containers[0].image).endsWith(":good");

    beforeAll(async () => {
      kubernetes = await startKubernetes();
      const account = "system:serviceaccount:nightshift:nightshift-hands";
      kubernetes.addIdentity({
        token: "hands",
        user: account,
        rules: [{ verbs: ["*"], groups: ["*"], resources: ["*"] }],
      });
      const kubeconfig = join(dir, "kubeconfig");
      writeFileSync(kubeconfig, kubernetes.kubeconfig());
      world = await startWorld({
        kubeconfig,
        policy: testPolicy([NAMESPACE], "    autonomy: auto"),
        slackMode: "none",
        env: { NIGHTSHIFT_ROLE: "front" },
      });
      errorRate(
        world.prometheus,
        ({ service }) => (kubernetes.get("Deployment", NAMESPACE, service) && !good(service) ? 0.4 : 0),
        names.map((service) => ({ namespace: NAMESPACE, service })),
      );
      // What Prometheus and Alertmanager would do once the errors are gone.
      watching = setInterval(() => {
        for (const name of fired) if (good(name)) void world.resolve(labels(name)).catch(() => undefined);
      }, 500);
    }, 60_000);

    afterAll(async () => {
      stopping = true;
      clearInterval(watching);
      await Promise.all([...workers].map(end));
      await world?.stop();
      await kubernetes?.stop();
      rmSync(dir, { recursive: true, force: true });
    }, 60_000);

    const fired = new Set<string>();
    const labels = (service: string) => ({
      alertname: "HighErrorRate",
      namespace: NAMESPACE,
      service,
      severity: "critical",
    });

    async function end(worker: ChildProcess): Promise<void> {
      if (worker.exitCode !== null || worker.signalCode !== null) return;
      const gone = new Promise((done) => worker.once("exit", done));
      worker.kill("SIGKILL");
      await gone;
    }

    /** Two workers; whoever dies is replaced, as a ReplicaSet would. */
    async function spawn(): Promise<void> {
      const env = {
        ...process.env,
        ...world.env,
        NIGHTSHIFT_ROLE: "hands",
        NIGHTSHIFT_PORT: "0",
        CRASH_AT: crash.at,
        CRASH_FLAGS: crash.flags,
      };
      const worker = fork(HANDS, [], {
        execArgv: ["--import", "tsx"],
        env,
        stdio: ["ignore", "inherit", "inherit", "ipc"],
      });
      workers.add(worker);
      const ready = new Promise<void>((done) => worker.once("message", () => done()));
      worker.once("exit", () => {
        workers.delete(worker);
        if (!stopping) void spawn();
      });
      await ready;
    }

    async function fresh(at: string): Promise<void> {
      stopping = true;
      await Promise.all([...workers].map(end));
      stopping = false;
      crash = { at, flags: mkdtempSync(join(dir, "flags-")) };
      mkdirSync(crash.flags, { recursive: true });
      await Promise.all([spawn(), spawn()]);
    }

    it.each(deaths)(
      "at $at, $why: finished, once (H41 I1)",
      async ({ at }) => {
        const name = `die-${at.join("-")}`;
        await badRelease(world.k, { namespace: NAMESPACE, name });
        await fresh(at.join(","));

        fired.add(name);
        await world.fire(labels(name));
        const record = await world.incident(
          `the end of ${name}`,
          (r) => r.target?.name === name && ["remediated", "held", "suppressed"].includes(r.state),
          90_000,
        );

        expect(record, JSON.stringify(record.timeline)).toMatchObject({ state: "remediated" });
        expect(readdirSync(crash.flags)).toHaveLength(at.length);
        const effects = kubernetes
          .writes()
          .filter(
            (write) => write.kind === "Deployment" && write.name === name && write.op !== null && write.templateChanged,
          );
        expect(effects).toHaveLength(1);
        const lease = kubernetes
          .list("Lease", "nightshift")
          .find((l) => String(l.metadata.annotations?.["nightshift.dev/target"]).includes(`"${name}"`));
        const ledger = JSON.parse(lease?.metadata.annotations["nightshift.dev/ledger"]) as {
          run: unknown;
          open: unknown;
          ops: unknown[];
          ends: unknown[];
        };
        expect(ledger).toMatchObject({ run: null, open: null });
        expect(ledger.ops).toHaveLength(1);
        expect(ledger.ends).toHaveLength(1);
      },
      120_000,
    );
  },
);
