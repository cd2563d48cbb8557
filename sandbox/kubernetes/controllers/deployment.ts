import { isDeepStrictEqual } from "node:util";
import { templateHash } from "../ids.js";
import { kindNamed, type Raw } from "../kinds.js";
import { scaled } from "../pod-requests.js";
import type { World } from "../world.js";
import { create, emit, isLeaving, ownedBy, ownerReference, remove, update } from "./common.js";
import { createDirty } from "./dirty.js";
import { writeDeploymentStatus } from "./deployment-status.js";

/** The Deployment controller: one ReplicaSet per template, revisions, and the rolling update between them. */

const REVISION = "deployment.kubernetes.io/revision";
const HISTORY = "deployment.kubernetes.io/revision-history";
const DESIRED = "deployment.kubernetes.io/desired-replicas";
const MAX = "deployment.kubernetes.io/max-replicas";
const HASH = "pod-template-hash";
/** Annotations that a ReplicaSet does not take from its Deployment. */
const NOT_COPIED = new Set([
  "kubectl.kubernetes.io/last-applied-configuration",
  "deprecated.deployment.rollback.rollbackTo",
  REVISION,
  HISTORY,
  DESIRED,
  MAX,
]);

export function createDeployments(world: World): () => void {
  const dirty = createDirty(world.store);
  return () => {
    for (const deployment of world.store.list(kindNamed("Deployment"))) {
      if (deployment.metadata.deletionTimestamp !== undefined || isLeaving(world, deployment)) continue;
      dirty.visit(deployment, waitsForTime(deployment), () => reconcile(world, deployment));
    }
  };
}

/** Its deadline may pass without anything having changed. */
function waitsForTime(deployment: Raw): boolean {
  const conditions = (deployment.status?.conditions ?? []) as Raw[];
  return conditions.find((one) => one["type"] === "Progressing")?.["reason"] !== "NewReplicaSetAvailable";
}

function reconcile(world: World, deployment: Raw): void {
  const sets = () => ownedBy(world, deployment, kindNamed("ReplicaSet"));
  const old = () => sets().filter((set) => !sameTemplate(set, deployment));
  let created = false;
  let found = sets()
    .filter((set) => sameTemplate(set, deployment))
    .sort(byAge)[0];
  if (found === undefined && !deployment.spec.paused) {
    found = create(
      world,
      newSet(deployment, { revision: maxRevision(old()) + 1, replicas: firstReplicas(deployment, old()) }),
    );
    created = true;
    if (found.spec.replicas > 0) sayScaled(world, deployment, { set: found, from: 0, to: found.spec.replicas });
  } else if (found !== undefined) {
    found = keepRevision(world, { deployment, set: found, old: old() });
  }
  if (found !== undefined && !deployment.spec.paused) roll(world, { deployment, set: found, old: old() });
  else if (found !== undefined && old().every((set) => set.spec.replicas === 0))
    scaleSet(world, { deployment, set: found, to: deployment.spec.replicas });
  const after = sets();
  const current = after.find((set) => set.metadata.uid === found?.metadata.uid);
  const revision = current?.metadata.annotations?.[REVISION];
  const complete = writeDeploymentStatus(world, {
    deployment,
    sets: after,
    current,
    created,
    ...(revision === undefined ? {} : { revision }),
    limits: limits(deployment),
  });
  if (complete) cleanUp(world, deployment, old());
}

function byAge(a: Raw, b: Raw): number {
  const order = Date.parse(a.metadata.creationTimestamp) - Date.parse(b.metadata.creationTimestamp);
  return order !== 0 ? order : a.metadata.name < b.metadata.name ? -1 : 1;
}

function sameTemplate(set: Raw, deployment: Raw): boolean {
  const { [HASH]: _hash, ...labels } = set.spec.template.metadata.labels;
  const bare = { ...set.spec.template, metadata: { ...set.spec.template.metadata, labels } };
  return isDeepStrictEqual(bare, deployment.spec.template);
}

function revisionOf(set: Raw): number {
  return Number(set.metadata.annotations?.[REVISION] ?? 0);
}

function maxRevision(sets: readonly Raw[]): number {
  return Math.max(0, ...sets.map(revisionOf));
}

function limits(deployment: Raw): { surge: number; unavailable: number } {
  const { replicas, strategy } = deployment.spec;
  if (strategy.type === "Recreate") return { surge: 0, unavailable: replicas };
  const surge = scaled(strategy.rollingUpdate.maxSurge, replicas, Math.ceil);
  const unavailable = scaled(strategy.rollingUpdate.maxUnavailable, replicas, Math.floor);
  // Both zero would never move.
  return surge === 0 && unavailable === 0
    ? { surge, unavailable: 1 }
    : { surge, unavailable: Math.min(unavailable, replicas) };
}

function copied(deployment: Raw): Record<string, string> {
  return Object.fromEntries(
    Object.entries((deployment.metadata.annotations ?? {}) as Record<string, string>).filter(
      ([key]) => !NOT_COPIED.has(key),
    ),
  );
}

function replicaAnnotations(deployment: Raw): Record<string, string> {
  const { replicas } = deployment.spec;
  return { [DESIRED]: String(replicas), [MAX]: String(replicas + limits(deployment).surge) };
}

/** How many Pods a new ReplicaSet begins with: as many as may run beside the old ones. */
function firstReplicas(deployment: Raw, old: Raw[]): number {
  const running = sum(old, (set) => set.spec.replicas);
  const { replicas, strategy } = deployment.spec;
  if (strategy.type === "Recreate") return running === 0 ? replicas : 0;
  return Math.max(0, Math.min(replicas, replicas + limits(deployment).surge - running));
}

