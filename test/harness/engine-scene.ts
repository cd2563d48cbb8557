/**
 * The engine alone, in one process: several workers over one stand-in API server and one memory, each of which dies, freezes
 * or wakes where a test says. A worker that dies never goes on from its bracket; nothing else of it is undone.
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Kubernetes, startKubernetes } from "../../sandbox/kubernetes/kubernetes.js";
import { createKubernetes, type KubernetesClient } from "../../src/clients/kubernetes.js";
import type { ClusterWriter } from "../../src/cluster.js";
import { type Clock, systemClock } from "../../src/clock.js";
import { carryOut } from "../../src/execution/carry-out.js";
import { revokeLeases } from "../../src/execution/control.js";
import { leaseName } from "../../src/execution/keys.js";
import { createLeaseStore, type LeaseStore } from "../../src/execution/lease.js";
import type { Bracket, EnginePorts, JobEnd } from "../../src/execution/ports.js";
import { silentLog } from "../../src/log.js";
import { makePlan } from "../../src/plan/plan.js";
import type { IncidentRecord, Plan } from "../../src/record/incident.js";
import { apply, type Event } from "../../src/record/machine.js";
import { newRecord } from "../../src/record/open.js";
import type { RecordStore } from "../../src/record/store.js";
import { oneLook } from "../../src/one-look.js";
import { createTransition, type Transition } from "../../src/record/transition.js";
import { defineRemedy, digestOf, type AnyRemedy, z } from "../../src/runbook.js";

export const STEPS = ["first", "second"] as const;
const HANDS = "hands";
const WANTED: Record<string, [from: number, to: number]> = { first: [3, 4], second: [4, 5], "undo:all": [5, 3] };

let skipped = 0;
/** Sleeps are cut short, and the clock goes on by what was skipped; what is only done every hour is never done. */
const quick: Clock = {
  ...systemClock,
  monotonic: () => systemClock.monotonic() + skipped,
  async sleep(ms, signal) {
    await systemClock.sleep(ms > 600_000 ? ms : Math.min(ms, 2), signal);
    skipped += ms;
  },
};

/** Two steps, each one write of spec.replicas: 3 to 4 to 5. Its undo takes it back to 3. */
const remedy: AnyRemedy = defineRemedy<Record<string, never>, null>({
  name: "grow",
  version: 1,
  summary: "For tests of the engine.",
  kinds: ["Deployment"],
  params: z.strictObject({}),
  risk: "A",
  needs: [],
  diagnosis: "none",
  giveUpAfterMs: 1000,
  onFailed: "undo",
  plan: async () => ({ skip: "nothing-to-do", sentence: "" }),
  async execute({ plan, step }) {
    for (const name of STEPS) await step(name, async () => effectOf(plan, name));
  },
  verify: async () => ({ world: "good", symptom: "gone", says: "", memo: null }),
  async undo({ plan, step }) {
    await step("undo:all", async () => effectOf(plan, "undo:all"));
  },
});

function effectOf(plan: { changes: Plan["changes"] }, name: string) {
  const [from, to] = WANTED[name] ?? [0, 0];
  const [change] = plan.changes;
  if (change === undefined) throw new Error("the plan changes nothing");
  return {
    object: change.object,
    changed: (live: { spec?: { replicas?: number } }) =>
      live.spec?.replicas === from ? null : `expected ${from} replicas, found ${live.spec?.replicas}`,
    patch: () => [{ op: "replace" as const, path: "/spec/replicas", value: to }],
  };
}

export interface WorkerOptions {
  /** Called at every bracket; a promise that never settles is a death, one that settles later a freeze. */
  at?(bracket: Bracket, step: string): Promise<void>;
  verdict?: "successful" | "failed";
  /** Stands between the engine and the API server. */
  writer?(writer: ClusterWriter): ClusterWriter;
  check?(): { reason: "paused"; says: string } | null;
}

export type EngineScene = Awaited<ReturnType<typeof engineScene>>;

