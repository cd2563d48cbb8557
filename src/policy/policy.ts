/** The policy as the rest of Nightshift sees it: parsed, checked, defaults filled in, durations in milliseconds. */
import type { Alert } from "../alert/alert.js";
import type { Reason } from "../record/reasons.js";
import type { NamedTarget, TargetSource } from "../target/target.js";

export const autonomies = ["observe", "propose", "approve", "auto"] as const;
export type Autonomy = (typeof autonomies)[number];

export interface ApprovalSettings {
  /** `slack-group:HANDLE`, `slack-user:U123`, `pagerduty:oncall`. */
  from: string[];
  count: number;
  expiresMs: number;
}

export interface EscalateSettings {
  severity: "from-alert" | "critical" | "error" | "warning" | "info";
  paging: "alongside" | "instead";
}

/** `count` within `withinMs`. */
export interface Rate {
  count: number;
  withinMs: number;
}

export interface GuardSettings {
  freshness: { autoMs: number; approvedMs: number };
  budget: { target: Rate; targetDay: Rate; namespace: Rate; cluster: Rate; atOnce: number };
  storm: { workloads: number; withinMs: number; quietMs: number; share: number };
  change: { deployAgeMs: number; humanWriteMs: number };
  attempts: { automatic: Rate; flaps: Rate };
  data: { maxAgeMs: number };
  rollback: { healthMs: number };
}

export interface VerifySettings {
  samples: number;
  everyMs: number;
  bakeMs: number;
}

export interface Matcher {
  name: string;
  op: "=" | "!=" | "=~" | "!~";
  value: string;
  /** A missing label is the empty text, as in Alertmanager. */
  matches(value: string): boolean;
}

export interface TargetTemplate {
  kind?: string;
  from?: TargetSource;
  /** Literal text or `$labels.x`; `pod` and friends resolve from `name`. */
  namespace: string;
  name: string;
}

export interface Rule {
  name: string;
  /** Place in the file, from 0: the rule that stands first wins. */
  position: number;
  line: number;
  match: Matcher[];
  does:
    | { what: "runbook"; runbook: string; diagnosis: boolean; params: unknown; target: TargetTemplate }
    | { what: "escalate" }
    | { what: "ignore" }
    | { what: "heartbeat"; everyMs: number };
  autonomy: Autonomy;
  approval: ApprovalSettings;
  escalate: EscalateSettings;
  guards: GuardSettings;
  verify: VerifySettings;
}

export interface ManagedCluster {
  name: string;
  namespaces: string[];
}

export interface Policy {
  clusters: ManagedCluster[];
  protected: string[];
  defaults: { autonomy: Autonomy; approval: ApprovalSettings; escalate: EscalateSettings };
  guards: GuardSettings;
  verify: VerifySettings;
  rules: Rule[];
  /** Hex SHA-256 over the files' text, for logs and records. */
  digest: string;
}

export type DecisionKind = "remediate" | "diagnose" | "escalate" | "ignore" | "hold";

/** What the policy says of one alert, with nothing asked but the alert. */
export interface Decision {
  decision: DecisionKind;
  /** Null exactly when `decision` is `remediate`. */
  reason: Reason | null;
  /** A sentence with the values, where the reason alone does not say enough. */
  says: string;
  rule: Rule | null;
  runbook: string | null;
  params: unknown;
  /** The labels' view of the target; null where the rule names none or it could not be read. */
  target: NamedTarget | null;
}

/** Decides offline. `now` is not asked: age is a guard's business. */
export type Decide = (policy: Policy, alert: Alert) => Decision;

/** How bad, as Alertmanager's label says: only `critical` and `page` wake people when nothing else is known. */
export function wakesPeople(labels: Readonly<Record<string, string>>): boolean {
  return labels["severity"] === "critical" || labels["severity"] === "page";
}
