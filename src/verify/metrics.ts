/** Port to Prometheus, as far as verification, guards and diagnosis use it. */

export interface Sample {
  labels: Record<string, string>;
  value: number;
  /** Milliseconds, as the answer is dated: Prometheus dates an instant query by when it was asked, not by its samples. */
  at: number;
}

/** An alerting rule as Prometheus has it loaded. Durations in milliseconds. */
export interface AlertingRule {
  name: string;
  expr: string;
  forMs: number;
  keepFiringForMs: number;
  labels: Record<string, string>;
  /** How often the group is evaluated. */
  everyMs: number;
}

/** Errors: UnavailableError where Prometheus cannot be asked, TerminalError where the query is refused. */
export interface MetricsReader {
  /** Instant query; an empty list is "no data", never zero. */
  query(expr: string): Promise<Sample[]>;
  /** Alerting rules of that name, in every group. */
  alertingRules(name: string): Promise<AlertingRule[]>;
}

/** Port to all configured Alertmanagers. */
export interface AlertmanagerReader {
  /** `active` if any of them says so; `unknown` if one could not be asked and none said active. */
  activity(identity: string): Promise<"active" | "not-active" | "unknown">;
  /** Every active alert of every Alertmanager for our receiver, as webhook-like objects; throws UnavailableError if one cannot be asked. */
  active(): Promise<ActiveAlert[]>;
}

export interface ActiveAlert {
  fingerprint: string;
  startsAt: string;
  labels: Record<string, string>;
  annotations: Record<string, string>;
  generatorURL: string;
  receivers: string[];
  externalURL: string;
}
