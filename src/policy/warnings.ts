import { defaultGuards, defaultVerify } from "./defaults.js";
import type { GuardSettings, Policy, Rate, VerifySettings } from "./policy.js";

/** What a policy makes weaker than the default, in sentences: allowed, but nobody should do it unawares. */
export function warningsOf(policy: Policy): string[] {
  const out = weaker("guards and verify", policy.guards, policy.verify);
  for (const rule of policy.rules) {
    if (rule.does.what !== "runbook") continue;
    out.push(
      ...weaker(`rule ${rule.name}`, rule.guards, rule.verify).filter(
        (line) => !out.includes(line.replace(`rule ${rule.name}`, "guards and verify")),
      ),
    );
    if (rule.autonomy === "auto") out.push(`rule ${rule.name}: autonomy auto acts without asking`);
  }
  return out;
}

function weaker(where: string, guards: GuardSettings, verify: VerifySettings): string[] {
  const out: string[] = [];
  const less = (what: string, found: number, standard: number, unit: string) => {
    if (found < standard)
      out.push(
        `${where}: ${what} is ${found / (unit === "s" ? 1000 : 1)}${unit}, weaker than the default ${standard / (unit === "s" ? 1000 : 1)}${unit}`,
      );
  };
  const more = (what: string, found: number, standard: number) => {
    if (found > standard) out.push(`${where}: ${what} is ${found}, weaker than the default ${standard}`);
  };
  const rate = (what: string, found: Rate, standard: Rate) => {
    if (found.count / found.withinMs > standard.count / standard.withinMs) {
      out.push(
        `${where}: ${what} is ${found.count} in ${found.withinMs / 60_000} min, weaker than the default ${standard.count} in ${standard.withinMs / 60_000} min`,
      );
    }
  };
  const d = defaultGuards;
  rate("budget.target", guards.budget.target, d.budget.target);
  rate("budget.targetDay", guards.budget.targetDay, d.budget.targetDay);
  rate("budget.namespace", guards.budget.namespace, d.budget.namespace);
  rate("budget.cluster", guards.budget.cluster, d.budget.cluster);
  more("budget.atOnce", guards.budget.atOnce, d.budget.atOnce);
  more("storm.workloads", guards.storm.workloads, d.storm.workloads);
  more("storm.share", guards.storm.share, d.storm.share);
  less("storm.quiet", guards.storm.quietMs, d.storm.quietMs, "s");
  less("change.deployAge", guards.change.deployAgeMs, d.change.deployAgeMs, "s");
  less("change.humanWrite", guards.change.humanWriteMs, d.change.humanWriteMs, "s");
  less("rollback.health", guards.rollback.healthMs, d.rollback.healthMs, "s");
  rate("attempts.automatic", guards.attempts.automatic, d.attempts.automatic);
  rate("attempts.flaps", guards.attempts.flaps, d.attempts.flaps);
  more("freshness.auto (ms)", guards.freshness.autoMs, d.freshness.autoMs);
  more("freshness.approved (ms)", guards.freshness.approvedMs, d.freshness.approvedMs);
  more("data.maxAge (ms)", guards.data.maxAgeMs, d.data.maxAgeMs);
  less("verify.samples", verify.samples, defaultVerify.samples, "");
  less("verify.every", verify.everyMs, defaultVerify.everyMs, "s");
  less("verify.bake", verify.bakeMs, defaultVerify.bakeMs, "s");
  return out;
}
