/** What the pipeline needs of the outside; app.ts fills it. */
import type { Alert } from "./alert/alert.js";
import type { Clock, RandomHex } from "./clock.js";
import type { ClusterReader, ClusterWriter } from "./cluster.js";
import type { EnginePorts, JobEnd } from "./execution/ports.js";
import type { LeaseStore, LeaseView } from "./execution/lease.js";
import type { Guard, GuardWorld } from "./guard/guard.js";
import type { StormView } from "./guard/storm.js";
import type { Log } from "./log.js";
import type { Metrics } from "./metrics.js";
import type { PagerPort, SlackPort } from "./notify/notify.js";
import type { GuardSettings, Policy, Rule } from "./policy/policy.js";
import type { Job } from "./queue/jobs.js";
import type { IncidentRecord } from "./record/incident.js";
import type { FactStore, RecordStore } from "./record/store.js";
import type { Transition } from "./record/transition.js";
import type { AnyRemedy, HealthAnswer, HealthCheck, Runbook, Target } from "./runbook.js";
import type { AlertmanagerReader } from "./verify/metrics.js";

/** What Redis knows of a storm. */
export interface StormFacts {
  /** Since when there is one; null where there is none. */
  open: number | null;
  /** Workloads that began to fire within the storm's window. */
  lately: { workload: string; since: number }[];
}

/** What the guards of one gate judge. */
export interface WorldOf {
  rule: Rule;
  remedy: AnyRemedy;
  target: Target;
  /** The target's Lease as the caller has just asked for it. */
  lease?: ReturnType<LeaseStore["read"]>;
  /** What is known of a storm, likewise. */
  storm?: Promise<StormFacts>;
}

export interface PipelinePorts {
  clock: Clock;
  random: RandomHex;
  log: Log;
  metrics: Metrics;
  settings: {
    cluster: string;
    namespace: string;
    install: string;
    url: string;
    /** Slack channel of incidents. */
    channel: string;
    maxAlerts: number;
    maxLabelLength: number;
    /** Log lines that a diagnosis reads. */
    logLines: number;
    guardTimeoutMs: number;
    /** After this long it is read what people did where a rule only observes or proposes. */
    readAfterMs: number;
  };
  policy(): Policy;
  runbooks: ReadonlyMap<string, Runbook>;
  guards: readonly Guard[];
  records: RecordStore;
  facts: FactStore;
  transition: Transition;
  add(job: Job, delayMs?: number): Promise<void>;
  /** True while more is waiting than the limits allow. */
  overloaded(): boolean;
  /** Told of alerts that could not be stored: whoever must be woken is paged directly if that lasts. */
  missed(alerts: readonly Alert[]): void;
  reader: ClusterReader;
  /** Prometheus as runbooks ask it, and services as `check-health` does. */
  measure: EnginePorts["measure"];
  probe: (check: HealthCheck) => Promise<HealthAnswer>;
  leases: LeaseStore;
  holderLives(view: LeaseView): Promise<boolean>;
  /** Writes that the API server checks and throws away; null where this role has no writer. */
  dryRunner: ClusterWriter | null;
  alertmanagers: AlertmanagerReader | null;
  guardWorld(record: IncidentRecord, of: WorldOf): GuardWorld;
  /** Which workloads began to fail within this long, and how many there are. Errors: ClusterError, UnavailableError. */
  storm(settings: GuardSettings["storm"], facts?: Promise<StormFacts>): Promise<StormView>;
  /** False while the store may have forgotten something: nothing is begun then. */
  remembers(): boolean;
  slack: SlackPort | null;
  pager: PagerPort | null;
  /** User ids on call at PagerDuty; null where it cannot be asked. */
  onCall(): Promise<string[] | null>;
  /** Keys of the approvals' HMAC, the newest first; they are not in Redis. */
  keys(): string[];
  /** Only where the role carries out: the engine's own ports, without those that the pipeline fills. */
  engine:
    | (Omit<EnginePorts, "look" | "reserve" | "activity" | "verdict" | "symptom" | "measure"> &
        Pick<EnginePorts, "reserve" | "symptom" | "verdict">)
    | null;
}

export type { JobEnd };
