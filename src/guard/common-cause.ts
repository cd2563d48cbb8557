/**
 * What many failing workloads have in common: a sick node, something that all of them call and that has nobody ready, who
 * failed first, a configuration that changed. Reads only. It is a suspicion with its evidence, never a verdict.
 */
import type { ClusterReader, KubeObject } from "../cluster.js";
import { newestWriter, references } from "../kit/configuration.js";
import { span } from "../kit/templates.js";
import { includesAll, isReady, ownedBy } from "../kit/workload.js";
import { firstToFail, type StormWorkload } from "./storm.js";

export interface Suspicion {
  /** In words; null where nothing can be told. */
  cause: string | null;
  evidence: string[];
}

/** A cause must explain this share of the workloads. */
const MOST = 0.8;
/** A change this long before the first alert may still be why. */
const RECENT_CHANGE_MS = 30 * 60_000;
/** More workloads than these tell nothing new. */
const LOOKED_AT = 40;
const MAPS = 100;

interface Scene {
  workloads: { workload: StormWorkload; object: KubeObject | null; pods: KubeObject[]; text: string }[];
  services: KubeObject[];
  maps: KubeObject[];
  pods: KubeObject[];
  nodes: KubeObject[];
  since: number;
}

/**
 * `since`: when the first of them began to fail, milliseconds. `namespaces`: where else to look for what they call. What may
 * not be read or does not answer is left out: a suspicion less is better than no page.
 */
export async function commonCause(q: {
  workloads: readonly StormWorkload[];
  namespaces: readonly string[];
  cluster: ClusterReader;
  since: number;
}): Promise<Suspicion> {
  const scene = await look(q);
  const found = [
    badNodes(scene),
    deadDependency(scene),
    oneNode(scene),
    first(q.workloads),
    changedConfig(scene),
  ].filter((one) => one !== null);
  const [cause, ...others] = found;
  const evidence = [...(cause?.evidence ?? []), ...others.map((one) => `also: ${one.cause ?? ""}`)];
  const shared = sharedDependency(scene);
  if (shared !== null && !found.some((one) => one.cause?.includes(shared.name))) evidence.push(shared.says);
  return { cause: cause?.cause ?? null, evidence: evidence.slice(0, 6) };
}

async function look(q: Parameters<typeof commonCause>[0]): Promise<Scene> {
  const namespaces = [...new Set([...q.namespaces, ...q.workloads.map((one) => one.namespace)])];
  const list = async (apiVersion: string, kind: string) =>
    (
      await Promise.all(namespaces.map((namespace) => q.cluster.list({ apiVersion, kind, namespace }).catch(() => [])))
    ).flat();
  const [pods, services, nodes, objects] = await Promise.all([
    list("v1", "Pod"),
    list("v1", "Service"),
    q.cluster.list({ apiVersion: "v1", kind: "Node", namespace: "" }).catch(() => []),
    Promise.all(
      q.workloads.slice(0, LOOKED_AT).map(async (workload) => {
        const { kind, namespace, name } = workload;
        const apiVersion = kind === "Pod" ? "v1" : "apps/v1";
        return { workload, object: await q.cluster.get({ apiVersion, kind, namespace, name }).catch(() => null) };
      }),
    ),
  ]);
  const maps = await mapsOf(objects, q.cluster);
  const workloads = objects.map(({ workload, object }) => ({
    workload,
    object,
    pods: pods.filter(
      (pod) => pod.metadata.namespace === workload.namespace && (object === null ? false : owns(object, pod)),
    ),
    text: object === null ? "" : configured(object, maps),
  }));
  return { workloads, services, maps, pods, nodes, since: q.since };
}

/** The ConfigMaps that they name, each read once: who may look at workloads may often not list ConfigMaps. */
async function mapsOf(
  objects: readonly { workload: StormWorkload; object: KubeObject | null }[],
  cluster: ClusterReader,
): Promise<KubeObject[]> {
  const named = new Map<string, { namespace: string; name: string }>();
  for (const { workload, object } of objects) {
    if (object === null) continue;
    for (const { kind, name } of references(templateOf(object)))
      if (kind === "ConfigMap") named.set(`${workload.namespace}/${name}`, { namespace: workload.namespace, name });
  }
  const found = await Promise.all(
    [...named.values()]
      .slice(0, MAPS)
      .map((at) => cluster.get({ apiVersion: "v1", kind: "ConfigMap", ...at }).catch(() => null)),
  );
  return found.filter((map) => map !== null);
}

