import { sha256 } from "../plan/digest.js";

/** Names of the protocol. PROTOCOL section 2; each is a pure function of what it names. */

/**
 * Names one operation for ever: 32 hex. No run id, no digest, no time in it, so the same step for the same alert on the
 * same object is the same operation whatever Redis forgot. For a run that a person asked for, the request's id stands
 * for the identity.
 */
export function opKey(of: { identity: string; runbook: string; step: string; targetUid: string }): string {
  return sha256([of.identity, of.runbook, of.step, of.targetUid].join("\n")).slice(0, 32);
}

/**
 * The key of one step of a plan. What acts on a pod counts for that pod, whose successor has another UID; everything
 * else counts for the target.
 */
export function planOpKey(
  identity: string,
  plan: { runbook: string; target: { uid: string }; changes: readonly { object: { kind: string; uid: string } }[] },
  step: string,
): string {
  const pod = plan.changes.find((change) => change.object.kind === "Pod")?.object;
  return opKey({ identity, runbook: plan.runbook, step, targetUid: pod?.uid ?? plan.target.uid });
}

/** The run that carries out one posted plan. */
export function runId(incident: string, nonce: string): string {
  return `run-${sha256([incident, nonce].join("\n")).slice(0, 20)}`;
}

/** The target's Lease in Nightshift's namespace. */
export function leaseName(cluster: string, targetUid: string): string {
  return `nightshift-t-${sha256([cluster, targetUid].join("\n")).slice(0, 20)}`;
}

/** The journal name of a step's undo. */
export function undoStep(step: string): string {
  return `undo:${step}`;
}
