/** One alert of a webhook, parsed. Nothing in it is trusted as anything but text. */
export interface Alert {
  /** `fingerprint@startsAt`, as received: nanoseconds kept, never through a Date. PROTOCOL section 2. */
  identity: string;
  fingerprint: string;
  /** RFC 3339 exactly as received. */
  startsAt: string;
  /** RFC 3339 as received; null while firing (the zero time) or absent. */
  endsAt: string | null;
  status: "firing" | "resolved";
  labels: Readonly<Record<string, string>>;
  annotations: Readonly<Record<string, string>>;
  generatorURL: string;
  /** Alertmanager's group, null where there is none (caught up from the API, opened by a person). */
  groupKey: string | null;
  receiver: string;
  /** The Alertmanager that sent it. */
  externalURL: string;
  /** When Nightshift accepted it, milliseconds since the epoch. */
  receivedAt: number;
}

/** The alert's name; every parsed alert has one. */
export function alertName(alert: { labels: Readonly<Record<string, string>> }): string {
  return alert.labels["alertname"] ?? "";
}