function owns(object: KubeObject, pod: KubeObject): boolean {
  const wanted = (object.spec?.selector as { matchLabels?: Record<string, string> } | undefined)?.matchLabels ?? {};
  return ownedBy(pod, object.metadata.uid) || includesAll(pod.metadata.labels ?? {}, wanted);
}

/** What a workload is told by its environment and its ConfigMaps: the only place where it says whom it calls. Never shown. */
function configured(object: KubeObject, maps: readonly KubeObject[]): string {
  const template = templateOf(object);
  const containers = (template?.spec?.containers ?? []) as {
    env?: { value?: string }[];
    args?: string[];
    command?: string[];
  }[];
  const own = containers.flatMap((c) => [
    ...(c.env ?? []).map((env) => env.value ?? ""),
    ...(c.args ?? []),
    ...(c.command ?? []),
  ]);
  const named = new Set(
    references(template)
      .filter((ref) => ref.kind === "ConfigMap")
      .map((ref) => ref.name),
  );
  const read = maps
    .filter((map) => map.metadata.namespace === object.metadata.namespace && named.has(map.metadata.name))
    .flatMap((map) => Object.values((map["data"] as Record<string, string> | undefined) ?? {}));
  return [...own, ...read].join("\n");
}

function templateOf(object: KubeObject): KubeObject["spec"] {
  return object.kind === "Pod" ? object : object.spec?.template;
}

function badNodes(scene: Scene): Suspicion | null {
  const bad = scene.nodes.filter((node) => !isReady(node));
  if (bad.length === 0) return null;
  const names = bad.map((node) => node.metadata.name);
  const touched = scene.workloads.filter(({ pods }) => pods.some((pod) => names.includes(nodeOf(pod)))).length;
  // A node that none of them runs on explains nothing, unless there are no workloads to ask about.
  if (scene.workloads.length > 0 && touched < scene.workloads.length * MOST && bad.length < 2) return null;
  return {
    cause: `${bad.length} of ${scene.nodes.length} nodes not ready: ${listed(names)}`,
    evidence: touched === 0 ? [] : [`${touched} of ${scene.workloads.length} workloads have pods there`],
  };
}

/** A Service that most of them are configured to call and behind which nobody is ready. */
function deadDependency(scene: Scene): Suspicion | null {
  for (const { service, callers } of dependencies(scene)) {
    const behind = scene.pods.filter((pod) => selected(service, pod));
    if (behind.some(isReady)) continue;
    return {
      cause: `Service ${nameOf(service)}: ${behind.length === 0 ? "there is no pod behind it" : `none of its ${behind.length} pods is ready`}`,
      evidence: [`${callers} of ${scene.workloads.length} workloads are configured to call it`],
    };
  }
  return null;
}

/** Most of them call it, and it has somebody ready: worth a look, not a cause. */
function sharedDependency(scene: Scene): { name: string; says: string } | null {
  const [most] = dependencies(scene);
  if (most === undefined) return null;
  const name = nameOf(most.service);
  return {
    name,
    says: `${most.callers} of ${scene.workloads.length} workloads are configured to call Service ${name}: look at it`,
  };
}

function dependencies(scene: Scene): { service: KubeObject; callers: number }[] {
  const { workloads } = scene;
  if (workloads.length < 2) return [];
  return scene.services
    .map((service) => ({
      service,
      callers: workloads.filter(
        ({ workload, pods, text }) =>
          calls(text, workload.namespace, service) && !pods.some((pod) => selected(service, pod)),
      ).length,
    }))
    .filter(({ callers }) => callers >= Math.max(2, workloads.length * MOST))
    .sort((a, b) => b.callers - a.callers);
}

