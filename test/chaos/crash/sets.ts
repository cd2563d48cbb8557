/** The controllers of StatefulSets and DaemonSets, which the stand-in for an API server does not have: a fake, for tests. */
import type { Raw } from "../../../sandbox/kubernetes/kinds.js";
import type { Kubernetes } from "../../../sandbox/kubernetes/kubernetes.js";

const PODS = 3;

/** Every 100 ms each set whose generation moved has all its pods replaced at once and says that it is up to date. */
export function keepSets(kubernetes: Kubernetes, namespace: string): { stop(): void } {
  const timer = setInterval(() => {
    for (const kind of ["StatefulSet", "DaemonSet"])
      for (const set of kubernetes.list(kind, namespace))
        if (set.status?.observedGeneration !== set.metadata.generation) renew(kubernetes, kind, set);
  }, 100);
  return { stop: () => clearInterval(timer) };
}

function renew(kubernetes: Kubernetes, kind: string, set: Raw): void {
  const { name, namespace, uid, generation } = set.metadata;
  const revision = `${name}-${generation}`;
  for (let i = 0; i < PODS; i += 1) {
    const pod = `${name}-${i}`;
    kubernetes.remove("Pod", namespace, pod);
    kubernetes.seed({
      apiVersion: "v1",
      kind: "Pod",
      metadata: {
        name: pod,
        namespace,
        labels: set.spec.template.metadata.labels,
        ownerReferences: [{ apiVersion: "apps/v1", kind, name, uid, controller: true }],
      },
      spec: { ...set.spec.template.spec, nodeName: "node-1" },
      status: {
        phase: "Running",
        podIP: "10.1.0.1",
        conditions: [{ type: "Ready", status: "True" }],
        containerStatuses: [{ name: "main", ready: true, restartCount: 0, state: { running: {} }, lastState: {} }],
      },
    });
  }
  const counts =
    kind === "DaemonSet"
      ? {
          desiredNumberScheduled: PODS,
          currentNumberScheduled: PODS,
          updatedNumberScheduled: PODS,
          numberAvailable: PODS,
        }
      : {
          replicas: PODS,
          updatedReplicas: PODS,
          readyReplicas: PODS,
          availableReplicas: PODS,
          currentRevision: revision,
          updateRevision: revision,
        };
  kubernetes.seed({ ...set, status: { observedGeneration: generation, ...counts } });
}