function newSet(deployment: Raw, of: { revision: number; replicas: number }): Raw {
  const hash = templateHash(deployment.spec.template);
  const labels = { ...deployment.spec.template.metadata.labels, [HASH]: hash };
  return {
    kind: "ReplicaSet",
    apiVersion: "apps/v1",
    metadata: {
      name: `${deployment.metadata.name}-${hash}`,
      namespace: deployment.metadata.namespace,
      labels,
      annotations: { ...copied(deployment), ...replicaAnnotations(deployment), [REVISION]: String(of.revision) },
      ownerReferences: [ownerReference(deployment)],
    },
    spec: {
      replicas: of.replicas,
      ...(deployment.spec.minReadySeconds === undefined ? {} : { minReadySeconds: deployment.spec.minReadySeconds }),
      selector: { ...deployment.spec.selector, matchLabels: { ...deployment.spec.selector.matchLabels, [HASH]: hash } },
      template: { ...deployment.spec.template, metadata: { ...deployment.spec.template.metadata, labels } },
    },
  };
}

/** An old template that comes back keeps its ReplicaSet and gets the newest revision; the old number goes to the history. */
function keepRevision(world: World, of: { deployment: Raw; set: Raw; old: Raw[] }): Raw {
  const { deployment, set } = of;
  const wanted = maxRevision(of.old) + 1;
  const annotations: Record<string, string> = { ...set.metadata.annotations, ...copied(deployment) };
  const present = revisionOf(set);
  if (present < wanted) {
    annotations[REVISION] = String(wanted);
    if (present > 0) {
      const history = annotations[HISTORY] ?? "";
      annotations[HISTORY] = history === "" ? String(present) : `${history},${present}`;
    }
  }
  if (isDeepStrictEqual(annotations, set.metadata.annotations)) return set;
  return update(world, { ...set, metadata: { ...set.metadata, annotations } });
}

function scaleSet(world: World, of: { deployment: Raw; set: Raw; to: number }): Raw {
  const { deployment, set } = of;
  const to = Math.max(0, of.to);
  const annotations = { ...set.metadata.annotations, ...replicaAnnotations(deployment) };
  const from: number = set.spec.replicas;
  if (from === to && isDeepStrictEqual(annotations, set.metadata.annotations)) return set;
  const next = update(world, {
    ...set,
    metadata: { ...set.metadata, annotations },
    spec: { ...set.spec, replicas: to },
  });
  if (from !== to) sayScaled(world, deployment, { set, from, to });
  return next;
}

function sayScaled(world: World, deployment: Raw, of: { set: Raw; from: number; to: number }): void {
  const message = `Scaled ${of.to > of.from ? "up" : "down"} replica set ${of.set.metadata.name} from ${of.from} to ${of.to}`;
  emit(world, deployment, { reason: "ScalingReplicaSet", message, component: "deployment-controller" });
}

function roll(world: World, of: { deployment: Raw; set: Raw; old: Raw[] }): void {
  const { deployment } = of;
  const wanted: number = deployment.spec.replicas;
  let { set } = of;
  if (deployment.spec.strategy.type === "Recreate") {
    for (const old of of.old) if (old.spec.replicas > 0) scaleSet(world, { deployment, set: old, to: 0 });
    if (of.old.every((old) => (old.status?.replicas ?? 0) === 0)) scaleSet(world, { deployment, set, to: wanted });
    return;
  }
  const { surge, unavailable } = limits(deployment);
  const total = sum([set, ...of.old], (one) => one.spec.replicas);
  if (set.spec.replicas > wanted) set = scaleSet(world, { deployment, set, to: wanted });
  else
    set = scaleSet(world, {
      deployment,
      set,
      to: set.spec.replicas + Math.max(0, Math.min(wanted + surge - total, wanted - set.spec.replicas)),
    });
  scaleDownOld(world, { deployment, set, old: of.old, minAvailable: wanted - unavailable });
}

/** Unhealthy Pods of old ReplicaSets go first; healthy ones only as far as enough stay available. */
function scaleDownOld(world: World, of: { deployment: Raw; set: Raw; old: Raw[]; minAvailable: number }): void {
  const { deployment, set, minAvailable } = of;
  let old = [...of.old].filter((one) => one.spec.replicas > 0).sort(byAge);
  const newUnavailable = set.spec.replicas - (set.status?.availableReplicas ?? 0);
  let room = sum([set, ...old], (one) => one.spec.replicas) - minAvailable - newUnavailable;
  if (room <= 0) return;
  old = old.map((one) => {
    const unhealthy = Math.min(Math.max(0, room), one.spec.replicas - (one.status?.availableReplicas ?? 0));
    if (unhealthy <= 0) return one;
    room -= unhealthy;
    return scaleSet(world, { deployment, set: one, to: one.spec.replicas - unhealthy });
  });
  let spare = sum([set, ...old], (one) => one.status?.availableReplicas ?? 0) - minAvailable;
  for (const one of old) {
    const healthy = Math.min(one.spec.replicas, one.status?.availableReplicas ?? 0);
    const down = Math.min(healthy, Math.max(0, spare));
    if (down <= 0) continue;
    spare -= down;
    scaleSet(world, { deployment, set: one, to: one.spec.replicas - down });
  }
}

function cleanUp(world: World, deployment: Raw, old: Raw[]): void {
  const empty = old
    .filter((set) => set.spec.replicas === 0 && (set.status?.replicas ?? 0) === 0)
    .sort((a, b) => revisionOf(a) - revisionOf(b));
  for (const set of empty.slice(0, Math.max(0, empty.length - deployment.spec.revisionHistoryLimit)))
    remove(world, set);
}

export function sum(sets: readonly Raw[], of: (set: Raw) => number): number {
  return sets.reduce((total, set) => total + of(set), 0);
}
