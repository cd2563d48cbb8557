/** Whether pods of a template could start now, as far as the cluster itself can tell. For runbooks. */
import type { ClusterReader, KubeObject } from "../cluster.js";
import { missingReferences } from "./configuration.js";
import { imageList } from "./templates.js";

const CANNOT_PULL = /^(ImagePullBackOff|ErrImagePull|InvalidImageName|ErrImageNeverPull)$/;

interface Named {
  name: string;
  image?: string;
  state?: { waiting?: { reason?: string } };
}

export interface StartQuestion {
  namespace: string;
  template: KubeObject["spec"];
  /** The workload's own pods, asked for meanwhile. */
  pods: readonly KubeObject[] | Promise<readonly KubeObject[]>;
  cluster: ClusterReader;
}

/**
 * A sentence's end for a pod that cannot pull an image of the template, else null: one of the workload's own, or any of
 * the namespace that waits for its first start. The registry itself is not asked; such a pod is proof enough.
 */
export async function cannotPull(q: StartQuestion): Promise<string | null> {
  const wanted = new Set(imageList(q.template));
  const [own, waiting] = await Promise.all([
    q.pods,
    q.cluster.list({ apiVersion: "v1", kind: "Pod", namespace: q.namespace, fieldSelector: "status.phase=Pending" }),
  ]);
  for (const pod of [...own, ...waiting]) {
    const specs = [...(pod.spec?.initContainers ?? []), ...(pod.spec?.containers ?? [])] as Named[];
    const statuses = [
      ...(pod.status?.initContainerStatuses ?? []),
      ...(pod.status?.containerStatuses ?? []),
    ] as Named[];
    for (const status of statuses) {
      const image = specs.find((spec) => spec.name === status.name)?.image ?? status.image ?? "";
      if (wanted.has(image) && CANNOT_PULL.test(status.state?.waiting?.reason ?? ""))
        return `Pod ${q.namespace}/${pod.metadata.name} cannot pull ${image}`;
    }
  }
  return null;
}

/** What keeps a new pod of the template from starting: an image that cannot be pulled, a ConfigMap or Secret that is gone. */
export async function wouldNotStart(q: StartQuestion): Promise<string | null> {
  const [pull, [missing]] = await Promise.all([cannotPull(q), missingReferences(q)]);
  if (pull !== null) return pull;
  return missing === undefined ? null : `${missing} is gone, and its pods need it`;
}
