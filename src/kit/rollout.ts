/** Pod templates and rollouts, as runbooks look at them. */
import { type ClusterReader, type KubeObject } from "../cluster.js";
import { digestOf } from "../plan/digest.js";
import type { Json, Look } from "../runbook.js";
import type { Target } from "../target/target.js";

const HASH_LABEL = "pod-template-hash";

/** The rollout as `kubectl rollout status` judges it, and no new restarts since the last look. */
export async function rolloutState(
  target: Target,
  live: KubeObject,
  cluster: ClusterReader,
  memo: Json,
): Promise<{ state: Look["world"]; says: string; memo: Json }> {
  const want = live.spec?.replicas ?? 1;
  const s = (live.status ?? {}) as {
    observedGeneration?: number;
    replicas?: number;
    updatedReplicas?: number;
    availableReplicas?: number;
    conditions?: { type: string; reason?: string }[];
  };
  const pods = (await cluster.list({ apiVersion: "v1", kind: "Pod", namespace: target.namespace })).filter((pod) =>
    belongs(pod, live),
  );
  const restarts = pods.reduce(
    (sum, pod) =>
      sum +
      ((pod.status?.containerStatuses ?? []) as { restartCount?: number }[]).reduce(
        (n, c) => n + (c.restartCount ?? 0),
        0,
      ),
    0,
  );
  const before = (memo as { restarts?: number } | null)?.restarts;
  const says = `rollout ${s.availableReplicas ?? 0}/${want}`;
  const next = { restarts };
  if ((s.observedGeneration ?? 0) < (live.metadata.generation ?? 0))
    return { state: "waiting", says: `${says}, not yet seen by the controller`, memo: next };
  if ((s.conditions ?? []).some((c) => c.type === "Progressing" && c.reason === "ProgressDeadlineExceeded"))
    return { state: "bad", says: `${says}, its progress deadline has passed`, memo: next };
  const complete =
    (s.updatedReplicas ?? 0) === want && (s.replicas ?? 0) === want && (s.availableReplicas ?? 0) === want;
  if (!complete) return { state: "waiting", says, memo: next };
  if (before !== undefined && restarts > before)
    return { state: "waiting", says: `${says}, ${restarts - before} new restarts`, memo: next };
  return { state: "good", says: `${says}, no new restarts`, memo: next };
}

/** Whether a pod is picked by the Deployment's own selector. */
function belongs(pod: KubeObject, deployment: KubeObject): boolean {
  const labels = pod.metadata.labels ?? {};
  const wanted = (deployment.spec?.selector?.matchLabels ?? {}) as Record<string, string>;
  return Object.keys(wanted).length > 0 && Object.entries(wanted).every(([key, value]) => labels[key] === value);
}

/** A ReplicaSet's template as its Deployment had it. */
export function withoutHash(template: KubeObject["spec"]): KubeObject["spec"] {
  const copy = structuredClone(template ?? {});
  if (copy.metadata?.labels) delete copy.metadata.labels[HASH_LABEL];
  return copy;
}

/** Images of the template's containers, those that only prepare the pod first. */
export function imageList(template: KubeObject["spec"]): string[] {
  return [...imagesOf(template?.spec?.initContainers), ...imagesOf(template?.spec?.containers)];
}

/** Images of the containers that stay, for people. */
export function imagesText(template: KubeObject["spec"]): string {
  return imagesOf(template?.spec?.containers).join(", ") || "no image";
}

function imagesOf(containers: unknown): string[] {
  return ((containers ?? []) as { image?: string }[]).map((c) => c.image ?? "");
}

/** In words, never with a value of the environment: it may be a secret. */
export function templateDifferences(from: KubeObject["spec"], to: KubeObject["spec"]): string[] {
  const lines: string[] = [];
  const was = imageList(from);
  imageList(to).forEach((image, i) => {
    if (was[i] !== image) lines.push(`image ${was[i] ?? "none"} → ${image}`);
  });
  const env = (template: KubeObject["spec"]) =>
    new Map(
      ((template?.spec?.containers ?? []) as { env?: { name: string }[] }[]).flatMap((c) =>
        (c.env ?? []).map((e) => [e.name, digestOf(e)] as const),
      ),
    );
  const [before, after] = [env(from), env(to)];
  const names = [...new Set([...before.keys(), ...after.keys()])].filter(
    (name) => before.get(name) !== after.get(name),
  );
  if (names.length > 0) lines.push(`environment: ${names.slice(0, 8).join(", ")} (values not shown)`);
  return lines;
}

/** A duration as people say it. */
export function span(ms: number): string {
  if (ms < 120_000) return `${Math.round(ms / 1000)} s`;
  if (ms < 7_200_000) return `${Math.round(ms / 60_000)} min`;
  if (ms < 172_800_000) return `${Math.round(ms / 3_600_000)} h`;
  return `${Math.round(ms / 86_400_000)} d`;
}
