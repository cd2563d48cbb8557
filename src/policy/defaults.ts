/** Every default of the policy, in one place; docs quote it. HAZARDS' table with the design's corrections. */
import type { ApprovalSettings, EscalateSettings, GuardSettings, VerifySettings } from "./policy.js";

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;

export const defaultApproval: ApprovalSettings = {
  from: ["slack-group:sre", "pagerduty:oncall"],
  count: 1,
  expiresMs: 10 * MINUTE,
};

export const defaultEscalate: EscalateSettings = { severity: "from-alert", paging: "alongside" };

export const defaultVerify: VerifySettings = { samples: 4, everyMs: 30 * SECOND, bakeMs: 10 * MINUTE };

export const defaultGuards: GuardSettings = {
  // Alertmanager's default group_interval: past it the alert would have been sent again.
  freshness: { autoMs: 5 * MINUTE, approvedMs: 15 * MINUTE },
  budget: {
    target: { count: 1, withinMs: 30 * MINUTE },
    targetDay: { count: 2, withinMs: 24 * HOUR },
    namespace: { count: 3, withinMs: HOUR },
    cluster: { count: 5, withinMs: HOUR },
    atOnce: 2,
  },
  storm: { workloads: 3, withinMs: 5 * MINUTE, quietMs: 15 * MINUTE, share: 0.2 },
  change: { deployAgeMs: 15 * MINUTE, humanWriteMs: 10 * MINUTE },
  attempts: { automatic: { count: 1, withinMs: HOUR }, flaps: { count: 3, withinMs: 30 * MINUTE } },
  data: { maxAgeMs: 2 * MINUTE },
  rollback: { healthMs: 15 * MINUTE },
};
