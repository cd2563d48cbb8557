/** Whether a workload's pods receive traffic. For runbooks. */
import type { ClusterReader, KubeObject } from "../cluster.js";
import { includesAll, isLeaving, isReady } from "./workload.js";

interface Endpoint {
  conditions?: { ready?: boolean };
  targetRef?: { uid?: string };
}

/** For every Service that selects the pods: how many of the ready ones stand ready in its EndpointSlices. Errors: ClusterError. */
export async function served(
  namespace: string,
  pods: readonly KubeObject[],
  cluster: ClusterReader,
): Promise<{ service: string; ready: number; inSlices: number }[]> {
  const ready = pods.filter((pod) => isReady(pod) && !isLeaving(pod));
  const [services, slices] = await Promise.all([
    cluster.list({ apiVersion: "v1", kind: "Service", namespace }),
    cluster.list({ apiVersion: "discovery.k8s.io/v1", kind: "EndpointSlice", namespace }),
  ]);
  return services
    .filter((service) =>
      pods.some((pod) =>
        includesAll(pod.metadata.labels ?? {}, (service.spec?.selector ?? {}) as Record<string, string>),
      ),
    )
    .map((service) => {
      const uids = new Set(
        slices
          .filter((slice) => slice.metadata.labels?.["kubernetes.io/service-name"] === service.metadata.name)
          .flatMap((slice) => (slice["endpoints"] ?? []) as Endpoint[])
          .filter((endpoint) => endpoint.conditions?.ready !== false)
          .map((endpoint) => endpoint.targetRef?.uid),
      );
      const inSlices = ready.filter((pod) => uids.has(pod.metadata.uid)).length;
      return { service: service.metadata.name, ready: ready.length, inSlices };
    });
}
