/** Pod templates, as runbooks look at them. */
import type { KubeObject } from "../cluster.js";
import { digestOf } from "../plan/digest.js";

const HASH_LABEL = "pod-template-hash";

/** A ReplicaSet's template as its Deployment had it. */
export function withoutHash(template: KubeObject["spec"]): KubeObject["spec"] {
  const copy = structuredClone(template ?? {});
  if (copy.metadata?.labels) delete copy.metadata.labels[HASH_LABEL];
  return copy;
}

const RESTARTED = "kubectl.kubernetes.io/restartedAt";

/** The template apart from when it was last restarted: two that differ in nothing else run the same. */
export function withoutRestart(template: KubeObject["spec"]): KubeObject["spec"] {
  const copy = structuredClone(template ?? {});
  if (copy.metadata?.annotations === undefined) return copy;
  delete copy.metadata.annotations[RESTARTED];
  if (Object.keys(copy.metadata.annotations).length === 0) delete copy.metadata.annotations;
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
