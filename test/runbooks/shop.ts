/** A workload with pods on nodes in a cluster in memory, and what runbooks are asked about it. */
import type { KubeObject } from "../../src/cluster.js";
import {
  type AnyRemedy,
  ChangedWorld,
  type Effect,
  isSkip,
  type Owner,
  type PlanDraft,
  type Sample,
  type Skip,
  type Target,
} from "../../src/runbook.js";
import { type MemoryCluster, memoryCluster } from "../harness/memory-cluster.js";
import { ago, DAY, NOW, NS } from "./scene.js";

export const NAME = "mcp-rust-server";
export const LABELS = { app: NAME };

/** Answers to queries by a part of their text; the first that fits wins. Nothing fits: no data. */
export type Measured = [part: string, value: number, ageMs?: number][];

export function measuring(answers: Measured | null): (expr: string) => Promise<Sample[] | null> {
  return async (expr) => {
    if (answers === null) return null;
    const found = answers.find(([part]) => expr.includes(part));
    return found === undefined ? [] : [{ labels: {}, value: found[1], at: NOW - (found[2] ?? 1000) }];
  };
}

export interface ShopSeed {
  kind?: "Deployment" | "StatefulSet" | "DaemonSet";
  replicas?: number;
  /** Ready pods; all of them unless told. */
  ready?: number;
  spec?: object;
  podSpec?: object;
  annotations?: Record<string, string>;
  templateAnnotations?: Record<string, string>;
  /** Cores of each of the two nodes. */
  cores?: number;
  more?: Partial<KubeObject>[];
}

export interface Shop {
  cluster: MemoryCluster;
  target: Target;
}

export function stall(seed: ShopSeed = {}): Shop {
  const kind = seed.kind ?? "Deployment";
  const replicas = seed.replicas ?? 4;
  const ready = seed.ready ?? replicas;
  const target: Target = { cluster: "prod", apiVersion: "apps/v1", kind, namespace: NS, name: NAME, uid: "w1" };
  const podSpec = {
    containers: [
      {
        name: "server",
        image: "registry.example/server:v3",
        resources: { requests: { cpu: "500m", memory: "256Mi" } },
      },
    ],
    ...seed.podSpec,
  };
  const template = {
    metadata: { labels: LABELS, ...(seed.templateAnnotations ? { annotations: seed.templateAnnotations } : {}) },
    spec: podSpec,
  };
  const cluster = memoryCluster([
    {
      apiVersion: "apps/v1",
      kind,
      metadata: {
        name: NAME,
        namespace: NS,
        uid: "w1",
        generation: 3,
        creationTimestamp: ago(90 * DAY),
        ...(seed.annotations ? { annotations: seed.annotations } : {}),
      } as never,
      spec: {
        ...(kind === "DaemonSet" ? {} : { replicas }),
        selector: { matchLabels: LABELS },
        template,
        ...seed.spec,
      },
      status: settled(kind, replicas, ready),
    },
    ...Array.from({ length: replicas }, (_, i) => podOf(i, { ready: i < ready, spec: podSpec })),
    {
      apiVersion: "apps/v1",
      kind: "ReplicaSet",
      metadata: {
        name: `${NAME}-hash`,
        namespace: NS,
        uid: "rs1",
        ownerReferences: [{ kind, name: NAME, uid: "w1" }],
      } as never,
    },
    ...["node-a", "node-b"].map((name) => node(name, seed.cores ?? 8)),
    ...(seed.more ?? []),
  ]);
  return { cluster, target };
}

function settled(kind: string, replicas: number, ready: number): object {
  if (kind === "DaemonSet")
    return {
      observedGeneration: 3,
      desiredNumberScheduled: replicas,
      updatedNumberScheduled: replicas,
      numberAvailable: ready,
    };
  return {
    observedGeneration: 3,
    replicas,
    updatedReplicas: replicas,
    readyReplicas: ready,
    availableReplicas: ready,
    ...(kind === "StatefulSet" ? { currentRevision: "r1", updateRevision: "r1" } : {}),
  };
}

export function podOf(i: number, of: { ready?: boolean; spec?: object; status?: object } = {}): Partial<KubeObject> {
  const ready = of.ready ?? true;
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: {
      name: `${NAME}-${i}`,
      namespace: NS,
      uid: `pod-${i}`,
      labels: LABELS,
      creationTimestamp: ago(DAY),
      ownerReferences: [
        { apiVersion: "apps/v1", kind: "ReplicaSet", name: `${NAME}-hash`, uid: "rs1", controller: true },
      ],
    } as never,
    spec: { nodeName: i % 2 === 0 ? "node-a" : "node-b", containers: [{ name: "server" }], ...of.spec },
    status: {
      phase: "Running",
      conditions: [{ type: "Ready", status: ready ? "True" : "False" }],
      containerStatuses: [{ name: "server", ready, restartCount: 0, state: { running: {} } }],
      ...of.status,
    },
  };
}

export const crashingStatus = {
  containerStatuses: [
    {
      name: "server",
      ready: false,
      restartCount: 7,
      state: { waiting: { reason: "CrashLoopBackOff" } },
      lastState: { terminated: { exitCode: 1, reason: "Error" } },
    },
  ],
};

