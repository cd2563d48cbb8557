import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ClusterError } from "../../../src/cluster.js";
import { UnavailableError } from "../../../src/errors.js";
import { opKey } from "../../../src/execution/keys.js";
import { loadGuards, runGate } from "../../../src/guard/gate.js";
import type { Guard, GuardContext } from "../../../src/guard/guard.js";
import { firstToFail } from "../../../src/guard/storm.js";
import { silentLog } from "../../../src/log.js";
import { planDigest } from "../../../src/plan/plan.js";
import { NOW, type Scene, scene, target } from "../../harness/guard-scene.js";

const guards = await loadGuards();
const options = { timeoutMs: 200, log: silentLog };
const MINUTE = 60_000;
const iso = (ms: number) => new Date(ms).toISOString();
const workload = (namespace: string, name: string, since: number) => ({
  cluster: "prod",
  kind: "Deployment",
  namespace,
  name,
  since,
});

describe("all guards at their defaults", () => {
  it.each(["plan", "effect"] as const)("say yes to the rollback of a bad release, at the %s", async (at) => {
    const { held, trace } = await runGate(guards, scene(at).context, options);

    expect(held, JSON.stringify(trace.filter((t) => t.holds))).toBeNull();
    expect(trace).toHaveLength(guards.length);
  });
});

interface Row {
  id: string;
  guard: string;
  when: string;
  reason: string;
  at?: "plan" | "effect";
  change(s: Scene): void;
}

const own = (step: string, identity: string) =>
  opKey({ identity, runbook: "rollback-deployment", step, targetUid: target.uid });

