import { describe, expect, it } from "vitest";
import { runbook } from "../../runbooks/restart-workload.js";
import { isSkip, type PlanDraft } from "../../src/runbook.js";
import { NOW, NS } from "./scene.js";
import {
  type Asking,
  carryOut,
  change,
  crashingStatus,
  drafted,
  lookAt,
  NAME,
  object,
  owning,
  planOf,
  podOf,
  refused,
  type Shop,
  type ShopSeed,
  stall,
} from "./shop.js";

const RESTARTED = "kubectl.kubernetes.io/restartedAt";
const kinds = ["Deployment", "StatefulSet", "DaemonSet"] as const;

async function templateOf(shop: Shop) {
  return (await shop.cluster.get(shop.target))?.spec.template;
}

/** What the controller reports once it has carried out a rollout. */
async function settle(shop: Shop, more: Record<string, unknown> = {}): Promise<void> {
  await change(shop, { kind: shop.target.kind, name: NAME }, (w) => {
    Object.assign(w.metadata, { generation: 4 });
    w.status = { ...w.status, observedGeneration: 4, ...more };
  });
}

describe("restart-workload: the plan", () => {
  it.each(kinds)("restarts a %s as kubectl rollout restart does, and changes nothing else", async (kind) => {
    const shop = stall({ kind });
    const before = await templateOf(shop);
    const plan = await drafted(runbook, shop);

    expect(plan).toMatchObject({ sentence: `Restart ${kind} ${NS}/${NAME}, 4 pods`, undo: "not possible" });
    await carryOut(runbook, shop, { plan });
    expect(await templateOf(shop)).toEqual({
      ...before,
      metadata: { ...before.metadata, annotations: { [RESTARTED]: new Date(NOW).toISOString() } },
    });
    expect(shop.cluster.writes()).toHaveLength(1);
  });

  it("keeps the annotations that the template has", async () => {
    const shop = stall({ templateAnnotations: { team: "shop", [RESTARTED]: "2026-01-01T00:00:00Z" } });
    const plan = await drafted(runbook, shop);

    expect(plan.changes[0]).toMatchObject({ from: "2026-01-01T00:00:00Z" });
    await carryOut(runbook, shop, { plan });
    expect((await templateOf(shop)).metadata.annotations).toEqual({
      team: "shop",
      [RESTARTED]: new Date(NOW).toISOString(),
    });
  });

  const stateful: [string, ShopSeed, RegExp][] = [
    ["a StatefulSet", { kind: "StatefulSet", replicas: 5 }, /each member's memory/],
    ["a workload marked as cache", { annotations: { "nightshift.dev/state": "cache" } }, /marks it as cache/],
    ["scratch space", { podSpec: { volumes: [{ name: "tmp", emptyDir: {} }] } }, /keep in tmp \(emptyDir\)/],
    ["the strategy Recreate", { spec: { strategy: { type: "Recreate" } } }, /all its pods stop/],
  ];
  it.each(stateful)("needs a person's yes for %s, and says what is lost (H19)", async (_what, seed, says) => {
    const plan = await drafted(runbook, stall(seed));

    expect(plan.risk).toBe("B");
    expect(plan.loses).toMatch(says);
  });

  it("stays in class A where nothing is lost", async () => {
    expect((await drafted(runbook, stall())).risk).toBeUndefined();
  });
});

const tight = object("policy/v1", "PodDisruptionBudget", {
  name: "keep",
  spec: { selector: { matchLabels: { app: NAME } } },
  status: { disruptionsAllowed: 0 },
});
const envFrom = {
  containers: [{ name: "server", image: "registry.example/server:v3", envFrom: [{ secretRef: { name: "key" } }] }],
};

const refusals: { why: string; shop(): Shop; asking?: Asking; skip: string; says: RegExp }[] = [
  {
    why: "its image cannot be pulled any more (H18)",
    shop: () =>
      stall({
        more: [
          podOf(9, {
            ready: false,
            spec: { containers: [{ name: "server", image: "registry.example/server:v3" }] },
            status: { containerStatuses: [{ name: "server", state: { waiting: { reason: "ErrImagePull" } } }] },
          }),
        ],
      }),
    skip: "would-not-start",
    says: /Pod mcp-production\/mcp-rust-server-9 cannot pull registry\.example\/server:v3: what is stopped now would not come back/,
  },
  {
    why: "a Secret that it needs is gone (H18)",
    shop: () => stall({ podSpec: envFrom }),
    skip: "would-not-start",
    says: /Secret mcp-production\/key is gone/,
  },
  {
    why: "its pods crash by themselves (H20)",
    shop: () => stall({ ready: 3, more: [podOf(9, { ready: false, status: crashingStatus })] }),
    skip: "crash-loop",
    says: /already restarts by itself and dies with exit code 1/,
  },
  {
    why: "what prepares its pods crashes (H20)",
    shop: () => {
      const initContainerStatuses = [{ ...crashingStatus.containerStatuses[0], name: "migrate" }];
      return stall({ ready: 3, more: [podOf(9, { ready: false, status: { initContainerStatuses } })] });
    },
    skip: "crash-loop",
    says: /container migrate of Pod .* dies with exit code 1/,
  },
  {
    why: "one of three members is down already (H22)",
    shop: () => stall({ kind: "StatefulSet", replicas: 3, ready: 2 }),
    skip: "quorum",
    says: /expected at least 2 of 3 members to stay ready, found 1/,
  },
  {
    why: "a disruption budget lets nobody leave (H23)",
    shop: () => stall({ kind: "DaemonSet", more: [tight] }),
    skip: "disrupted",
    says: /PodDisruptionBudget keep allows no pod to leave now/,
  },
  {
    why: "the rollout would take pods away first, against a disruption budget (H23)",
    shop: () => stall({ spec: { strategy: { rollingUpdate: { maxUnavailable: 1 } } }, more: [tight] }),
    skip: "disrupted",
    says: /PodDisruptionBudget keep/,
  },
  {
    why: "its update strategy restarts nothing",
    shop: () => stall({ kind: "DaemonSet", spec: { updateStrategy: { type: "OnDelete" } } }),
    skip: "unsupported-kind",
    says: /OnDelete/,
  },
  {
    why: "a person holds its rollout at a partition (H28)",
    shop: () => stall({ kind: "StatefulSet", spec: { updateStrategy: { rollingUpdate: { partition: 2 } } } }),
    skip: "change-in-flight",
    says: /partition 2; expected 0/,
  },
  { why: "it is scaled to zero (H13)", shop: () => stall({ replicas: 0 }), skip: "nothing-to-do", says: /scaled to 0/ },
  {
    why: "its rollout is paused (H28)",
    shop: () => stall({ spec: { paused: true } }),
    skip: "rollout-paused",
    says: /paused/,
  },
  {
    why: "an operator has it (H14)",
    shop: () => stall({ kind: "StatefulSet", replicas: 1 }),
    asking: { owners: [owning("operator", "Cluster db")] },
    skip: "owned-elsewhere",
    says: /restarted through it/,
  },
  {
    why: "Argo CD has it (H27)",
    shop: () => stall(),
    asking: { owners: [owning("argo-cd", "shop")] },
    skip: "owned-by-gitops",
    says: /restarted through it/,
  },
];

describe("restart-workload: the refusals", () => {
  it.each(refusals)("refuses when $why", async ({ shop, asking, skip, says }) => {
    const answer = await refused(runbook, shop(), asking);

    expect(answer.sentence).toMatch(says);
    expect(answer.skip).toBe(skip);
  });

  it("hands over the command that does it through its owner (H27)", async () => {
    const answer = await refused(runbook, stall(), { owners: [owning("argo-cd", "shop")] });

    expect(answer.handOff).toBe(`argocd app actions run shop restart --kind Deployment --resource-name ${NAME}`);
  });

  it("goes on under a budget where new pods are ready before old ones leave (H23)", async () => {
    for (const maxUnavailable of [0, "0%", "10%"]) {
      const shop = stall({ spec: { strategy: { rollingUpdate: { maxUnavailable } } }, more: [tight] });
      expect(isSkip(await planOf(runbook, shop)), String(maxUnavailable)).toBe(false);
    }
  });

  it("restarts a set whose members are all up, and one that is no majority's (H22)", async () => {
    for (const [replicas, ready] of [
      [3, 3],
      [5, 4],
      [2, 1],
      [1, 1],
    ] as const)
      expect(
        isSkip(await planOf(runbook, stall({ kind: "StatefulSet", replicas, ready }))),
        `${ready}/${replicas}`,
      ).toBe(false);
  });
});

describe("restart-workload: the write and the proof", () => {
  async function done(seed: ShopSeed = {}): Promise<{ shop: Shop; plan: PlanDraft }> {
    const shop = stall(seed);
    const plan = await drafted(runbook, shop);
    await carryOut(runbook, shop, { plan });
    return { shop, plan };
  }

  it("does nothing twice, and nothing on a template that somebody changed (H44 I1)", async () => {
    const { shop, plan } = await done();
    await expect(carryOut(runbook, shop, { plan })).rejects.toThrow(/no longer the one that was approved/);
    expect(shop.cluster.writes()).toHaveLength(1);

    const other = stall();
    const planned = await drafted(runbook, other);
    await change(other, { kind: "Deployment", name: NAME }, (d) => {
      d.spec.template.spec.containers[0].image = "registry.example/server:v4";
    });
    await expect(carryOut(runbook, other, { plan: planned })).rejects.toThrow(/server:v4/);
  });

  it("stops when a Secret went away between the yes and the write (H18 H44)", async () => {
    const shop = stall({ podSpec: envFrom, more: [object("v1", "Secret", { name: "key" })] });
    const plan = await drafted(runbook, shop);
    shop.cluster.remove({ kind: "Secret", namespace: NS, name: "key" });

    await expect(carryOut(runbook, shop, { plan })).rejects.toThrow(/Secret mcp-production\/key is gone/);
    expect(shop.cluster.writes()).toEqual([]);
  });

  it.each(kinds)("is proved for a %s once every pod is a new one and ready", async (kind) => {
    const { shop, plan } = await done({ kind, replicas: 5 });
    const begun = kind === "DaemonSet" ? { updatedNumberScheduled: 2 } : { updatedReplicas: 2, updateRevision: "r2" };
    await settle(shop, begun);
    expect(await lookAt(runbook, shop, { plan })).toMatchObject({ world: "waiting" });

    const all = kind === "DaemonSet" ? { updatedNumberScheduled: 5 } : { updatedReplicas: 5, currentRevision: "r2" };
    await settle(shop, all);
    expect(await lookAt(runbook, shop, { plan })).toMatchObject({ world: "good", symptom: "gone" });
    expect(await lookAt(runbook, shop, { plan, symptom: "unknown" })).toMatchObject({ symptom: "unknown" });
  });

  it("is not proved while pods restart again, nor when somebody changed the template (H29)", async () => {
    const { shop, plan } = await done();
    await settle(shop);
    expect((await lookAt(runbook, shop, { plan, memo: { restarts: -1 } })).says).toContain("1 new restarts");

    await change(shop, { kind: "Deployment", name: NAME }, (d) => {
      delete d.spec.template.metadata.annotations;
    });
    expect(await lookAt(runbook, shop, { plan })).toMatchObject({ world: "bad" });
  });
});