export function node(name: string, cores: number, more: { spec?: object; ready?: boolean } = {}): Partial<KubeObject> {
  return {
    apiVersion: "v1",
    kind: "Node",
    metadata: { name, uid: name, labels: { zone: "a" } } as never,
    spec: more.spec ?? {},
    status: {
      allocatable: { cpu: String(cores), memory: "32Gi", pods: "110" },
      conditions: [{ type: "Ready", status: more.ready === false ? "False" : "True" }],
    },
  };
}

export function object(
  apiVersion: string,
  kind: string,
  of: { name: string } & Record<string, unknown>,
): Partial<KubeObject> {
  const { name, ...rest } = of;
  return { apiVersion, kind, metadata: { name, namespace: NS, uid: `${kind}-${name}` } as never, ...rest };
}

export function hpa(min: number, max: number, name = "auto"): Partial<KubeObject> {
  const scaleTargetRef = { apiVersion: "apps/v1", kind: "Deployment", name: NAME };
  return object("autoscaling/v2", "HorizontalPodAutoscaler", {
    name,
    spec: { minReplicas: min, maxReplicas: max, scaleTargetRef },
  });
}

export function owning(kind: Owner["kind"], name: string): Owner {
  const handsOff = !["hpa", "keda", "helm"].includes(kind);
  return { kind, name, says: `${kind} ${name} has it`, handsOff, writes: ["/spec/replicas"] };
}

export interface Asking {
  owners?: Owner[];
  params?: Record<string, unknown>;
  measured?: Measured | null;
  labels?: Record<string, string>[];
  /** How long ago each alert began, milliseconds; a minute. */
  began?: number[];
}

function base(shop: Shop, remedy: AnyRemedy, asking: Asking) {
  return {
    target: shop.target,
    params: remedy.params.parse(asking.params ?? {}),
    alerts: (asking.labels ?? []).map((labels, i) => ({ labels, startsAt: ago(asking.began?.[i] ?? 60_000) })) as never,
    cluster: shop.cluster,
    measure: measuring(asking.measured === undefined ? [] : asking.measured),
    now: NOW,
  };
}

export async function planOf(remedy: AnyRemedy, shop: Shop, asking: Asking = {}): Promise<PlanDraft | Skip> {
  return remedy.plan({ ...base(shop, remedy, asking), owners: asking.owners ?? [], settings: { rollbackHealthMs: 0 } });
}

export async function drafted(remedy: AnyRemedy, shop: Shop, asking: Asking = {}): Promise<PlanDraft> {
  const answer = await planOf(remedy, shop, asking);
  if (isSkip(answer)) throw new Error(`expected a plan, found ${answer.skip}: ${answer.sentence}`);
  return answer;
}

export async function refused(remedy: AnyRemedy, shop: Shop, asking: Asking = {}): Promise<Skip> {
  const before = shop.cluster.writes().length;
  const answer = await planOf(remedy, shop, asking);
  if (!isSkip(answer)) throw new Error(`expected a refusal, found: ${answer.sentence}`);
  if (shop.cluster.writes().length !== before) throw new Error("a plan has written");
  return answer;
}

/** Carries out or undoes a plan as the engine would, without its durability; answers with what was evicted. */
export async function carryOut(
  remedy: AnyRemedy,
  shop: Shop,
  of: { plan: PlanDraft; way?: "execute" | "undo"; asking?: Asking },
): Promise<string[]> {
  const evicted: string[] = [];
  const context = {
    ...base(shop, remedy, of.asking ?? {}),
    plan: of.plan,
    step: async (_name: string, prepare: () => Promise<Effect>) => {
      const effect = await prepare();
      const live = await shop.cluster.get(effect.object);
      if (live === null || live.metadata.uid !== effect.object.uid) throw new ChangedWorld("another object");
      const changed = effect.changed(live);
      if (changed !== null) throw new ChangedWorld(changed);
      if ("evict" in effect) {
        evicted.push(effect.object.uid);
        shop.cluster.remove(effect.object);
      } else await shop.cluster.jsonPatch(effect.object, effect.patch(live));
    },
  };
  if (of.way === "undo") {
    if (typeof remedy.undo !== "function") throw new Error("there is no undo");
    await remedy.undo(context);
  } else await remedy.execute(context);
  return evicted;
}

export async function lookAt(
  remedy: AnyRemedy,
  shop: Shop,
  of: { plan: PlanDraft; symptom?: "present" | "gone" | "unknown"; asking?: Asking; memo?: unknown; now?: number },
) {
  return remedy.verify({
    ...base(shop, remedy, of.asking ?? {}),
    now: of.now ?? NOW,
    plan: of.plan,
    since: NOW,
    symptom: async () => ({ state: of.symptom ?? "gone", says: "the rule" }),
    memo: (of.memo ?? null) as never,
  });
}

/** Changes an object as somebody else would. */
export async function change(
  shop: Shop,
  ref: { kind: string; name: string },
  how: (object: KubeObject) => void,
): Promise<void> {
  const found = shop.cluster.world().find((one) => one.kind === ref.kind && one.metadata.name === ref.name);
  if (found === undefined) throw new Error(`no ${ref.kind} ${ref.name}`);
  how(found);
  shop.cluster.seed(found);
}