export async function engineScene() {
  const kubernetes: Kubernetes = await startKubernetes({ tickMs: null, namespaces: ["nightshift", "shop"] });
  const dir = mkdtempSync(join(tmpdir(), "engine-"));
  kubernetes.addIdentity({
    token: HANDS,
    user: HANDS,
    rules: [{ verbs: ["*"], groups: ["*"], resources: ["*"] }],
  });
  writeFileSync(join(dir, "hands"), kubernetes.kubeconfig(HANDS));
  const client: KubernetesClient = await createKubernetes({ kubeconfig: join(dir, "hands"), clock: systemClock });
  let count = 0;

  return {
    kubernetes,
    client,
    async stop() {
      await client.close();
      await kubernetes.stop();
      rmSync(dir, { recursive: true, force: true });
    },
    /** A Deployment of three, and an approved plan to make it five. */
    target() {
      count += 1;
      return createTarget(kubernetes, client, `cart-${count}`);
    },
  };
}

export type EngineTarget = ReturnType<typeof createTarget>;

function createTarget(kubernetes: Kubernetes, client: KubernetesClient, name: string) {
  const leases: LeaseStore = createLeaseStore(client, "nightshift", { clock: quick, durationSeconds: 35 });
  const seeded = kubernetes.seed({
    apiVersion: "apps/v1",
    kind: "Deployment",
    metadata: { name, namespace: "shop" },
    spec: {
      replicas: 3,
      selector: { matchLabels: { app: name } },
      template: { metadata: { labels: { app: name } }, spec: { containers: [{ name: "main", image: "x" }] } },
    },
  });
  const target = {
    cluster: "prod",
    apiVersion: "apps/v1",
    kind: "Deployment",
    namespace: "shop",
    name,
    uid: String(seeded.metadata.uid),
  };
  const dead = new Set<string>();
  const reserved = new Set<string>();
  const memory = createMemoryOf();
  const opened = approved(target, "2026-11-24T03:00:00Z");
  memory.put(opened);

  function worker(holder: string, options: WorkerOptions = {}) {
    const ports: EnginePorts = {
      clock: quick,
      log: silentLog,
      holder,
      records: memory.records,
      transition: memory.transition,
      leases,
      holderLives: async (view) => view.holder !== "" && !dead.has(view.holder),
      reader: client,
      writer: options.writer?.(client) ?? client,
      measure: async () => null,
      runbook: () => remedy,
      activity: async () => "active",
      look: () => ({
        reader: oneLook(client),
        check: async () => {
          const held = options.check?.() ?? null;
          return { held, trace: [] };
        },
      }),
      async reserve(_record, run) {
        reserved.add(run);
        return null;
      },
      closeBudget: async (run) => void reserved.delete(run),
      symptom: async () => ({ state: "gone", says: "" }),
      verdict: async () => ({ verdict: options.verdict ?? "successful", says: "" }),
      effectTimeoutMs: 300,
      renewMs: 3_600_000,
      evictEveryMs: 5,
      evictWithinMs: 1000,
      at: async (bracket, { step }) => options.at?.(bracket, step),
      effectAnswered: () => undefined,
    };
    const working = new Set<string>();
    const signal = new AbortController();
    return {
      ports,
      stop: () => signal.abort(),
      /** One job: as BullMQ delivers it. */
      once: (incident = opened.id): Promise<JobEnd> => carryOut(ports, working, { incident, signal: signal.signal }),
      /** As often as the job is put back. */
      async finish(incident = opened.id): Promise<void> {
        for (let round = 0; round < 60; round += 1) {
          const end = await this.once(incident);
          if (end.end === "done") return;
        }
        throw new Error("the job was put back 60 times");
      },
    };
  }

  return {
    target,
    incident: opened.id,
    memory,
    leases,
    worker,
    /** From now on everybody takes this worker for gone. */
    presumeDead: (holder: string) => void dead.add(holder),
    /** Runs whose share of the budget is still taken. */
    reserved: () => [...reserved],
    record: () => memory.get(opened.id),
    lease: () => leases.read(leaseName(target.cluster, target.uid)),
    revoke: () => revokeLeases(leases, client, () => true),
    replicas: () => kubernetes.get("Deployment", "shop", name)?.spec.replicas as number,
    /** A person with kubectl: back to three, and where `strip` says so without what others noted on it. */
    revert(strip = false): void {
      const live = structuredClone(kubernetes.get("Deployment", "shop", name)) as Record<string, any>;
      live["spec"].replicas = 3;
      live["metadata"].generation += 1;
      if (strip) live["metadata"].annotations = {};
      kubernetes.seed(live);
    },
    /** Effects by operation key, as the API server saw them: fences apart, and only those that changed something. */
    effects(): Map<string, number> {
      const counts = new Map<string, number>();
      for (const write of kubernetes.writes()) {
        if (write.kind !== "Deployment" || write.name !== name || write.user !== HANDS) continue;
        if (!write.changed || write.fenceOnly || write.op === null) continue;
        const { step } = JSON.parse(write.op) as { step: string };
        counts.set(step, (counts.get(step) ?? 0) + 1);
      }
      return counts;
    },
    /** The same alert asked about again, approved again: as after a loss of Redis. */
    approveAgain(startsAt = "2026-11-24T03:00:00Z"): string {
      const again = approved(target, startsAt);
      memory.put(again);
      return again.id;
    },
    faults: kubernetes.faults,
    match: { user: HANDS, resource: "deployments", name },
  };
}

