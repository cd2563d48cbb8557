import type { Autonomy } from "../policy/policy.js";
import type { Plan } from "../record/incident.js";
import type { AnyRemedy, Json, PlanDraft, Target } from "../runbook.js";
import { digestOf } from "./digest.js";

/** What the approval binds: exactly the facts on which the plan depends, never a resourceVersion or a status. */
export function planDigest(
  of: Pick<Plan, "incident" | "runbook" | "version" | "params" | "target" | "changes" | "steps" | "undoSteps" | "risk">,
): string {
  return digestOf({
    incident: of.incident,
    runbook: of.runbook,
    version: of.version,
    params: of.params,
    target: of.target.uid,
    changes: of.changes.map(({ object, field, fromDigest, toDigest }) => ({
      object,
      field,
      from: fromDigest,
      to: toDigest,
    })),
    steps: of.steps,
    undoSteps: of.undoSteps,
    ...(of.risk === undefined ? {} : { risk: of.risk }),
  });
}

/** A draft becomes a posted plan: digest, a fresh nonce of 128 bits, an expiry. */
export function makePlan(
  draft: PlanDraft,
  of: { incident: string; remedy: Pick<AnyRemedy, "name" | "version">; params: Json; target: Target },
  now: { ms: number; expiresMs: number; nonce: string; autonomy: Autonomy; dryRun: string },
): Plan {
  const bound = {
    incident: of.incident,
    runbook: of.remedy.name,
    version: of.remedy.version,
    params: of.params,
    target: of.target,
  };
  const plan = { ...draft, ...bound };
  return {
    ...plan,
    digest: planDigest(plan),
    nonce: now.nonce,
    createdAt: now.ms,
    expiresAt: now.ms + now.expiresMs,
    autonomy: now.autonomy,
    dryRun: now.dryRun,
  };
}

/** What differs between two plans of one incident, in lines for people. */
export function planDifference(before: Plan, after: Plan): string[] {
  const lines: string[] = [];
  if (before.sentence !== after.sentence) lines.push(`${before.sentence} → ${after.sentence}`);
  for (const change of after.changes) {
    const old = before.changes.find((c) => c.field === change.field && c.object.name === change.object.name);
    if (!old) lines.push(`new: ${change.field}`);
    else if (old.fromDigest !== change.fromDigest)
      lines.push(`${change.field}: what is there now is no longer what was approved`);
    else if (old.toDigest !== change.toDigest) lines.push(`${change.field}: what it would become is different`);
  }
  return lines;
}