/** One thing is changed in the world where all say yes; the named guard, and it first, must hold. */
const rows: Row[] = [
  {
    id: "G01 H35",
    guard: "freshness",
    when: "it was heard six minutes ago",
    reason: "stale",
    change: ({ context }) =>
      Object.assign(context.incident, {
        openedAt: NOW - 6 * MINUTE,
        alerts: context.incident.alerts.map((a) => ({
          ...a,
          receivedAt: NOW - 6 * MINUTE,
          lastSeen: NOW - 6 * MINUTE,
        })),
      }),
  },
  {
    id: "G01 H45",
    guard: "freshness",
    at: "effect",
    when: "it was approved sixteen minutes ago",
    reason: "stale",
    change: ({ context }) => context.incident.approvals.forEach((a) => Object.assign(a, { at: NOW - 16 * MINUTE })),
  },
  {
    id: "G27 H50",
    guard: "clock",
    when: "the API server and Redis both say that it is another time",
    reason: "clock",
    change: ({ world }) =>
      Object.assign(world, {
        clock: async () => ({ agrees: false, says: "the API server is 600 s ahead of this process" }),
      }),
  },
  {
    id: "G27 H50",
    guard: "freshness",
    when: "the alert starts in the future",
    reason: "stale",
    change: ({ context }) => context.incident.alerts.forEach((a) => Object.assign(a, { startsAt: iso(NOW + MINUTE) })),
  },
  {
    id: "G02 H37",
    guard: "live-precondition",
    when: "no Alertmanager says that it fires",
    reason: "not-active",
    change: ({ world }) => Object.assign(world, { activity: async () => "not-active" }),
  },
  {
    id: "G02",
    guard: "live-precondition",
    when: "no Alertmanager can be asked",
    reason: "unavailable",
    change: ({ world }) => Object.assign(world, { activity: async () => "unknown" }),
  },
  {
    id: "G02 H33",
    guard: "live-precondition",
    when: "the target is another object by now",
    reason: "changed-world",
    change: ({ deployment }) => Object.assign(deployment.metadata, { uid: "other" }),
  },
  {
    id: "G06 H32",
    guard: "one-target",
    when: "the plan changes nothing",
    reason: "too-many-targets",
    change: ({ context }) => Object.assign(context.plan, { changes: [] }),
  },
  {
    id: "G06 H21",
    guard: "one-target",
    when: "the plan changes something else too",
    reason: "too-many-targets",
    change: ({ context }) =>
      context.plan.changes.push({
        ...structuredClone(context.plan.changes[0]),
        object: { apiVersion: "apps/v1", kind: "Deployment", namespace: "shop", name: "pay", uid: "u2" },
      } as never),
  },
  {
    id: "G06 H47",
    guard: "one-target",
    when: "its target's name is no name",
    reason: "too-many-targets",
    change: ({ context }) => Object.assign(context, { target: { ...target, name: "cart;rm" } }),
  },
  {
    id: "G07",
    guard: "budget",
    when: "the target had its share",
    reason: "budget",
    change: ({ world }) =>
      Object.assign(world, {
        budget: async () => [
          { run: "r", cluster: "prod", namespace: "shop", target: target.uid, at: NOW - 20 * MINUTE, open: false },
        ],
      }),
  },
  {
    id: "G07 I9",
    guard: "budget",
    when: "the cluster had its share",
    reason: "budget",
    change: ({ world }) =>
      Object.assign(world, {
        budget: async () =>
          [1, 2, 3, 4, 5].map((n) => ({
            run: `r${n}`,
            cluster: "prod",
            namespace: `n${n}`,
            target: `t${n}`,
            at: NOW - 20 * MINUTE,
            open: false,
          })),
      }),
  },
  {
    id: "G07 H38",
    guard: "budget",
    when: "two others are under way",
    reason: "at-once",
    change: ({ world }) =>
      Object.assign(world, {
        budget: async () =>
          [1, 2].map((n) => ({
            run: `r${n}`,
            cluster: "prod",
            namespace: `n${n}`,
            target: `t${n}`,
            at: NOW - MINUTE,
            open: true,
          })),
      }),
  },
  {
    id: "G03 H39",
    guard: "cooldown",
    when: "another alert's remedy wrote here ten minutes ago",
    reason: "done-before",
    change: ({ world }) =>
      Object.assign(world, {
        ledger: async () => ({
          v: 1,
          run: null,
          open: null,
          ops: [{ key: "k", fingerprint: "beef", at: iso(NOW - 10 * MINUTE) }],
          ends: [],
        }),
      }),
  },
  {
    id: "G03 H42",
    guard: "cooldown",
    when: "this very step was done for this very alert, days ago",
    reason: "done-before",
    change: ({ world, context }) =>
      Object.assign(world, {
        ledger: async () => ({
          v: 1,
          run: null,
          open: null,
          ops: [
            {
              key: own("roll-back", context.incident.identity),
              fingerprint: "f00d",
              at: iso(NOW - 3 * 24 * 60 * MINUTE),
            },
          ],
          ends: [],
        }),
      }),
  },
  {
    id: "G03",
    guard: "cooldown",
    when: "a run for this alert has ended",
    reason: "done-before",
    change: ({ world, context }) =>
      Object.assign(world, {
        ledger: async () => ({
          v: 1,
          run: null,
          open: null,
          ops: [],
          ends: [
            {
              identity: context.incident.identity,
              run: "r",
              outcome: "held(inconclusive)",
              at: iso(NOW - MINUTE),
              told: true,
            },
          ],
        }),
      }),
  },
  {
    id: "G08 H17 H38",
    guard: "storm",
    when: "three workloads in two namespaces begin to fail",
    reason: "storm",
    change: ({ world }) =>
      Object.assign(world, {
        storm: async () => ({
          newly: [
            workload("shop", "cart", NOW - 3000),
            workload("shop", "pay", NOW - 2000),
            workload("mail", "out", NOW - 1000),
          ],
          managed: 100,
          nodesNotReady: 0,
          nodes: 3,
          openSince: null,
        }),
      }),
  },
  {
    id: "G08",
    guard: "storm",
    when: "two nodes are not ready",
    reason: "storm",
    change: ({ world }) =>
      Object.assign(world, {
        storm: async () => ({
          newly: [workload("shop", "pay", NOW), workload("shop", "cart", NOW)],
          managed: 100,
          nodesNotReady: 2,
          nodes: 5,
          openSince: null,
        }),
      }),
  },
  {
    id: "G08",
    guard: "storm",
    when: "a storm is not yet over",
    reason: "storm",
    change: ({ world }) =>
      Object.assign(world, {
        storm: async () => ({ newly: [], managed: 100, nodesNotReady: 0, nodes: 3, openSince: NOW - MINUTE }),
      }),
  },
  {
    id: "G12 H28",
    guard: "change-in-flight",
    when: "another rollout is under way",
    reason: "change-in-flight",
    change: ({ context }) => Object.assign(context.plan, { facts: {} }),
  },
  {
    id: "G12 H28",
    guard: "change-in-flight",
    when: "a surging Deployment has all its new pods and all its old ones",
    reason: "change-in-flight",
    change: ({ context, deployment }) => {
      Object.assign(context.plan, { facts: {} });
      Object.assign(deployment, {
        kind: "Deployment",
        status: { observedGeneration: 42, replicas: 6, updatedReplicas: 3, availableReplicas: 3 },
      });
    },
  },
  {
    id: "G12 H28",
    guard: "change-in-flight",
    when: "a StatefulSet's rollout waits for a member",
    reason: "change-in-flight",
    change: ({ context, deployment }) => {
      Object.assign(context.plan, { facts: {} });
      Object.assign(deployment, {
        kind: "StatefulSet",
        status: { observedGeneration: 42, replicas: 3, updatedReplicas: 1, readyReplicas: 2 },
      });
    },
  },
  {
    id: "G12 H28",
    guard: "change-in-flight",
    when: "a DaemonSet's rollout waits for a node",
    reason: "change-in-flight",
    change: ({ context, deployment }) => {
      Object.assign(context.plan, { facts: {} });
      Object.assign(deployment, {
        kind: "DaemonSet",
        status: { observedGeneration: 42, desiredNumberScheduled: 5, updatedNumberScheduled: 2 },
      });
    },
  },
  {
    id: "G12 H46",
    guard: "change-in-flight",
    when: "a person edited it two minutes ago, and the suspected revision is old",
    reason: "change-in-flight",
    change: ({ context, deployment }) => {
      Object.assign(context.plan, { facts: { fromReplicaSet: { createdAt: iso(NOW - 120 * MINUTE) } } });
      Object.assign(deployment.status, { updatedReplicas: 3 });
      deployment.metadata.managedFields = [
        { manager: "kubectl-edit", time: iso(NOW - 2 * MINUTE), fieldsV1: { "f:spec": {} } },
      ];
    },
  },
  {
    id: "G12",
    guard: "change-in-flight",
    when: "its owner asks to be left alone",
    reason: "change-in-flight",
    change: ({ deployment }) =>
      Object.assign(deployment.metadata, { annotations: { "nightshift.dev/hold": "migration until 5" } }),
  },
  {
    id: "G13 H16",
    guard: "no-data",
    when: "there are no samples and the target looks well",
    reason: "no-data",
    change: ({ world, deployment }) => {
      Object.assign(world, { symptom: async () => ({ state: "unknown", says: "no data" }) });
      Object.assign(deployment.status, { unavailableReplicas: 0, updatedReplicas: 3 });
    },
  },
  {
    id: "G15 H44 H45",
    guard: "approval",
    at: "effect",
    when: "nobody's seal fits the plan",
    reason: "not-approved",
    change: ({ world }) => Object.assign(world, { approvals: () => ({ valid: 0, needed: 1, says: "0 of 1" }) }),
  },
  {
    id: "G15 I3",
    guard: "approval",
    at: "effect",
    when: "the plan was changed after its digest was taken",
    reason: "not-approved",
    change: ({ context }) => Object.assign(context.plan.changes[0] ?? {}, { toDigest: "forged" }),
  },
  {
    id: "G15",
    guard: "approval",
    at: "effect",
    when: "the policy was set back to observe",
    reason: "not-approved",
    change: ({ context }) => Object.assign(context.rule, { autonomy: "observe" }),
  },
  {
    id: "G17 H20",
    guard: "attempts",
    when: "it was tried by itself half an hour ago",
    reason: "done-before",
    change: ({ world, context }) => {
      Object.assign(context.plan, { autonomy: "auto" });
      Object.assign(context.rule, { autonomy: "auto" });
      Object.assign(world, { history: async () => ({ changes: [], attempts: [NOW - 30 * MINUTE] }) });
    },
  },
  {
    id: "G17 H39",
    guard: "attempts",
    when: "it comes and goes",
    reason: "flapping",
    change: ({ world }) =>
      Object.assign(world, {
        history: async () => ({ changes: [1, 3, 5, 7].map((n) => NOW - n * MINUTE), attempts: [] }),
      }),
  },
  {
    id: "G19 H48",
    guard: "protected",
    when: "the target is in Nightshift's own namespace",
    reason: "protected",
    change: ({ context }) => Object.assign(context, { ownNamespace: "shop" }),
  },
  {
    id: "G19 H48",
    guard: "protected",
    when: "the namespace is protected",
    reason: "protected",
    change: ({ context }) => context.policy.protected.push("shop"),
  },
  {
    id: "G19",
    guard: "protected",
    when: "the namespace is not in the policy",
    reason: "unmanaged",
    change: ({ context }) => Object.assign(context.policy, { clusters: [{ name: "prod", namespaces: ["other"] }] }),
  },
  {
    id: "G19",
    guard: "bound",
    when: "the namespace was not opened",
    reason: "not-bound",
    change: ({ world }) =>
      Object.assign(world, { bound: async () => ({ ok: false, missing: "patch deployments in shop" }) }),
  },
  {
    id: "G20 I6",
    guard: "kill-switch",
    when: "everything is paused",
    reason: "paused",
    change: ({ world }) =>
      Object.assign(world, {
        control: async () => ({ state: "readable", pauses: [{ scope: "all", by: "ann", why: "drill", until: null }] }),
      }),
  },
  {
    id: "G20",
    guard: "kill-switch",
    when: "the runbook is paused",
    reason: "paused",
    change: ({ world }) =>
      Object.assign(world, {
        control: async () => ({
          state: "readable",
          pauses: [{ scope: "runbook:rollback-deployment", by: "ann", why: "x", until: NOW + MINUTE }],
        }),
      }),
  },
  {
    id: "G20 H46",
    guard: "kill-switch",
    when: "the control ConfigMap cannot be read",
    reason: "paused",
    change: ({ world }) => Object.assign(world, { control: async () => ({ state: "unreadable", why: "gone" }) }),
  },
  {
    id: "G27 H50",
    guard: "freshness",
    when: "it was heard half a minute in the future",
    reason: "stale",
    change: ({ context }) => context.incident.alerts.forEach((a) => Object.assign(a, { lastSeen: NOW + MINUTE / 2 })),
  },
  {
    id: "G02 H33",
    guard: "live-precondition",
    when: "the target is gone",
    reason: "target-not-found",
    change: ({ context }) => Object.assign(context.cluster, { get: async () => null }),
  },
  {
    id: "G02 H33",
    guard: "live-precondition",
    when: "the target is being deleted",
    reason: "changed-world",
    change: ({ deployment }) => Object.assign(deployment.metadata, { deletionTimestamp: iso(NOW) }),
  },
  {
    id: "G12",
    guard: "change-in-flight",
    when: "the target is gone",
    reason: "target-not-found",
    change: ({ context }) => Object.assign(context.cluster, { get: async () => null }),
  },
  {
    id: "G12",
    guard: "change-in-flight",
    when: "it was created a minute ago, and settled since",
    reason: "change-in-flight",
    change: ({ deployment, context }) => {
      Object.assign(deployment.metadata, { creationTimestamp: iso(NOW - MINUTE) });
      Object.assign(deployment.status, { updatedReplicas: 3 });
      Object.assign(context.plan, { facts: null });
    },
  },
  {
    id: "G06 H33",
    guard: "one-target",
    when: "its target has no UID",
    reason: "too-many-targets",
    change: ({ context }) => {
      Object.assign(context, { target: { ...target, uid: "" } });
      context.plan.changes.forEach((change) => Object.assign(change.object, { uid: "" }));
      Object.assign(context.plan, { target: { ...target, uid: "" } });
    },
  },
  {
    id: "G06 H33",
    guard: "one-target",
    when: "the runbook does not act on its kind",
    reason: "unsupported-kind",
    change: ({ context }) => Object.assign(context.runbook, { kinds: ["StatefulSet"] }),
  },
  {
    id: "G06 H33",
    guard: "one-target",
    when: "the plan is for another object of that name",
    reason: "too-many-targets",
    change: ({ context }) => Object.assign(context.plan, { target: { ...target, uid: "uid-before" } }),
  },
  {
    id: "G19",
    guard: "protected",
    when: "the target is a node",
    reason: "unsupported-kind",
    change: ({ context }) => Object.assign(context, { target: { ...target, kind: "Node" } }),
  },
  {
    id: "G15 H45",
    guard: "approval",
    at: "effect",
    when: "the policy let it act alone when it was planned, and no longer does",
    reason: "not-approved",
    change: ({ context: { plan } }) => {
      Object.assign(plan, { autonomy: "auto" });
      Object.assign(plan, { digest: planDigest(plan) });
    },
  },
  {
    id: "G15 H45",
    guard: "approval",
    at: "effect",
    when: "a yes came after the ask had expired",
    reason: "not-approved",
    change: ({ context }) =>
      context.incident.approvals.forEach((a) => Object.assign(a, { at: context.plan.expiresAt + 1 })),
  },
];

