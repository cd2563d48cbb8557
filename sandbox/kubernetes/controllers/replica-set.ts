import { kindNamed, type Raw } from "../kinds.js";
import { isReady } from "../pod-requests.js";
import type { World } from "../world.js";
import { createDirty } from "./dirty.js";
import { create, emit, isLeaving, ownedBy, ownerReference, remove, writeStatus } from "./common.js";

/** Keeps the number of Pods, and counts them. */
export function createReplicaSets(world: World): () => void {
  const dirty = createDirty(world.store);
  return () => {
    for (const set of world.store.list(kindNamed("ReplicaSet"))) {
      if (isLeaving(world, set)) continue;
      // Pods count as available by the clock where they must have been ready for a while.
      dirty.visit(set, (set.spec.minReadySeconds ?? 0) > 0, () => reconcile(world, set));
    }
  };
}

function reconcile(world: World, set: Raw): void {
  const all = ownedBy(world, set, kindNamed("Pod"));
  const pods = all.filter(
    (pod) =>
      pod.metadata.deletionTimestamp === undefined && pod.status.phase !== "Failed" && pod.status.phase !== "Succeeded",
  );
  const missing = set.spec.replicas - pods.length;
  for (let i = 0; i < missing; i += 1) addPod(world, set);
  for (const pod of [...pods].sort(leastWanted).slice(0, Math.max(0, -missing))) {
    remove(world, pod);
    emit(world, set, {
      reason: "SuccessfulDelete",
      message: `Deleted pod: ${pod.metadata.name}`,
      component: "replicaset-controller",
    });
  }
  count(world, set);
}

function addPod(world: World, set: Raw): void {
  const { template } = set.spec;
  const pod = create(world, {
    kind: "Pod",
    apiVersion: "v1",
    metadata: {
      ...template.metadata,
      generateName: `${set.metadata.name}-`,
      namespace: set.metadata.namespace,
      ownerReferences: [ownerReference(set)],
    },
    spec: structuredClone(template.spec),
  });
  emit(world, set, {
    reason: "SuccessfulCreate",
    message: `Created pod: ${pod.metadata.name}`,
    component: "replicaset-controller",
  });
}

/** Not ready before ready, young before old. */
function leastWanted(a: Raw, b: Raw): number {
  const ready = Number(isReady(a)) - Number(isReady(b));
  if (ready !== 0) return ready;
  const age = Date.parse(b.metadata.creationTimestamp) - Date.parse(a.metadata.creationTimestamp);
  return age !== 0 ? age : a.metadata.name < b.metadata.name ? -1 : 1;
}

function count(world: World, set: Raw): void {
  const all = ownedBy(world, set, kindNamed("Pod"));
  const pods = all.filter((pod) => pod.metadata.deletionTimestamp === undefined);
  const ready = pods.filter(isReady);
  const settledFor = ((set.spec.minReadySeconds ?? 0) * 1000) / world.speed;
  const available = ready.filter((pod) => settledFor === 0 || world.clock.now() - readySince(pod) >= settledFor);
  const status: Raw = { replicas: pods.length };
  if (pods.length > 0) status.fullyLabeledReplicas = pods.length;
  if (ready.length > 0) status.readyReplicas = ready.length;
  if (available.length > 0) status.availableReplicas = available.length;
  status.terminatingReplicas = all.length - pods.length;
  status.observedGeneration = set.metadata.generation;
  writeStatus(world, set, { status });
}

function readySince(pod: Raw): number {
  const ready = ((pod.status.conditions ?? []) as Raw[]).find((condition) => condition.type === "Ready");
  return Date.parse(ready?.lastTransitionTime ?? "");
}
