import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { runbook } from "../../runbooks/scale-deployment.js";
import { isSkip, type PlanDraft } from "../../src/runbook.js";
import { ago, MINUTE, NOW, NS } from "./scene.js";
import {
  type Asking,
  carryOut,
  change,
  crashingStatus,
  drafted,
  hpa,
  lookAt,
  NAME,
  node,
  object,
  owning,
  planOf,
  podOf,
  refused,
  type Shop,
  stall,
} from "./shop.js";

const workload = { kind: "Deployment", name: NAME };
const HPA = { kind: "HorizontalPodAutoscaler", name: "auto" };
const byHpa: Asking = { owners: [owning("hpa", "auto")] };
const BUSY: [string, number] = ["container_cpu_usage_seconds_total", 0.93];

const keda = (minReplicaCount: number, maxReplicaCount: number) =>
  object("keda.sh/v1alpha1", "ScaledObject", {
    name: "queue",
    spec: { scaleTargetRef: { name: NAME }, minReplicaCount, maxReplicaCount },
  });

async function specOf(shop: Shop, ref: { kind: string; name: string }): Promise<Record<string, unknown>> {
  return shop.cluster.world().find((one) => one.kind === ref.kind && one.metadata.name === ref.name)?.spec;
}

describe("scale-deployment: the plan", () => {
  it("adds a quarter, at least one, by spec.replicas where nobody else sets them", async () => {
    const shop = stall();
    const plan = await drafted(runbook, shop, { measured: [BUSY] });

    expect(plan).toMatchObject({
      sentence: `Scale Deployment ${NS}/${NAME} from 4 to 5`,
      undo: "back to 4",
      changes: [{ field: "/spec/replicas", from: "4", to: "5", object: { uid: "w1" } }],
    });
    expect(plan.evidence[0]).toBe("CPU at 93 % of what its pods request");
    await carryOut(runbook, shop, { plan });
    expect(await specOf(shop, workload)).toMatchObject({ replicas: 5 });
  });

  it("raises the autoscaler's ceiling where it has reached it, and never touches spec.replicas (H14)", async () => {
    const shop = stall({ replicas: 6, more: [hpa(3, 6)] });
    const plan = await drafted(runbook, shop, byHpa);

    expect(plan.sentence).toBe(
      `Scale Deployment ${NS}/${NAME} from 6 to 8 by maxReplicas of HorizontalPodAutoscaler auto, now 6`,
    );
    await carryOut(runbook, shop, { plan });
    expect(await specOf(shop, HPA)).toMatchObject({ minReplicas: 3, maxReplicas: 8 });
    expect(await specOf(shop, workload)).toMatchObject({ replicas: 6 });
    expect(shop.cluster.writes().map((write) => write.ref.kind)).toEqual(["HorizontalPodAutoscaler"]);
  });

  it("raises the autoscaler's floor where it has room, never above its ceiling (H14)", async () => {
    const shop = stall({ replicas: 5, more: [hpa(3, 6)] });
    const plan = await drafted(runbook, shop, { ...byHpa, params: { add: 10 } });

    await carryOut(runbook, shop, { plan });
    expect(await specOf(shop, HPA)).toMatchObject({ minReplicas: 6, maxReplicas: 6 });
  });

  it("counts the pods that a floor adds from those that run, not from the floor (H14 H15)", async () => {
    const pooled = { "nightshift.dev/database-connections": "5" };
    const shop = stall({ replicas: 8, more: [hpa(2, 20)], annotations: pooled });
    const measured: Asking["measured"] = [BUSY, ["max_connections", 100], ["stat_activity", 80]];
    const plan = await drafted(runbook, shop, { ...byHpa, measured });

    expect(plan).toMatchObject({
      sentence: `Scale Deployment ${NS}/${NAME} from 8 to 10 by minReplicas of HorizontalPodAutoscaler auto, now 2`,
      undo: "minReplicas back to 2",
    });
    expect(plan.evidence).toContain("room for 2 more pods: quota and nodes checked, nobody is pushed out");
    expect(plan.evidence).toContain("PostgreSQL bears it: 80 of 100 connections open, at most 90 then");
  });

  it("adds to what an autoscaler is on its way to, where its floor was raised a moment ago (H14)", async () => {
    const plan = await drafted(runbook, stall({ replicas: 3, more: [hpa(5, 20)] }), byHpa);
    expect(plan.changes).toMatchObject([{ field: "/spec/minReplicas", from: "5", to: "7" }]);
  });

  it("raises no floor to below what runs: that adds nothing (H13)", async () => {
    const shop = stall({ replicas: 12, cores: 500, more: [hpa(2, 40)] });
    expect(await refused(runbook, shop, { ...byHpa, params: { max: 12 } })).toMatchObject({
      skip: "no-capacity",
      sentence: expect.stringMatching(/minReplicas is 2, 12 pods run, and the rule's ceiling is 12/),
    });
  });

  it("goes through KEDA's bounds, not through the autoscaler that KEDA made (H14)", async () => {
    const shop = stall({ more: [keda(0, 4), hpa(1, 4, "keda-hpa-queue")] });
    const plan = await drafted(runbook, shop, { owners: [owning("hpa", "keda-hpa-queue"), owning("keda", "queue")] });

    await carryOut(runbook, shop, { plan });
    expect(await specOf(shop, { kind: "ScaledObject", name: "queue" })).toMatchObject({ maxReplicaCount: 5 });
    expect(await specOf(shop, { kind: "HorizontalPodAutoscaler", name: "keda-hpa-queue" })).toMatchObject({
      maxReplicas: 4,
    });
  });

  it("never takes away, never more than half as many again or ten, never above the ceiling (H11 H13 I4)", async () => {
    const params = fc.record(
      {
        percent: fc.integer({ min: 1, max: 50 }),
        add: fc.integer({ min: 1, max: 10 }),
        max: fc.integer({ min: 2, max: 60 }),
      },
      { requiredKeys: [] },
    );
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 1, max: 40 }), params, async (replicas, given) => {
        const answer = await planOf(runbook, stall({ replicas, cores: 500 }), { params: given });
        if (isSkip(answer)) {
          expect(answer.skip).toBe("no-capacity");
          return;
        }
        const { from, to } = (answer.facts as { lever: { from: number; to: number } }).lever;
        expect(from).toBe(replicas);
        expect(to).toBeGreaterThan(from);
        expect(to - from).toBeLessThanOrEqual(Math.min(10, Math.max(1, Math.floor(replicas / 2))));
        expect(to).toBeLessThanOrEqual(given.max ?? 50);
      }),
      { numRuns: 300 },
    );
  });

  it("takes no number from a label (H13)", async () => {
    for (const replicas of ["0", "-1", "1e9", "", "٣"]) {
      const plan = await drafted(runbook, stall(), { labels: [{ alertname: "Slow", replicas }] });
      expect(plan.sentence).toContain("from 4 to 5");
    }
  });

  it("says yes on an ordinary day: room on the nodes, connections to spare", async () => {
    const shop = stall({ annotations: { "nightshift.dev/database-connections": "5" } });
    const measured: Asking["measured"] = [BUSY, ["max_connections", 100], ["stat_activity", 40]];

    expect((await drafted(runbook, shop, { measured })).evidence).toContain(
      "PostgreSQL bears it: 40 of 100 connections open, at most 45 then",
    );
  });
});