describe("each guard holds", () => {
  it.each(rows)("$guard, when $when ($id)", async (row) => {
    const s = scene(row.at ?? "plan");
    row.change(s);

    const { trace } = await runGate(guards, s.context, options);

    const mine = trace.find((t) => t.guard === row.guard);
    expect(mine).toMatchObject({ holds: true, reason: row.reason });
    expect(mine?.says).not.toMatch(/\bG\d\d\b/);
    expect(mine?.expected).not.toBe("");
    expect(mine?.found).not.toBe("");
  });

  it("has a row for every guard", () => {
    expect(guards.map((g) => g.name).filter((name) => !rows.some((row) => row.guard === name))).toEqual([]);
  });
});

describe("each guard lets through", () => {
  it("a pause that is over (G20)", async () => {
    const s = scene();
    s.world.control = async () => ({
      state: "readable",
      pauses: [{ scope: "all", by: "ann", why: "drill", until: NOW - 1 }],
    });

    expect((await runGate(guards, s.context, options)).held).toBeNull();
  });

  it("the one workload that began a minute before the storm (G08)", async () => {
    const s = scene();
    const newly = [
      workload("shop", "cart", NOW - 3 * MINUTE),
      workload("shop", "pay", NOW - MINUTE),
      workload("mail", "out", NOW - MINUTE),
    ];
    s.world.storm = async () => ({ newly, managed: 100, nodesNotReady: 0, nodes: 3, openSince: null });

    expect(firstToFail({ newly })?.name).toBe("cart");
    expect((await runGate(guards, s.context, options)).held).toBeNull();
  });

  it("a rollout that is stuck although Prometheus is away: the target's own status is data (G13)", async () => {
    const s = scene();
    s.world.symptom = async () => ({ state: "unknown", says: "Prometheus could not be asked" });

    expect((await runGate(guards, s.context, options)).held).toBeNull();
  });

  it("the present run's own operation (G03)", async () => {
    const s = scene("effect");
    const key = own("roll-back", s.context.incident.identity);
    s.world.ledger = async () => ({
      v: 1,
      run: {
        id: "run-1",
        incident: s.context.incident.id,
        identity: s.context.incident.identity,
        runbook: "rollback-deployment",
        from: "",
        steps: [],
        undo: true,
        begun: true,
      },
      open: null,
      ops: [{ key, fingerprint: "f00d", at: iso(NOW) }],
      ends: [],
    });

    expect((await runGate(guards, s.context, options)).held).toBeNull();
  });
});