/** Whether a host of that name stands in the text: `name` from its own namespace, `name.namespace…` from any. */
function calls(text: string, namespace: string, service: KubeObject): boolean {
  const { name, namespace: home = "" } = service.metadata;
  const hosts = namespace === home ? [name, `${name}.${home}`] : [`${name}.${home}`];
  return hosts.some((host) => {
    for (let at = text.indexOf(host); at >= 0; at = text.indexOf(host, at + 1)) {
      const before = text[at - 1] ?? " ";
      const after = text[at + host.length] ?? " ";
      if (/[/@=,\s"'(]/.test(before) && /[:/.,\s"')?]/.test(after)) return true;
    }
    return false;
  });
}

/** Most of their pods that are not ready lie on one node, and not all pods of the namespaces do. */
function oneNode(scene: Scene): Suspicion | null {
  const counts = new Map<string, number>();
  let sick = 0;
  for (const { pods } of scene.workloads) {
    const nodes = new Set(pods.filter((pod) => !isReady(pod)).map(nodeOf));
    nodes.delete("");
    if (nodes.size > 0) sick += 1;
    for (const node of nodes) counts.set(node, (counts.get(node) ?? 0) + 1);
  }
  const [most] = [...counts].sort((a, b) => b[1] - a[1]);
  const used = new Set(scene.pods.map(nodeOf).filter((node) => node !== ""));
  if (most === undefined || used.size < 2 || most[1] < 3 || most[1] < sick * MOST) return null;
  const elsewhere = [...counts].filter(([node]) => node !== most[0]).reduce((sum, [, n]) => sum + n, 0);
  if (elsewhere > most[1] / 2) return null;
  return {
    cause: `node ${most[0]}: the pods that are not ready lie there`,
    evidence: [`${most[1]} of ${sick} workloads have unready pods on it`],
  };
}

function first(workloads: readonly StormWorkload[]): Suspicion | null {
  const began = firstToFail({ newly: [...workloads] });
  if (began === null) return null;
  const next = Math.min(...workloads.filter((one) => one !== began).map((one) => one.since));
  return {
    cause: `${began.kind} ${began.namespace}/${began.name} began to fail ${span(next - began.since)} before all others`,
    evidence: [],
  };
}

/** A ConfigMap that most of them read and that was written shortly before. */
function changedConfig(scene: Scene): Suspicion | null {
  const counts = new Map<string, number>();
  for (const { object, workload } of scene.workloads) {
    if (object === null) continue;
    for (const ref of references(templateOf(object))) {
      if (ref.kind !== "ConfigMap") continue;
      const key = `${workload.namespace}/${ref.name}`;
      counts.set(key, (counts.get(key) ?? 0) + 1);
    }
  }
  const [shared] = [...counts]
    .filter(([, n]) => n >= Math.max(2, scene.workloads.length * MOST))
    .sort((a, b) => b[1] - a[1]);
  const map = shared === undefined ? undefined : scene.maps.find((one) => nameOf(one) === shared[0]);
  if (shared === undefined || map === undefined) return null;
  const written = Math.max(
    ...(map.metadata.managedFields ?? []).map((entry) => Date.parse(entry.time ?? "") || 0),
    Date.parse(map.metadata.creationTimestamp ?? "") || 0,
  );
  if (written > scene.since || scene.since - written > RECENT_CHANGE_MS) return null;
  return {
    cause: `ConfigMap ${shared[0]} was changed ${span(scene.since - written)} before${newestWriter(map)}`,
    evidence: [`${shared[1]} of ${scene.workloads.length} workloads read it`],
  };
}

function selected(service: KubeObject, pod: KubeObject): boolean {
  return (
    service.metadata.namespace === pod.metadata.namespace &&
    includesAll(pod.metadata.labels ?? {}, (service.spec?.selector ?? {}) as Record<string, string>)
  );
}

function nodeOf(pod: KubeObject): string {
  return (pod.spec as { nodeName?: string } | undefined)?.nodeName ?? "";
}

function nameOf(object: KubeObject): string {
  return `${object.metadata.namespace ?? ""}/${object.metadata.name}`;
}

function listed(names: readonly string[]): string {
  return names.length <= 4 ? names.join(", ") : `${names.slice(0, 3).join(", ")} and ${names.length - 3} more`;
}