function approved(target: IncidentRecord["target"] & object, startsAt: string): IncidentRecord {
  const now = Date.now();
  const alert = {
    identity: `f00d@${startsAt}`,
    fingerprint: "f00d",
    startsAt,
    endsAt: null,
    status: "firing" as const,
    labels: { alertname: "Slow", severity: "critical" },
    annotations: {},
    generatorURL: "",
    groupKey: "g",
    receiver: "r",
    externalURL: "",
    receivedAt: now,
  };
  const decision = {
    decision: "remediate",
    reason: null,
    says: "",
    rule: null,
    runbook: "grow",
    params: {},
    target: null,
  };
  const record = newRecord(alert, { cluster: "prod", decision: decision as never, target, now });
  const { cluster: _, ...object } = target;
  const plan = makePlan(
    {
      sentence: "Grow",
      verb: "grow",
      changes: [
        { object, field: "/spec/replicas", from: "3", to: "5", fromDigest: digestOf(3), toDigest: digestOf(5) },
      ],
      loses: "nothing",
      takes: "a moment",
      undo: "shrink",
      steps: [...STEPS],
      undoSteps: ["undo:all"],
      facts: null,
      evidence: [],
    },
    { incident: record.id, remedy, params: {}, target },
    { ms: now, expiresMs: 600_000, nonce: `${Math.random()}`, autonomy: "auto", dryRun: "" },
  );
  const approval = { by: "policy", name: "the policy", at: now, nonce: plan.nonce, digest: plan.digest, mac: "" };
  const moved = apply(record, { type: "decidedByPolicy", plan, approval, guards: [], others: [] }, now);
  if (!moved.changed) throw new Error(moved.why);
  return moved.record;
}

/** Records in memory with the store's own compare-and-set. */
function createMemoryOf() {
  const all = new Map<string, IncidentRecord>();
  let revision = 0;
  const put = (record: IncidentRecord) => {
    revision += 1;
    all.set(record.id, { ...structuredClone(record), rev: String(revision) });
    return structuredClone(all.get(record.id) ?? null);
  };
  const records = {
    get: async (id: string) => structuredClone(all.get(id) ?? null),
    save: async (record: IncidentRecord) => {
      if (all.get(record.id)?.rev !== record.rev) return null;
      return put(record);
    },
  } as unknown as RecordStore;
  const transition: Transition = createTransition({
    records,
    clock: quick,
    nudge: async () => undefined,
    stored: () => undefined,
  });
  return {
    records,
    transition,
    put,
    get: (id: string) => all.get(id) ?? null,
    move: (id: string, event: Event) => transition(id, event, "test"),
    flush: () => all.clear(),
  };
}
