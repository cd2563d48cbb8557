import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { type Kubernetes, startKubernetes } from "../../sandbox/kubernetes/kubernetes.js";
import { program } from "../../sandbox/processes.js";
import { createAuditKeeper } from "../../src/app/audit.js";
import { createKubernetes, type KubernetesClient } from "../../src/clients/kubernetes.js";
import { type Clock, systemClock } from "../../src/clock.js";
import type { OwnObjects } from "../../src/cluster.js";
import { createAuditHeads, HEADS_ANNOTATION } from "../../src/execution/audit-heads.js";
import { createControl } from "../../src/execution/control.js";
import { createLog } from "../../src/log.js";
import { createMetrics } from "../../src/metrics.js";
import { PREFIX, startTrail } from "../harness/trail.js";

const missing = program("redis-server") === null ? "no redis-server on this machine" : null;
const OWN = "nightshift";

describe.skipIf(missing !== null)(
  `the kept heads of the audit${missing === null ? "" : ` (not run: ${missing})`}`,
  () => {
    let world: Awaited<ReturnType<typeof startTrail>>;
    let kubernetes: Kubernetes;
    let k: KubernetesClient;
    const dir = mkdtempSync(join(tmpdir(), "heads-"));
    let offset = 0;
    const clock: Clock = {
      ...systemClock,
      now: () => systemClock.now() + offset,
      monotonic: () => systemClock.monotonic() + offset,
    };

    beforeAll(async () => {
      world = await startTrail();
      kubernetes = await startKubernetes({ namespaces: [OWN] });
      writeFileSync(join(dir, "kubeconfig"), kubernetes.kubeconfig());
      k = await createKubernetes({ kubeconfig: join(dir, "kubeconfig"), clock: systemClock });
    });
    afterAll(async () => {
      await k?.close();
      await kubernetes?.stop();
      await world?.stop();
      rmSync(dir, { recursive: true, force: true });
    });
    beforeEach(async () => {
      await world.redis.flushall();
      kubernetes.remove("ConfigMap", OWN, "nightshift-control");
      await createControl(k, OWN).create();
    });

    function keeper(own: OwnObjects | null = k) {
      const logged: Record<string, unknown>[] = [];
      const log = createLog("info", { write: (line) => void logged.push(JSON.parse(line) as Record<string, unknown>) });
      const metrics = createMetrics({ guards: [], runbooks: [], outcomes: [], reasons: [] });
      const keeps = createAuditKeeper({ redis: world.redis, prefix: PREFIX, own, namespace: OWN, clock, log, metrics });
      const counts = async () =>
        Object.fromEntries((await metrics.auditHeads.get()).values.map((one) => [one.labels.result, one.value]));
      const heads = () => logged.filter((line) => line["msg"] === "head of the audit chain");
      return { ...keeps, logged, heads, counts };
    }
    const kept = () => createAuditHeads(k, OWN).read();
    const more = async (id: string) => world.worker().opens(id);
    const hours = (n: number) => {
      offset += n * 3600_000;
    };

    it("are logged and kept at the start, each hour and at the stop, beside the kill switch as it stands", async () => {
      await createControl(k, OWN).pause({ scope: "namespace:a", by: "ann", why: "drill", until: null });
      const before = kubernetes.get("ConfigMap", OWN, "nightshift-control")?.["data"];
      const hands = keeper();
      await more("inc-1");
      await hands.round();
      await more("inc-2");
      await hands.round();
      hours(1);
      await hands.round();
      hours(1);
      await more("inc-3");
      await hands.stop();

      const head = await world.trail.head();
      expect(hands.heads().map(({ when, seq }) => [when, seq])).toEqual([
        ["start", 1],
        ["hour", 2],
        ["stop", 3],
      ]);
      expect(hands.heads().at(-1)).toMatchObject({ hash: head?.hash });
      expect((await kept()).heads.map(({ seq }) => seq)).toEqual([1, 2, 3]);
      expect((await kept()).heads.at(-1)).toMatchObject({ hash: head?.hash, id: head?.id });
      expect(kubernetes.get("ConfigMap", OWN, "nightshift-control")?.["data"]).toEqual(before);
      expect(await createControl(k, OWN).read()).toMatchObject({
        state: "readable",
        pauses: [{ scope: "namespace:a" }],
      });
      expect(await hands.counts()).toEqual({ kept: 3, failed: 0, lost: 0 });
    });

    it("never overwrite a pause that is written at the same time, and outlive one that is lifted (I6)", async () => {
      const control = createControl(k, OWN);
      let raced = 0;
      const hands = keeper({
        ...k,
        async replace(object) {
          raced += 1;
          if (raced === 1) await control.pause({ scope: "all", by: "ann", why: "now", until: null });
          return k.replace(object);
        },
      });
      await more("inc-race");
      await hands.round();

      expect(raced).toBe(2);
      expect(await control.read()).toMatchObject({ state: "readable", pauses: [{ scope: "all", by: "ann" }] });
      expect((await kept()).heads).toHaveLength(1);
      await control.resume("all");
      expect((await kept()).heads).toHaveLength(1);
    });

    it("never make the control ConfigMap, whose absence means stopped; they are tried again each round", async () => {
      kubernetes.remove("ConfigMap", OWN, "nightshift-control");
      const hands = keeper();
      await more("inc-absent");
      await hands.round();
      expect(kubernetes.get("ConfigMap", OWN, "nightshift-control")).toBeUndefined();
      expect(await hands.counts()).toMatchObject({ kept: 0, failed: 1 });

      await createControl(k, OWN).create();
      await hands.round();
      expect(await hands.counts()).toMatchObject({ kept: 1, failed: 1 });
      expect(hands.heads()).toHaveLength(1);
    });

    it("are left as they are where they cannot be read: somebody changed them", async () => {
      const configMap = kubernetes.get("ConfigMap", OWN, "nightshift-control");
      if (configMap === undefined) throw new Error("no ConfigMap");
      kubernetes.seed({
        ...configMap,
        metadata: { ...configMap.metadata, annotations: { [HEADS_ANNOTATION]: "{}" } },
      });
      const hands = keeper();
      await more("inc-unreadable");
      await hands.round();

      expect(kubernetes.get("ConfigMap", OWN, "nightshift-control")?.metadata.annotations?.[HEADS_ANNOTATION]).toBe(
        "{}",
      );
      expect(await hands.counts()).toMatchObject({ kept: 0, failed: 1 });
      await expect(kept()).rejects.toThrow(/somebody changed it/);
    });

    it("are only logged by the front", async () => {
      const front = keeper(null);
      await more("inc-front");
      await front.round();

      expect(front.heads()).toHaveLength(1);
      expect((await kept()).heads).toEqual([]);
    });

    it("notice that Redis was lost, say it once, and keep it written down (H42)", async () => {
      const hands = keeper();
      await more("inc-old");
      await hands.round();
      hours(1);
      await world.snapshot();
      await more("inc-forgotten");
      await hands.round();
      hours(1);
      await world.restore();
      await more("inc-new-1");
      await more("inc-new-2");
      hours(1);
      await hands.round();
      await hands.stop();

      const { heads, lost } = await kept();
      expect(await hands.counts()).toMatchObject({ failed: 0, lost: 1 });
      expect(heads.map(({ seq }) => seq)).toEqual([1, 3]);
      expect(lost).toMatchObject([{ seq: 2, sound: { seq: 1 } }]);
      expect(hands.logged.filter((line) => line["level"] === "error")).toMatchObject([
        {
          says: expect.stringMatching(/\(entry 2\) is not in the chain: history from entry 2 .* was lost or replaced/),
        },
      ]);

      await world.redis.flushall();
      await hands.stop();
      expect((await kept()).lost).toMatchObject([{ seq: 2 }, { seq: 3, sound: null }]);
      expect((await kept()).heads).toEqual([]);
    });

    it("of several replicas do not take each other's newer head for a lost one", async () => {
      const replicas = [keeper(), keeper(), keeper()];
      for (let n = 0; n < 5; n += 1) {
        await Promise.all([...replicas.map((one) => one.stop()), more(`inc-replica-${n}`)]);
      }

      for (const one of replicas) expect(await one.counts()).toMatchObject({ failed: 0, lost: 0 });
      expect((await world.verify((await kept()).heads)).intact).toBe(true);
    });
  },
);
