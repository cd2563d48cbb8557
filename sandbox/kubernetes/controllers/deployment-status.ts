import type { Raw } from "../kinds.js";
import { seconds } from "../objects.js";
import type { World } from "../world.js";
import { writeStatus } from "./common.js";

const REVISION = "deployment.kubernetes.io/revision";

interface Input {
  deployment: Raw;
  sets: readonly Raw[];
  current: Raw | undefined;
  /** Whether the current ReplicaSet was made just now. */
  created: boolean;
  revision?: string;
  limits: { unavailable: number };
}

interface Condition {
  type: string;
  status: "True" | "False";
  reason: string;
  message: string;
}

/** Writes counts and conditions as the real controller would; true when the rollout is complete. */
export function writeDeploymentStatus(world: World, of: Input): boolean {
  const { deployment, sets, current } = of;
  const count = (field: string) => sets.reduce((total, set) => total + (set.status?.[field] ?? 0), 0);
  const available = count("availableReplicas");
  const totals = {
    replicas: count("replicas"),
    updatedReplicas: (current?.status?.replicas ?? 0) as number,
    readyReplicas: count("readyReplicas"),
    availableReplicas: available,
    unavailableReplicas: Math.max(0, sets.reduce((total, set) => total + set.spec.replicas, 0) - available),
  };
  const old: Raw = deployment.status ?? {};
  const wanted: number = deployment.spec.replicas;
  const conditions: Raw[] = [...(old.conditions ?? [])];
  const now = seconds(world.clock.now());

  const enough = available >= wanted - of.limits.unavailable;
  setCondition(conditions, now, {
    type: "Available",
    status: enough ? "True" : "False",
    reason: enough ? "MinimumReplicasAvailable" : "MinimumReplicasUnavailable",
    message: enough ? "Deployment has minimum availability." : "Deployment does not have minimum availability.",
  });

  const complete =
    totals.updatedReplicas === wanted &&
    totals.replicas === wanted &&
    available === wanted &&
    (deployment.metadata.generation ?? 0) >= (old.observedGeneration ?? 0) &&
    current !== undefined;
  progress(world, { ...of, totals, old, conditions, complete, now });

  const status: Raw = { observedGeneration: deployment.metadata.generation };
  for (const [field, value] of Object.entries(totals)) if (value !== 0) status[field] = value;
  status.terminatingReplicas = count("terminatingReplicas");
  status.conditions = conditions;
  const annotations =
    of.revision === undefined ? undefined : { ...deployment.metadata.annotations, [REVISION]: of.revision };
  writeStatus(world, deployment, { status, ...(annotations === undefined ? {} : { annotations }) });
  return complete;
}

interface Progress extends Input {
  totals: { replicas: number; updatedReplicas: number; readyReplicas: number; availableReplicas: number };
  old: Raw;
  conditions: Raw[];
  complete: boolean;
  now: string;
}

function progress(world: World, of: Progress): void {
  const { totals, old, conditions, now, current, deployment } = of;
  const name = current?.metadata.name ?? deployment.metadata.name;
  const condition = conditions.find((one) => one.type === "Progressing");
  const say = (status: "True" | "False", reason: string, message: string) =>
    setCondition(conditions, now, { type: "Progressing", status, reason, message });
  if (of.created) return say("True", "NewReplicaSetCreated", `Created new replica set "${name}"`);
  if (deployment.spec.paused) {
    if (condition?.reason !== "DeploymentPaused")
      conditions.splice(0, conditions.length, ...conditions.filter((one) => one.type !== "Progressing"), {
        type: "Progressing",
        status: "Unknown",
        reason: "DeploymentPaused",
        message: "Deployment is paused",
        lastUpdateTime: now,
        lastTransitionTime: now,
      });
    return;
  }
  if (condition?.reason === "DeploymentPaused") say("True", "DeploymentResumed", "Deployment is resumed");
  const settled = totals.replicas === totals.updatedReplicas && condition?.reason === "NewReplicaSetAvailable";
  if (settled) return;
  if (of.complete) return say("True", "NewReplicaSetAvailable", `ReplicaSet "${name}" has successfully progressed.`);
  const moved =
    totals.updatedReplicas > (old.updatedReplicas ?? 0) ||
    totals.replicas - totals.updatedReplicas < (old.replicas ?? 0) - (old.updatedReplicas ?? 0) ||
    totals.readyReplicas > (old.readyReplicas ?? 0) ||
    totals.availableReplicas > (old.availableReplicas ?? 0);
  if (moved) {
    // Progress moves the clock of the deadline, even where nothing else changes.
    const at = conditions.find((one) => one.type === "Progressing");
    say("True", "ReplicaSetUpdated", `ReplicaSet "${name}" is progressing.`);
    if (at !== undefined)
      conditions.splice(
        conditions.findIndex((one) => one.type === "Progressing"),
        1,
        { ...conditions.find((one) => one.type === "Progressing"), lastUpdateTime: now },
      );
    return;
  }
  if (
    condition === undefined ||
    condition.reason === "NewReplicaSetAvailable" ||
    condition.reason === "ProgressDeadlineExceeded"
  )
    return;
  const deadline = (deployment.spec.progressDeadlineSeconds * 1000) / world.speed;
  if (world.clock.now() - Date.parse(condition.lastUpdateTime) > deadline) {
    say("False", "ProgressDeadlineExceeded", `ReplicaSet "${name}" has timed out progressing.`);
  }
}

function setCondition(conditions: Raw[], now: string, next: Condition): void {
  const index = conditions.findIndex((one) => one.type === next.type);
  const old = conditions[index];
  if (old === undefined) {
    conditions.push({ ...next, lastUpdateTime: now, lastTransitionTime: now });
  } else if (old.status !== next.status || old.reason !== next.reason || old.message !== next.message) {
    conditions[index] = {
      ...next,
      lastUpdateTime: now,
      lastTransitionTime: old.status === next.status ? old.lastTransitionTime : now,
    };
  }
}