const database: Asking["measured"] = [
  ["max_connections", 100],
  ["stat_activity", 90],
];
const pooled = { annotations: { "nightshift.dev/database-connections": "20" } };

const refusals: { why: string; shop: Shop | (() => Shop); asking?: Asking; skip: string; says: RegExp }[] = [
  {
    why: "twelve pods of twenty connections pass PostgreSQL's hundred (H12)",
    shop: () => stall({ replicas: 8, ...pooled }),
    asking: { params: { percent: 50 }, measured: database },
    skip: "no-capacity",
    says: /12 pods of 20 connections make 240, and 90 are open now: PostgreSQL takes 100/,
  },
  {
    why: "PostgreSQL's connections are not known (H12 H16)",
    shop: () => stall(pooled),
    asking: {
      measured: [
        ["max_connections", 100],
        ["stat_activity", Number.NaN],
      ],
    },
    skip: "no-data",
    says: /expected fresh pg_settings_max_connections and pg_stat_activity_count/,
  },
  {
    why: "PostgreSQL's connections were measured ten minutes ago (H16)",
    shop: () => stall(pooled),
    asking: {
      measured: [
        ["max_connections", 1000, 10 * MINUTE],
        ["stat_activity", 4],
      ],
    },
    skip: "no-data",
    says: /found none/,
  },
  {
    why: "Prometheus cannot be asked (H16)",
    shop: () => stall(pooled),
    asking: { measured: null },
    skip: "no-data",
    says: /found none/,
  },
  {
    why: "the annotation is no number (H13)",
    shop: () => stall({ annotations: { "nightshift.dev/database-connections": "many" } }),
    skip: "no-data",
    says: /must be a whole number, found "many"/,
  },
  {
    why: "it was scaled to zero by somebody (H13)",
    shop: () => stall({ replicas: 0 }),
    skip: "nothing-to-do",
    says: /scaled to 0/,
  },
  {
    why: "the nodes are full, so that others would be pushed out (H15)",
    shop: () => stall({ cores: 1 }),
    skip: "no-capacity",
    says: /2 of 2 nodes take such pods and have room for 0 of them: expected room for 2/,
  },
  {
    why: "the only free node is cordoned, not ready or tainted (H15)",
    shop: () =>
      stall({
        cores: 1,
        more: [
          node("cordoned", 64, { spec: { unschedulable: true } }),
          node("down", 64, { ready: false }),
          node("tainted", 64, { spec: { taints: [{ key: "gpu", effect: "NoSchedule" }] } }),
        ],
      }),
    skip: "no-capacity",
    says: /2 of 5 nodes/,
  },
  {
    why: "the quota leaves less than it needs (H12)",
    shop: () =>
      stall({
        more: [
          object("v1", "ResourceQuota", {
            name: "team",
            status: { hard: { "requests.cpu": "2200m" }, used: { "requests.cpu": "2" } },
          }),
        ],
      }),
    skip: "no-capacity",
    says: /ResourceQuota mcp-production\/team: 1 more pods need 0\.5 of requests\.cpu, 0\.2 of 2200m are left/,
  },
  {
    why: "nodes may not be read (H16)",
    shop: () => {
      const shop = stall();
      shop.cluster.forbid("Node");
      return shop;
    },
    skip: "no-data",
    says: /whether there is room cannot be told/,
  },
  {
    why: "its CPU is idle while it is slow: it waits for something else (H11)",
    shop: () => stall(),
    asking: { measured: [["container_cpu_usage_seconds_total", 0.12]] },
    skip: "not-saturated",
    says: /CPU is at 12 %/,
  },
  {
    why: "its pods crash (H20)",
    shop: () => stall({ more: [podOf(9, { ready: false, status: crashingStatus })] }),
    skip: "crash-loop",
    says: /exit code 1/,
  },
  {
    why: "a pod of it already waits for a node (H15)",
    shop: () => {
      const waiting = podOf(9, { ready: false, status: { phase: "Pending", containerStatuses: [] } });
      waiting.spec = { containers: [] };
      return stall({ more: [waiting] });
    },
    skip: "no-capacity",
    says: /already waits for a node/,
  },
  {
    why: "it is at the rule's ceiling",
    shop: () => stall({ replicas: 6 }),
    asking: { params: { max: 6 } },
    skip: "no-capacity",
    says: /the rule's ceiling is 6/,
  },
  {
    why: "two autoscalers fight over it (H14)",
    shop: () => stall({ more: [hpa(1, 4), hpa(2, 8, "other")] }),
    asking: { owners: [owning("hpa", "auto"), owning("hpa", "other")] },
    skip: "owned-elsewhere",
    says: /2 HorizontalPodAutoscalers \(auto, other\)/,
  },
  {
    why: "KEDA is paused by a person (H14)",
    shop: () => {
      const scaled = object("keda.sh/v1alpha1", "ScaledObject", { name: "queue", spec: { maxReplicaCount: 4 } });
      Object.assign(scaled.metadata ?? {}, { annotations: { "autoscaling.keda.sh/paused-replicas": "4" } });
      return stall({ more: [scaled] });
    },
    asking: { owners: [owning("keda", "queue")] },
    skip: "owned-elsewhere",
    says: /paused by a person/,
  },
  {
    why: "Git says how many there are (H14 H27)",
    shop: () => stall(),
    asking: { owners: [owning("argo-cd", "shop")] },
    skip: "owned-by-gitops",
    says: /would be undone/,
  },
  {
    why: "its rollout is paused (H28)",
    shop: () => stall({ spec: { paused: true } }),
    skip: "rollout-paused",
    says: /paused by a person/,
  },
];

