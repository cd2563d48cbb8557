import { z } from "zod";
import { TerminalError } from "../errors.js";
import type { Alert } from "./alert.js";
import { fingerprintOf, identityOf } from "./identity.js";
import { inert } from "./inert.js";

/** A body that cannot be used as a whole. `field` names the faulty part. Answered with 400. */
export class WebhookFault extends TerminalError {
  readonly field: string;

  constructor(field: string, fault: string) {
    super("ERR_WEBHOOK", `${field}: ${fault}`);
    this.field = field;
  }
}

export interface RejectedAlert {
  index: number;
  field: string;
  fault: string;
  /** The alert as it came, shortened. */
  sample: string;
}

export interface ParsedWebhook {
  alerts: Alert[];
  rejected: RejectedAlert[];
  /** Alerts that Alertmanager cut off (`max_alerts`). */
  truncated: number;
  receiver: string;
  externalURL: string;
  groupKey: string | null;
}

export interface WebhookLimits {
  now: number;
  maxAlerts: number;
  maxLabelLength: number;
}

const envelopeSchema = z.object({
  version: z.enum(["4", "1"], 'expected "4" (Alertmanager) or "1" (Grafana)').optional(),
  status: z.enum(["firing", "resolved"], 'expected "firing" or "resolved"').optional(),
  receiver: z.string().optional(),
  externalURL: z.string().optional(),
  groupKey: z.string().nullish(),
  truncatedAlerts: z.number().int().nonnegative().nullish(),
  alerts: z.array(z.unknown()),
});

const textMap = z.record(z.string(), z.string());

const FINGERPRINT = /^[0-9a-f]{1,32}$/;

const alertSchema = z.object({
  status: z.enum(["firing", "resolved"], 'expected "firing" or "resolved"').optional(),
  labels: textMap,
  annotations: textMap.nullish(),
  startsAt: z.string(),
  endsAt: z.string().nullish(),
  generatorURL: z.string().nullish(),
  fingerprint: z.string().regex(FINGERPRINT, "expected hexadecimal digits").optional(),
});

type RawAlert = z.infer<typeof alertSchema>;

/** RFC 3339 with any number of fractional digits and any offset. */
const RFC3339 = /^\d{4}-\d{2}-\d{2}[Tt]\d{2}:\d{2}:\d{2}(\.\d{1,12})?([Zz]|[+-]\d{2}:\d{2})$/;

/**
 * Parses Alertmanager's webhook v4 and Grafana's form of it. Unknown keys are ignored. One bad alert inside a good body
 * goes to `rejected` and the others go on. Throws WebhookFault when the body as a whole is unusable.
 */
export function parseWebhook(body: unknown, limits: WebhookLimits): ParsedWebhook {
  if (typeof body !== "object" || body === null || Array.isArray(body)) {
    throw new WebhookFault("body", `expected a JSON object, found ${Array.isArray(body) ? "an array" : shown(body)}`);
  }
  const parsed = envelopeSchema.safeParse(body);
  if (!parsed.success) throw new WebhookFault(...faultOf(parsed.error, body, ""));
  const envelope = parsed.data;
  if (envelope.alerts.length > limits.maxAlerts) {
    throw new WebhookFault(
      "alerts",
      `expected at most ${limits.maxAlerts}, found ${envelope.alerts.length}; raise NIGHTSHIFT_MAX_ALERTS or set max_alerts on the receiver`,
    );
  }
  const groupKey = envelope.groupKey ? envelope.groupKey : null;
  const shared = {
    status: envelope.status,
    groupKey,
    receiver: envelope.receiver ?? "",
    externalURL: envelope.externalURL ?? "",
  };
  const alerts: Alert[] = [];
  const rejected: RejectedAlert[] = [];
  envelope.alerts.forEach((raw, index) => {
    const one = parseAlert(raw, shared, limits);
    if ("identity" in one) alerts.push(one);
    else rejected.push({ index, ...one, sample: inert(JSON.stringify(raw) ?? "undefined", 500) });
  });
  return {
    alerts,
    rejected,
    truncated: envelope.truncatedAlerts ?? 0,
    receiver: shared.receiver,
    externalURL: shared.externalURL,
    groupKey,
  };
}