describe("the gate", () => {
  const one = (evaluate: (context: GuardContext) => Promise<unknown>): Guard => ({
    name: "one",
    order: 1,
    overrule: "fixed",
    summary: "",
    evaluate: evaluate as Guard["evaluate"],
  });

  it("takes anything but an explicit yes for no (H29)", async () => {
    await fc.assert(
      fc.asyncProperty(fc.anything(), async (answer) => {
        const explicit =
          typeof answer === "object" &&
          answer !== null &&
          (answer as { holds?: unknown }).holds === false &&
          typeof (answer as { says?: unknown }).says === "string";
        fc.pre(!explicit);
        expect((await runGate([one(async () => answer)], scene().context, options)).held).not.toBeNull();
      }),
      { numRuns: 300 },
    );
  });

  it.each([
    ["a rejection", async () => Promise.reject(new Error("boom")), "guard-error"],
    [
      "a cluster that does not answer",
      async () => Promise.reject(new ClusterError(null, "Unanswered", "no answer")),
      "unavailable",
    ],
    ["a store that does not answer", async () => Promise.reject(new UnavailableError("X", "no answer")), "unavailable"],
    ["no answer at all", () => new Promise(() => undefined), "guard-error"],
  ])("takes %s for no", async (_what, evaluate, reason) => {
    expect((await runGate([one(evaluate)], scene().context, { timeoutMs: 20, log: silentLog })).held).toMatchObject({
      reason,
    });
  });

  it("holds when there are no guards at all", async () => {
    expect((await runGate([], scene().context, options)).held).not.toBeNull();
  });
});