describe("scale-deployment: the refusals", () => {
  it.each(refusals)("refuses when $why", async ({ shop, asking, skip, says }) => {
    const answer = await refused(runbook, typeof shop === "function" ? shop() : shop, asking);

    expect(answer.sentence).toMatch(says);
    expect(answer.skip).toBe(skip);
  });

  it("hands Git the number to commit (H14)", async () => {
    const answer = await refused(runbook, stall(), { owners: [owning("flux", "shop")] });

    expect(answer.handOff).toMatch(/set spec\.replicas to 5[\s\S]*Commit that change in Git/);
  });

  it("tolerated taints and selected nodes count (H15)", async () => {
    const podSpec = { nodeSelector: { zone: "a" }, tolerations: [{ key: "gpu", operator: "Exists" }] };
    const tainted = node("tainted", 64, { spec: { taints: [{ key: "gpu", effect: "NoSchedule" }] } });

    expect((await drafted(runbook, stall({ cores: 1, podSpec, more: [tainted] }))).sentence).toContain("from 4 to 5");
    const elsewhere = { nodeSelector: { zone: "b" } };
    expect((await refused(runbook, stall({ podSpec: elsewhere }))).sentence).toContain("0 of 2 nodes");
  });
});

describe("scale-deployment: the write, the proof and the way back", () => {
  const planned = async (shop: Shop, asking?: Asking): Promise<PlanDraft> => {
    const plan = await drafted(runbook, shop, asking);
    await carryOut(runbook, shop, { plan });
    return plan;
  };
  const grow = async (shop: Shop, to: number) => {
    shop.cluster.seed(podOf(to - 1));
    await change(shop, workload, (d) => {
      d.status = { ...d.status, replicas: to, updatedReplicas: to, availableReplicas: to };
    });
  };
  const service = (pods: number) => [
    object("v1", "Service", { name: "server", spec: { selector: { app: NAME } } }),
    {
      ...object("discovery.k8s.io/v1", "EndpointSlice", { name: "server-1" }),
      metadata: {
        name: "server-1",
        namespace: NS,
        uid: "es",
        labels: { "kubernetes.io/service-name": "server" },
      } as never,
      endpoints: Array.from({ length: pods }, (_, i) => ({
        conditions: { ready: true },
        targetRef: { uid: `pod-${i}` },
      })),
    },
  ];

  it("stops where somebody scaled it meanwhile, and does nothing twice (H14 H44 I1)", async () => {
    const shop = stall();
    const plan = await drafted(runbook, shop);
    await change(shop, workload, (d) => {
      d.spec.replicas = 7;
    });

    await expect(carryOut(runbook, shop, { plan })).rejects.toThrow("expected replicas 4, found 7");
    expect(shop.cluster.writes()).toEqual([]);

    const other = stall();
    const done = await planned(other);
    await expect(carryOut(runbook, other, { plan: done })).rejects.toThrow("expected replicas 4, found 5");
  });

  it("stops where the autoscaler scales something else by now (H44)", async () => {
    const shop = stall({ replicas: 6, more: [hpa(3, 6)] });
    const plan = await drafted(runbook, shop, byHpa);
    await change(shop, HPA, (h) => {
      h.spec.scaleTargetRef.name = "other";
    });

    await expect(carryOut(runbook, shop, { plan })).rejects.toThrow(/scales other by now/);
  });

  it("is proved once new pods are ready and receive traffic (H12 H29)", async () => {
    const shop = stall({ more: service(4) });
    const plan = await planned(shop);
    expect((await lookAt(runbook, shop, { plan })).world).toBe("waiting");

    await grow(shop, 5);
    const unserved = await lookAt(runbook, shop, { plan });
    expect(unserved).toMatchObject({ world: "waiting" });
    expect(unserved.says).toContain("Service server sends traffic to 4 of 5 ready pods");

    for (const one of service(5)) shop.cluster.seed(one);
    expect(await lookAt(runbook, shop, { plan })).toMatchObject({ world: "good", symptom: "gone" });
  });

  it.each([
    ["a floor", stall({ replicas: 4, more: [hpa(2, 9)] }), byHpa, 5],
    ["a ceiling", stall({ replicas: 4, more: [hpa(2, 4)] }), byHpa, 5],
    ["KEDA's ceiling", stall({ more: [keda(1, 4)] }), { owners: [owning("keda", "queue")] }, 5],
    ["KEDA's floor", stall({ more: [keda(1, 9)] }), { owners: [owning("keda", "queue")] }, 5],
  ] as [string, Shop, Asking, number][])(
    "waits until the autoscaler has acted on %s (H12 H29)",
    async (_, shop, asking, to) => {
      const plan = await planned(shop, asking);
      const before = await lookAt(runbook, shop, { plan });
      expect(before).toMatchObject({ world: "waiting" });
      expect(before.says).toContain("its autoscaler has not yet added any");

      await change(shop, workload, (d) => {
        d.spec.replicas = to;
      });
      await grow(shop, to);
      expect(await lookAt(runbook, shop, { plan })).toMatchObject({ world: "good", symptom: "gone" });
    },
  );

  it("is not proved while it is as busy as before, whatever the alert says (H29)", async () => {
    const shop = stall();
    const plan = await planned(shop, { measured: [BUSY] });
    await grow(shop, 5);

    expect((await lookAt(runbook, shop, { plan, asking: { measured: [BUSY] } })).symptom).toBe("present");
    const relieved: Asking = { measured: [["container_cpu_usage_seconds_total", 0.7]] };
    expect(await lookAt(runbook, shop, { plan, asking: relieved })).toMatchObject({ world: "good", symptom: "gone" });
    const dead: Asking = { measured: null };
    expect((await lookAt(runbook, shop, { plan, symptom: "unknown", asking: dead })).symptom).toBe("unknown");
  });

  it("fails when a new pod finds no node for a minute (H15)", async () => {
    const shop = stall();
    const plan = await planned(shop);
    const waiting = podOf(4, { ready: false, status: { phase: "Pending", containerStatuses: [] } });
    waiting.spec = { containers: [] };
    waiting.metadata = { ...waiting.metadata, creationTimestamp: ago(0) } as never;
    shop.cluster.seed(waiting);

    expect((await lookAt(runbook, shop, { plan, now: NOW + 59_000 })).world).toBe("waiting");
    expect(await lookAt(runbook, shop, { plan, now: NOW + 61_000 })).toMatchObject({ world: "bad" });
  });

  it("says who put it back, and writes no second time (H14)", async () => {
    const shop = stall();
    const plan = await planned(shop);
    await change(shop, workload, (d) => {
      d.spec.replicas = 4;
    });

    const look = await lookAt(runbook, shop, { plan });
    expect(look).toMatchObject({ world: "bad" });
    expect(look.says).toContain("expected replicas 5, found 4: somebody or something put it back");
    expect(shop.cluster.writes()).toHaveLength(1);
  });

  it("goes back to exactly what was there, unless somebody has set another value since (H14)", async () => {
    const shop = stall({ replicas: 6, more: [hpa(3, 6)] });
    const plan = await planned(shop, byHpa);
    await carryOut(runbook, shop, { plan, way: "undo" });
    expect(await specOf(shop, HPA)).toMatchObject({ maxReplicas: 6 });

    const other = stall();
    const done = await planned(other);
    await change(other, workload, (d) => {
      d.spec.replicas = 9;
    });
    await expect(carryOut(runbook, other, { plan: done, way: "undo" })).rejects.toThrow("expected replicas 5, found 9");
  });
});
