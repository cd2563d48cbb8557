import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Kubernetes, startKubernetes } from "../../sandbox/kubernetes/kubernetes.js";
import { systemClock } from "../../src/clock.js";
import { alertmanagerProgram } from "../harness/processes.js";
import { badRelease, errorRate, startWorld, testPolicy, type World } from "../harness/world.js";

const missing = alertmanagerProgram() === null ? "no Alertmanager on this machine" : null;
const of = { namespace: "pauses", name: "cart" };

describe.skipIf(missing !== null)(
  `a worker that stood still${missing === null ? "" : ` (not run: ${missing})`}`,
  () => {
    let kubernetes: Kubernetes;
    let world: World;
    const dir = mkdtempSync(join(tmpdir(), "old-look-"));
    const passed: string[] = [];
    /** Added to the monotonic clock of the worker. */
    let stoodStill = 0;
    const good = () =>
      String(kubernetes.get("Deployment", of.namespace, of.name)?.spec.template.spec.containers[0].image).endsWith(
        ":good",
      );

    beforeAll(async () => {
      kubernetes = await startKubernetes();
      writeFileSync(join(dir, "kubeconfig"), kubernetes.kubeconfig());
      world = await startWorld({
        kubeconfig: join(dir, "kubeconfig"),
        policy: testPolicy([of.namespace], "    autonomy: auto"),
        slackMode: "none",
        app: {
          clock: { ...systemClock, monotonic: () => systemClock.monotonic() + stoodStill },
          async at(bracket) {
            passed.push(bracket);
            if (bracket === "effect" && stoodStill === 0) stoodStill = 11_000;
          },
        },
      });
      errorRate(world.prometheus, () => (good() ? 0 : 0.4), [{ namespace: of.namespace, service: of.name }]);
    }, 60_000);

    afterAll(async () => {
      await world?.stop();
      await kubernetes?.stop();
      rmSync(dir, { recursive: true, force: true });
    }, 60_000);

    it("between its look and its write looks again before it writes (I2)", async () => {
      const labels = { alertname: "HighErrorRate", namespace: of.namespace, service: of.name, severity: "critical" };
      await badRelease(world.k, of);
      await world.fire(labels);
      await world.until("the effect", async () => passed.includes("done"));
      await world.resolve(labels);
      await world.incident("the end", (r) => r.target?.name === of.name && r.state === "remediated");

      expect(passed.filter((one) => ["check", "intent", "effect", "answer"].includes(one))).toEqual([
        "check",
        "intent",
        "effect",
        "check",
        "intent",
        "effect",
        "answer",
      ]);
      const effects = kubernetes.writes().filter((w) => w.kind === "Deployment" && w.op !== null && w.templateChanged);
      expect(effects).toHaveLength(1);
    }, 90_000);
  },
);
