import { isDeepStrictEqual } from "node:util";
import { kindNamed, kinds, type Raw } from "../kinds.js";
import { seconds } from "../objects.js";
import { budgetStatus, isReady } from "../pod-requests.js";
import { selectorMatches } from "../select.js";
import type { World } from "../world.js";
import { create, isLeaving, ownerReference, remove, update, writeStatus } from "./common.js";

/** EndpointSlices, disruption budgets, orphans and namespaces. */

export function reconcileServices(world: World): void {
  const sliceKind = kindNamed("EndpointSlice");
  for (const service of world.store.list(kindNamed("Service"))) {
    const selector = service.spec.selector as Record<string, string> | undefined;
    if (isLeaving(world, service) || selector === undefined || Object.keys(selector).length === 0) continue;
    const pods = world.store
      .list(kindNamed("Pod"), service.metadata.namespace)
      .filter(
        (pod) =>
          selectorMatches({ matchLabels: selector }, pod.metadata.labels ?? {}) && pod.status.podIP !== undefined,
      );
    const endpoints = pods.map((pod) => ({
      addresses: [pod.status.podIP],
      conditions: {
        ready: isReady(pod),
        serving: isReady(pod),
        terminating: pod.metadata.deletionTimestamp !== undefined,
      },
      targetRef: { kind: "Pod", namespace: pod.metadata.namespace, name: pod.metadata.name, uid: pod.metadata.uid },
      nodeName: pod.spec.nodeName,
    }));
    const ports = ((service.spec.ports ?? []) as Raw[]).map((port) => ({
      name: port.name ?? "",
      port: port.targetPort,
      protocol: port.protocol,
    }));
    const slice = world.store
      .list(sliceKind, service.metadata.namespace)
      .find((one) => one.metadata.labels?.["kubernetes.io/service-name"] === service.metadata.name);
    if (slice === undefined) {
      const labels = {
        "kubernetes.io/service-name": service.metadata.name,
        "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
      };
      const metadata = {
        generateName: `${service.metadata.name}-`,
        namespace: service.metadata.namespace,
        labels,
        ownerReferences: [ownerReference(service)],
      };
      create(world, {
        kind: "EndpointSlice",
        apiVersion: "discovery.k8s.io/v1",
        metadata,
        addressType: "IPv4",
        endpoints,
        ports,
      });
    } else if (!isDeepStrictEqual(slice.endpoints, endpoints) || !isDeepStrictEqual(slice.ports, ports)) {
      update(world, { ...slice, endpoints, ports });
    }
  }
}

export function reconcileBudgets(world: World): void {
  for (const budget of world.store.list(kindNamed("PodDisruptionBudget"))) {
    const counts = budgetStatus(world, budget);
    const allowed = counts.disruptionsAllowed > 0;
    const before = ((budget.status?.conditions ?? []) as Raw[])[0];
    const status = allowed ? "True" : "False";
    const condition = {
      type: "DisruptionAllowed",
      status,
      observedGeneration: budget.metadata.generation,
      lastTransitionTime: before?.status === status ? before.lastTransitionTime : seconds(world.clock.now()),
      reason: allowed ? "SufficientPods" : "InsufficientPods",
      message: "",
    };
    writeStatus(world, budget, {
      status: { observedGeneration: budget.metadata.generation, ...counts, conditions: [condition] },
    });
  }
}

/** Deletes what belonged to objects that are gone, and everything in namespaces that are going. */
export function collectGarbage(world: World): void {
  const uids = new Set(kinds.flatMap((kind) => world.store.list(kind)).map((object) => object.metadata.uid as string));
  const leaving = new Set(
    world.store
      .list(kindNamed("Namespace"))
      .filter((namespace) => namespace.status?.phase === "Terminating")
      .map((namespace) => namespace.metadata.name as string),
  );
  for (const kind of kinds) {
    if (kind.kind === "Event") continue;
    for (const object of world.store.list(kind)) {
      const owners = (object.metadata.ownerReferences ?? []) as Raw[];
      const orphaned = owners.length > 0 && owners.every((owner) => !uids.has(owner.uid));
      const evicted = kind.namespaced && leaving.has(object.metadata.namespace);
      if ((orphaned || evicted) && object.metadata.deletionTimestamp === undefined) remove(world, object);
    }
  }
  for (const name of leaving) {
    const rest = kinds
      .filter((kind) => kind.namespaced && kind.kind !== "Event")
      .flatMap((kind) => world.store.list(kind, name));
    if (rest.length > 0) continue;
    for (const event of world.store.list(kindNamed("Event"), name))
      world.store.remove(kindNamed("Event"), name, event.metadata.name);
    world.store.remove(kindNamed("Namespace"), "", name);
  }
}

/** Every namespace has a ServiceAccount called default. */
export function reconcileNamespaces(world: World): void {
  for (const namespace of world.store.list(kindNamed("Namespace"))) {
    const name = namespace.metadata.name as string;
    if (
      namespace.status?.phase === "Terminating" ||
      world.store.get(kindNamed("ServiceAccount"), name, "default") !== undefined
    )
      continue;
    create(world, { kind: "ServiceAccount", apiVersion: "v1", metadata: { name: "default", namespace: name } });
  }
}
