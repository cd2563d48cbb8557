import { kindNamed, type Raw } from "./kinds.js";
import { selectorMatches } from "./select.js";
import { ApiError, badRequest, notFound } from "./status.js";
import type { World } from "./world.js";

/** The Pod's own subresources: logs and eviction. */

/** Errors: ApiError 404, and 400 where there is no such container or nothing was written. */
export function podLog(world: World, at: { namespace: string; name: string }, query: URLSearchParams): string {
  const pod = podAt(world, at);
  const names = (pod.spec.containers as Raw[]).map((container) => container.name as string);
  const container = query.get("container") || (names.length === 1 ? names[0] : undefined);
  if (container === undefined)
    throw badRequest(`a container name must be specified for pod ${at.name}, choose one of: [${names.join(" ")}]`);
  if (!names.includes(container)) throw badRequest(`container ${container} is not valid for pod ${at.name}`);
  const status = ((pod.status.containerStatuses ?? []) as Raw[]).find((one) => one.name === container);
  const waiting = status?.state?.waiting?.reason;
  const previous = query.get("previous") === "true";
  if (previous && status?.lastState?.terminated === undefined) {
    throw badRequest(
      `previous terminated container ${JSON.stringify(container)} in pod ${JSON.stringify(at.name)} not found`,
    );
  }
  if (
    !previous &&
    (status === undefined ||
      waiting === "ImagePullBackOff" ||
      waiting === "ErrImagePull" ||
      waiting === "ContainerCreating")
  ) {
    const why = waiting === "ImagePullBackOff" ? "trying and failing to pull image" : (waiting ?? "PodInitializing");
    throw badRequest(
      `container ${JSON.stringify(container)} in pod ${JSON.stringify(at.name)} is waiting to start: ${why}`,
    );
  }
  const output = world.output.get(pod.metadata.uid);
  // Between two attempts the last container's output is also the present one's.
  let lines = (previous || waiting === "CrashLoopBackOff" ? output?.previous : output?.current) ?? [];
  const tail = query.get("tailLines");
  if (tail !== null) lines = Number(tail) === 0 ? [] : lines.slice(-Number(tail));
  const text = lines.map((line) => `${line}\n`).join("");
  const limit = query.get("limitBytes");
  return limit === null ? text : Buffer.from(text).subarray(0, Number(limit)).toString();
}

function podAt(world: World, at: { namespace: string; name: string }): Raw {
  const kind = kindNamed("Pod");
  const pod = world.store.get(kind, at.namespace, at.name);
  if (pod === undefined) throw notFound(kind, at.name);
  return pod;
}

/** Deletes a Pod unless a disruption budget is against it. Errors: ApiError 404, 409, 429, 500. */
export function evict(
  world: World,
  at: { namespace: string; name: string; manager: string; dryRun: boolean },
  body: Raw,
): Raw {
  const kind = kindNamed("Pod");
  const pod = podAt(world, at);
  const budgets = budgetsOf(world, pod);
  if (budgets.length > 1) {
    throw new ApiError(500, {
      reason: "InternalError",
      message: "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.",
    });
  }
  const [budget] = budgets;
  const healthy = isReady(pod);
  const write = { kind, namespace: at.namespace, name: at.name, subresource: "", manager: at.manager };
  // Preconditions come first: an eviction of another Pod of that name is no matter for its budget.
  world.objects.remove({ ...write, dryRun: true }, body.deleteOptions ?? {});
  if (budget !== undefined) {
    const { currentHealthy, desiredHealthy, disruptionsAllowed } = budgetStatus(world, budget);
    const free = !healthy && currentHealthy >= desiredHealthy && desiredHealthy > 0;
    if (disruptionsAllowed <= 0 && !free) {
      const message = `The disruption budget ${budget.metadata.name} needs ${desiredHealthy} healthy pods and has ${currentHealthy} currently`;
      throw new ApiError(429, {
        reason: "TooManyRequests",
        message: "Cannot evict pod as it would violate the pod's disruption budget.",
        details: { causes: [{ reason: "DisruptionBudget", message }] },
      });
    }
  }
  world.objects.remove({ ...write, dryRun: at.dryRun }, body.deleteOptions ?? {});
  return { kind: "Status", apiVersion: "v1", metadata: {}, status: "Success", code: 201 };
}

export function isReady(pod: Raw): boolean {
  if (pod.metadata.deletionTimestamp !== undefined) return false;
  return ((pod.status?.conditions ?? []) as Raw[]).some(
    (condition) => condition.type === "Ready" && condition.status === "True",
  );
}

function budgetsOf(world: World, pod: Raw): Raw[] {
  return world.store
    .list(kindNamed("PodDisruptionBudget"), pod.metadata.namespace)
    .filter((budget) => selectorMatches(budget.spec.selector, pod.metadata.labels ?? {}));
}

/** Counted over the Pods as they are now. */
export function budgetStatus(
  world: World,
  budget: Raw,
): { currentHealthy: number; desiredHealthy: number; expectedPods: number; disruptionsAllowed: number } {
  const pods = world.store
    .list(kindNamed("Pod"), budget.metadata.namespace)
    .filter(
      (pod) =>
        selectorMatches(budget.spec.selector, pod.metadata.labels ?? {}) &&
        pod.metadata.deletionTimestamp === undefined,
    );
  const expectedPods = wantedPods(world, pods);
  const { minAvailable, maxUnavailable } = budget.spec as {
    minAvailable?: number | string;
    maxUnavailable?: number | string;
  };
  const desiredHealthy = Math.max(
    0,
    minAvailable === undefined
      ? expectedPods - scaled(maxUnavailable ?? 0, expectedPods)
      : scaled(minAvailable, expectedPods),
  );
  const currentHealthy = pods.filter(isReady).length;
  return {
    currentHealthy,
    desiredHealthy,
    expectedPods,
    disruptionsAllowed: Math.max(0, currentHealthy - desiredHealthy),
  };
}

/** What the owners of the Pods want, where they have owners: a percentage is of that. */
function wantedPods(world: World, pods: Raw[]): number {
  const owners = new Map<string, number>();
  let alone = 0;
  for (const pod of pods) {
    const owner = ((pod.metadata.ownerReferences ?? []) as Raw[]).find((reference) => reference.controller);
    const set =
      owner?.kind === "ReplicaSet"
        ? world.store.get(kindNamed("ReplicaSet"), pod.metadata.namespace, owner.name)
        : undefined;
    if (set === undefined) alone += 1;
    else owners.set(set.metadata.uid, set.spec.replicas);
  }
  return [...owners.values()].reduce((sum, replicas) => sum + replicas, alone);
}

/** A number, or a percentage of `of`, rounded up. */
export function scaled(value: number | string, of: number, round: (n: number) => number = Math.ceil): number {
  return typeof value === "number" ? value : round((Number.parseFloat(value) / 100) * of);
}
