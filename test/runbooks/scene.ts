/** A Deployment with revisions in a cluster in memory, and the little of its controller that rollbacks depend on. */
import { isDeepStrictEqual } from "node:util";
import type { KubeObject, ObjectRef } from "../../src/cluster.js";
import {
  ChangedWorld,
  type Effect,
  isSkip,
  type Owner,
  type PlanDraft,
  type Skip,
  type Target,
} from "../../src/runbook.js";
import { runbook } from "../../runbooks/rollback-deployment.js";
import { type MemoryCluster, memoryCluster } from "../harness/memory-cluster.js";

export const NS = "mcp-production";
export const API = "mcp-typescript-api";
/** Wall clock of every scene. */
export const NOW = Date.parse("2026-11-20T12:00:00Z");
export const HEALTH_MS = 15 * 60_000;
export const MINUTE = 60_000;
export const DAY = 24 * 60 * MINUTE;
export const REVISION = "deployment.kubernetes.io/revision";
export const CAUSE = "kubernetes.io/change-cause";

export const target: Target = {
  cluster: "mcp-prod-eu-1",
  apiVersion: "apps/v1",
  kind: "Deployment",
  namespace: NS,
  name: API,
  uid: "d1",
};
export const deploymentRef: ObjectRef = { apiVersion: "apps/v1", kind: "Deployment", namespace: NS, name: API };

export function ago(ms: number): string {
  return new Date(NOW - ms).toISOString();
}

export function template(tag: string, more: { pod?: object; container?: object; annotations?: object } = {}) {
  return {
    metadata: { labels: { app: "api" }, ...(more.annotations ? { annotations: more.annotations } : {}) },
    spec: { containers: [{ name: "api", image: `registry.example/api:${tag}`, ...more.container }], ...more.pod },
  };
}

export interface RevisionSeed {
  number: number;
  /** Milliseconds before NOW. */
  age: number;
  template: KubeObject["spec"];
  annotations?: Record<string, string>;
  ready?: number;
}

/** The newest of `revisions` is what the Deployment runs. */
export function shop(revisions: RevisionSeed[], more: Partial<KubeObject>[] = []): MemoryCluster {
  const newest = [...revisions].sort((a, b) => b.number - a.number)[0];
  return memoryCluster([
    {
      apiVersion: "apps/v1",
      kind: "Deployment",
      metadata: {
        name: API,
        namespace: NS,
        uid: "d1",
        generation: 7,
        annotations: { [REVISION]: String(newest?.number), ...newest?.annotations },
      } as never,
      spec: {
        replicas: 2,
        selector: { matchLabels: { app: "api" } },
        template: newest?.template,
      },
      status: { observedGeneration: 7, replicas: 2, updatedReplicas: 2, availableReplicas: 2 },
    },
    ...revisions.map((r) => replicaSet(r, newest?.number === r.number)),
    ...more,
  ]);
}

function replicaSet(r: RevisionSeed, current: boolean): Partial<KubeObject> {
  const hash = `hash${r.number}`;
  const copy = structuredClone(r.template);
  copy.metadata.labels = { ...copy.metadata.labels, "pod-template-hash": hash };
  return {
    apiVersion: "apps/v1",
    kind: "ReplicaSet",
    metadata: {
      name: `${API}-${hash}`,
      namespace: NS,
      uid: `rs-${r.number}`,
      creationTimestamp: ago(r.age),
      labels: { app: "api", "pod-template-hash": hash },
      annotations: { [REVISION]: String(r.number), ...r.annotations },
      ownerReferences: [{ apiVersion: "apps/v1", kind: "Deployment", name: API, uid: "d1", controller: true }],
    } as never,
    spec: { replicas: current ? 2 : 0, template: copy },
    status: { readyReplicas: r.ready ?? (current ? 0 : undefined) },
  };
}

export async function live(cluster: MemoryCluster): Promise<KubeObject> {
  const object = await cluster.get(deploymentRef);
  if (object === null) throw new Error("the Deployment is gone");
  return object;
}

/** Changes the Deployment as a person would. */
export async function edit(cluster: MemoryCluster, change: (object: KubeObject) => void): Promise<void> {
  const object = await live(cluster);
  change(object);
  cluster.seed(object);
}

export function plan(
  cluster: MemoryCluster,
  more: { owners?: Owner[]; healthMs?: number } = {},
): Promise<Awaited<ReturnType<typeof runbook.plan>>> {
  return runbook.plan({
    target,
    params: {},
    alerts: [],
    cluster,
    measure: async () => null,
    now: NOW,
    owners: more.owners ?? [],
    settings: { rollbackHealthMs: more.healthMs ?? HEALTH_MS },
  });
}

type Drafted = Parameters<typeof runbook.execute>[0]["plan"];

export function drafted(answer: PlanDraft | Skip): Drafted {
  if (isSkip(answer)) throw new Error(`expected a plan, found ${answer.skip}: ${answer.sentence}`);
  return answer as Drafted;
}

export function refused(answer: PlanDraft | Skip): Skip {
  if (!isSkip(answer)) throw new Error(`expected a refusal, found: ${answer.sentence}`);
  return answer;
}

/** Carries out or undoes a plan as the engine would, without its durability; answers with the names of its steps. */
export async function carryOut(cluster: MemoryCluster, draft: Drafted, way: "execute" | "undo" = "execute") {
  const steps: string[] = [];
  const context = {
    target,
    params: {},
    alerts: [],
    cluster,
    measure: async () => null,
    now: NOW,
    plan: draft,
    step: async (name: string, prepare: () => Promise<Effect>) => {
      steps.push(name);
      const effect = await prepare();
      const object = await cluster.get(effect.object);
      if (object === null || object.metadata.uid !== effect.object.uid) throw new ChangedWorld("another object");
      const changed = effect.changed(object);
      if (changed !== null) throw new ChangedWorld(changed);
      if ("evict" in effect) cluster.remove(effect.object);
      else await cluster.jsonPatch(effect.object, effect.patch(object));
    },
  };
  if (way === "execute") await runbook.execute(context);
  else if (typeof runbook.undo === "function") await runbook.undo(context);
  return steps;
}

/**
 * What the Deployment's controller does to revisions when the template has changed: a ReplicaSet that has it already
 * is taken again under the next number (its creation stays, the old number goes to the history); else one is created.
 */
export async function controllerTurn(cluster: MemoryCluster, now = NOW): Promise<number> {
  const deployment = await live(cluster);
  const sets = await cluster.list({ apiVersion: "apps/v1", kind: "ReplicaSet", namespace: NS });
  const next = Math.max(...sets.map((set) => Number(set.metadata.annotations?.[REVISION]))) + 1;
  const same = sets.find((set) => {
    const bare = structuredClone(set.spec.template);
    delete bare.metadata.labels["pod-template-hash"];
    return isDeepStrictEqual(bare, deployment.spec.template);
  });
  if (same === undefined) {
    cluster.seed(replicaSet({ number: next, age: NOW - now, template: deployment.spec.template }, true));
  } else {
    const old = same.metadata.annotations?.[REVISION] ?? "";
    same.metadata.annotations = {
      ...same.metadata.annotations,
      [REVISION]: String(next),
      "deployment.kubernetes.io/revision-history": old,
    };
    cluster.seed(same);
  }
  await edit(cluster, (object) => {
    object.metadata.annotations = { ...object.metadata.annotations, [REVISION]: String(next) };
  });
  return next;
}
