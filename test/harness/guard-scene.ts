/** A scene for guards in which every guard at its defaults says yes; a test changes one thing. */
import type { ClusterReader, KubeObject } from "../../src/cluster.js";
import { emptyLedger } from "../../src/execution/ledger.js";
import type { GuardContext, GuardWorld } from "../../src/guard/guard.js";
import { makePlan } from "../../src/plan/plan.js";
import { defaultApproval, defaultEscalate, defaultGuards, defaultVerify } from "../../src/policy/defaults.js";
import type { Policy, Rule } from "../../src/policy/policy.js";
import type { IncidentRecord, Plan } from "../../src/record/incident.js";
import { newRecord } from "../../src/record/open.js";
import type { Target } from "../../src/target/target.js";

export const NOW = Date.parse("2026-11-24T03:00:00Z");
const MINUTE = 60_000;
export const target: Target = {
  cluster: "prod",
  apiVersion: "apps/v1",
  kind: "Deployment",
  namespace: "shop",
  name: "cart",
  uid: "uid-cart",
};
const iso = (ms: number) => new Date(ms).toISOString();

export interface Scene {
  deployment: KubeObject;
  context: GuardContext;
  world: GuardWorld;
}

export function deploymentAt(now = NOW): KubeObject {
  return {
    apiVersion: "apps/v1",
    kind: "Deployment",
    metadata: {
      name: "cart",
      namespace: "shop",
      uid: target.uid,
      resourceVersion: "100",
      generation: 42,
      creationTimestamp: iso(now - 90 * 24 * 60 * MINUTE),
      managedFields: [],
    },
    spec: { replicas: 3 },
    status: {
      observedGeneration: 42,
      replicas: 4,
      updatedReplicas: 1,
      availableReplicas: 2,
      unavailableReplicas: 2,
      conditions: [{ type: "Progressing", status: "True", reason: "ReplicaSetUpdated" }],
    },
  };
}

/** A rollback of a bad revision that was rolled out four minutes ago, asked for three seconds after the alert came. */
export function scene(at: "plan" | "effect" = "plan", now = NOW): Scene {
  const deployment = deploymentAt(now);
  const rule: Rule = {
    name: "bad-deploy",
    position: 0,
    line: 1,
    match: [],
    does: {
      what: "runbook",
      runbook: "rollback-deployment",
      diagnosis: false,
      params: {},
      target: { from: "service", namespace: "shop", name: "cart" },
    },
    autonomy: "approve",
    approval: defaultApproval,
    escalate: defaultEscalate,
    guards: structuredClone(defaultGuards),
    verify: defaultVerify,
  };
  const policy: Policy = {
    clusters: [{ name: "prod", namespaces: ["shop"] }],
    protected: ["kube-system", "monitoring"],
    defaults: { autonomy: "observe", approval: defaultApproval, escalate: defaultEscalate },
    guards: defaultGuards,
    verify: defaultVerify,
    rules: [rule],
    digest: "d",
  };
  const alert = {
    identity: `f00d@${iso(now - MINUTE)}`,
    fingerprint: "f00d",
    startsAt: iso(now - MINUTE),
    endsAt: null,
    status: "firing" as const,
    labels: { alertname: "HighErrorRate", severity: "critical" },
    annotations: {},
    generatorURL: "",
    groupKey: "g",
    receiver: "r",
    externalURL: "",
    receivedAt: now - 3000,
  };
  const decision = {
    decision: "remediate" as const,
    reason: null,
    says: "",
    rule,
    runbook: "rollback-deployment",
    params: {},
    target: null,
  };
  const incident: IncidentRecord = newRecord(alert, { cluster: "prod", decision, target, now: now - 3000 });
  const plan: Plan = makePlan(
    {
      sentence: "Roll back Deployment shop/cart from revision 42 to 41",
      verb: "rollback",
      changes: [
        {
          object: { apiVersion: "apps/v1", kind: "Deployment", namespace: "shop", name: "cart", uid: target.uid },
          field: "/spec/template",
          from: "42",
          to: "41",
          fromDigest: "a",
          toDigest: "b",
        },
      ],
      loses: "what revision 42 brought",
      takes: "about 2 min",
      undo: "roll forward",
      steps: ["roll-back"],
      undoSteps: ["undo:roll-back"],
      facts: { fromRevision: 42, fromReplicaSet: { name: "cart-1", uid: "rs-42", createdAt: iso(now - 4 * MINUTE) } },
      evidence: [],
    },
    { incident: incident.id, remedy: { name: "rollback-deployment", version: 1 }, params: {}, target },
    { ms: now - 2000, expiresMs: 10 * MINUTE, nonce: "n".repeat(32), autonomy: "approve", dryRun: "" },
  );
  incident.plan = plan;
  if (at === "effect") {
    incident.state = "running";
    incident.approvals = [
      { by: "slack:U1", name: "ann", at: now - 1000, nonce: plan.nonce, digest: plan.digest, mac: "m" },
    ];
    incident.needed = 1;
    incident.run = {
      id: "run-1",
      token: 1,
      startedAt: now,
      effectAt: null,
      steps: [],
      looks: [],
      memo: null,
      abort: null,
    };
  }
  const cluster: ClusterReader = {
    get: async (ref) => (ref.kind === "Deployment" && ref.name === "cart" ? structuredClone(deployment) : null),
    list: async () => [],
    logs: async () => "",
    can: async () => true,
  };
  const world: GuardWorld = {
    activity: async () => "active",
    symptom: async () => ({ state: "present", says: "HighErrorRate: 0.4, fires at > 0.05" }),
    ledger: async () => structuredClone(emptyLedger),
    budget: async () => [],
    control: async () => ({ state: "readable", pauses: [] }),
    clock: async () => ({ agrees: true, says: "the API server is 0 s off, Redis is 0 s off" }),
    storm: async () => ({
      newly: [{ cluster: "prod", kind: "Deployment", namespace: "shop", name: "cart", since: now - MINUTE }],
      managed: 12,
      nodesNotReady: 0,
      nodes: 3,
      openSince: null,
    }),
    history: async () => ({ changes: [now - MINUTE], attempts: [] }),
    bound: async () => ({ ok: true, missing: "" }),
    approvals: () => ({
      valid: at === "effect" ? 1 : 0,
      needed: 1,
      says: "1 of 1 approvals carry a valid seal for this plan",
    }),
  };
  const context: GuardContext = {
    at,
    incident,
    rule,
    policy,
    plan,
    target,
    runbook: { name: "rollback-deployment", risk: "A", kinds: ["Deployment"], needs: [] },
    settings: rule.guards,
    cluster,
    world,
    ownNamespace: "nightshift",
    now,
  };
  return { deployment, context, world };
}