interface Shared {
  status: "firing" | "resolved" | undefined;
  groupKey: string | null;
  receiver: string;
  externalURL: string;
}

function parseAlert(raw: unknown, shared: Shared, limits: WebhookLimits): Alert | { field: string; fault: string } {
  let alert: RawAlert;
  if (isWellFormed(raw)) alert = raw;
  else {
    const parsed = alertSchema.safeParse(raw);
    if (!parsed.success) {
      const [field, fault] = faultOf(parsed.error, raw, "");
      return { field, fault };
    }
    alert = parsed.data;
  }
  const name = alert.labels["alertname"];
  if (name === undefined || name === "") return { field: "labels.alertname", fault: "expected a name, found nothing" };
  for (const [label, value] of Object.entries(alert.labels)) {
    if (label.length > 256)
      return { field: "labels", fault: `expected label names of at most 256 characters, found ${label.length}` };
    if (value.length > limits.maxLabelLength) {
      return {
        field: `labels.${inert(label, 60)}`,
        fault: `expected at most ${limits.maxLabelLength} characters, found ${value.length}`,
      };
    }
  }
  if (!isTime(alert.startsAt))
    return { field: "startsAt", fault: `expected an RFC 3339 time, found ${shown(alert.startsAt)}` };
  const endsAt = alert.endsAt ?? "";
  if (endsAt !== "" && !isTime(endsAt))
    return { field: "endsAt", fault: `expected an RFC 3339 time, found ${shown(endsAt)}` };
  const status = alert.status ?? shared.status;
  if (status === undefined) return { field: "status", fault: 'expected "firing" or "resolved", found nothing' };
  const fingerprint = alert.fingerprint ?? fingerprintOf(alert.labels);
  return {
    identity: identityOf(fingerprint, alert.startsAt),
    fingerprint,
    startsAt: alert.startsAt,
    endsAt: endsAt === "" || endsAt.startsWith("0001-01-01") ? null : endsAt,
    status,
    labels: alert.labels,
    annotations: alert.annotations ?? {},
    generatorURL: alert.generatorURL ?? "",
    groupKey: shared.groupKey,
    receiver: shared.receiver,
    externalURL: shared.externalURL,
    receivedAt: limits.now,
  };
}

/**
 * Whether the schema would take the alert as it is. A storm holds thousands of well-formed alerts, and this says so in a
 * third of the time; whatever it does not know for certain is left to the schema, which also finds the words for a fault.
 */
function isWellFormed(raw: unknown): raw is RawAlert {
  if (typeof raw !== "object" || raw === null || Array.isArray(raw)) return false;
  const { status, labels, annotations, startsAt, endsAt, generatorURL, fingerprint } = raw as Record<string, unknown>;
  return (
    (status === "firing" || status === "resolved") &&
    isTextMap(labels) &&
    isTextMap(annotations) &&
    typeof startsAt === "string" &&
    typeof endsAt === "string" &&
    typeof generatorURL === "string" &&
    typeof fingerprint === "string" &&
    FINGERPRINT.test(fingerprint)
  );
}

function isTextMap(value: unknown): value is Record<string, string> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return false;
  for (const name of Object.keys(value)) {
    if (name === "__proto__" || typeof (value as Record<string, unknown>)[name] !== "string") return false;
  }
  return true;
}

function isTime(text: string): boolean {
  return RFC3339.test(text) && !Number.isNaN(Date.parse(text));
}

/** The first fault, with the field's path and the value found there. */
function faultOf(error: z.ZodError, value: unknown, otherwise: string): [field: string, fault: string] {
  const issue = error.issues[0];
  const path = (issue?.path ?? []).map(String);
  let found: unknown = value;
  for (const key of path)
    found = typeof found === "object" && found !== null ? (found as Record<string, unknown>)[key] : undefined;
  const message = issue?.message ?? "unusable";
  const expected = message.startsWith("expected")
    ? message
    : message.replace(/^Invalid input: /, "").replace(/, received .*$/, "");
  return [path.map((part) => inert(part, 60)).join(".") || otherwise || "alert", `${expected}, found ${shown(found)}`];
}

function shown(value: unknown): string {
  if (value === undefined) return "nothing";
  return inert(JSON.stringify(value) ?? String(value), 80);
}
