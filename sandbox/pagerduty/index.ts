/** A stand-in for PagerDuty on loopback: Events API v2 and a little of the REST API. Written from the vendor's stated facts. */
import { createHmac } from "node:crypto";
import { sendJson, serve } from "../http.js";

export interface StandInAlert {
  dedupKey: string;
  state: "triggered" | "acknowledged" | "resolved";
  summary: string;
  severity: string;
  details: Record<string, unknown>;
  /** Triggers merged into it. */
  events: number;
}

export interface PagerDutyStandIn {
  /** The base; `/v2/enqueue` is appended by the client. */
  eventsUrl: string;
  apiUrl: string;
  /** Alerts, the newest last; after a resolve the same key makes a new one. */
  alerts: StandInAlert[];
  calls: { method: string; path: string; body: unknown }[];
  violations: string[];
  onCall: string[];
  /** Services with the keys of their integrations. */
  services: { name: string; status: string; keys: string[] }[];
  /** The next `times` calls to a path that begins so are answered with this, or never. */
  fail(path: string, times: number, answer: number | "hang"): void;
  /** Sends a v3 webhook, signed with every secret given. */
  sendWebhook(url: string, event: Record<string, unknown>, secrets: string[]): Promise<number>;
  stop(): Promise<void>;
}

const SEVERITIES = ["critical", "error", "warning", "info"];

export async function startPagerDuty(): Promise<PagerDutyStandIn> {
  const alerts: StandInAlert[] = [];
  const calls: PagerDutyStandIn["calls"] = [];
  const violations: string[] = [];
  const faults: { path: string; times: number; answer: number | "hang" }[] = [];
  const onCall = ["PUSER1"];
  const services = [{ name: "Platform", status: "active", keys: ["0123456789abcdef0123456789abcdef"] }];

  const served = await serve("PagerDuty", (request, response, body) => {
    const path = (request.url ?? "/").split("?")[0] ?? "/";
    let parsed: unknown = null;
    try {
      parsed = body === "" ? null : JSON.parse(body);
    } catch {
      parsed = body;
    }
    calls.push({ method: request.method ?? "", path, body: parsed });
    const fault = faults.find((one) => path.startsWith(one.path) && one.times > 0);
    if (fault) {
      fault.times -= 1;
      if (fault.answer !== "hang")
        sendJson(response, fault.answer, { status: "throttle exceeded", message: "stand-in fault" });
      return;
    }
    if (path === "/v2/enqueue") {
      const errors = Buffer.byteLength(body) > 512 * 1024 ? ["payload exceeds 512 KB"] : eventFaults(parsed);
      if (errors.length > 0) {
        violations.push(errors.join("; "));
        return sendJson(response, 400, { status: "invalid event", message: "Event object is invalid", errors });
      }
      return sendJson(response, 202, {
        status: "success",
        message: "Event processed",
        dedup_key: enqueue(parsed as Event),
      });
    }
    if (!/^Token token=|^Bearer /.test(String(request.headers["authorization"] ?? "")))
      return sendJson(response, 401, { error: { message: "Authentication failed", code: 2006 } });
    if (path === "/oncalls")
      return sendJson(response, 200, {
        oncalls: onCall.map((id) => ({
          user: { id, type: "user_reference" },
          escalation_level: 1,
          start: null,
          end: null,
        })),
        limit: 25,
        offset: 0,
        more: false,
        total: null,
      });
    if (path === "/services")
      return sendJson(response, 200, {
        services: services.map(({ name, status, keys }) => ({
          name,
          status,
          integrations: keys.map((key) => ({ integration_key: key })),
        })),
        more: false,
      });
    sendJson(response, 404, { error: { message: "Not Found", code: 2100 } });
  });

  function enqueue(event: Event): string {
    const key = event.dedup_key ?? `stand-in-${alerts.length + 1}`;
    const open = alerts.findLast((alert) => alert.dedupKey === key && alert.state !== "resolved");
    if (event.event_action === "trigger") {
      const { payload } = event;
      if (open === undefined)
        alerts.push({
          dedupKey: key,
          state: "triggered",
          summary: payload?.summary ?? "",
          severity: payload?.severity ?? "",
          details: payload?.custom_details ?? {},
          events: 1,
        });
      else {
        open.events += 1;
        open.summary = payload?.summary ?? open.summary;
        open.details = payload?.custom_details ?? open.details;
      }
    } else if (open !== undefined) open.state = event.event_action === "resolve" ? "resolved" : "acknowledged";
    return key;
  }

  return {
    eventsUrl: served.url,
    apiUrl: served.url,
    alerts,
    calls,
    violations,
    onCall,
    services,
    fail: (path, times, answer) => faults.push({ path, times, answer }),
    async sendWebhook(url, event, secrets) {
      const body = JSON.stringify({ event });
      const signature = secrets
        .map((secret) => `v1=${createHmac("sha256", secret).update(body).digest("hex")}`)
        .join(",");
      const answer = await fetch(url, {
        method: "POST",
        body,
        headers: { "content-type": "application/json", "x-pagerduty-signature": signature, "x-webhook-id": "stand-in" },
      });
      return answer.status;
    },
    stop: served.stop,
  };
}

interface Event {
  routing_key: string;
  event_action: "trigger" | "acknowledge" | "resolve";
  dedup_key?: string;
  payload?: { summary: string; source: string; severity: string; custom_details?: Record<string, unknown> };
}

/** What the Events API refuses, in its own words where they are known. */
export function eventFaults(body: unknown): string[] {
  if (typeof body !== "object" || body === null) return ["Event object format is unrecognized"];
  const event = body as Partial<Event> & Record<string, unknown>;
  const errors: string[] = [];
  const key = event.routing_key;
  if (typeof key !== "string" || key === "") errors.push("'routing_key' is missing or blank");
  else {
    if (key.length !== 32) errors.push("Length of 'routing_key' is incorrect (should be 32 characters)");
    if (!/^[A-Za-z0-9]+$/.test(key)) errors.push("'routing_key' cannot contain non-alphanumeric characters.");
  }
  if (!["trigger", "acknowledge", "resolve"].includes(String(event.event_action)))
    errors.push("'event_action' is missing or invalid");
  if (typeof event.dedup_key === "string" && event.dedup_key.length > 255)
    errors.push("'dedup_key' is too long (maximum is 255 characters)");
  if (event.event_action !== "trigger" && event.dedup_key === undefined) errors.push("'dedup_key' is missing or blank");
  if (event.event_action === "trigger") {
    const payload = event.payload as Record<string, unknown> | undefined;
    if (payload === undefined) errors.push("'payload' is missing or blank");
    else {
      if (typeof payload["summary"] !== "string" || payload["summary"] === "")
        errors.push("'payload.summary' is missing or blank");
      else if (payload["summary"].length > 1024)
        errors.push("'payload.summary' is too long (maximum is 1024 characters)");
      if (typeof payload["source"] !== "string" || payload["source"] === "")
        errors.push("'payload.source' is missing or blank");
      if (!SEVERITIES.includes(String(payload["severity"])))
        errors.push("'payload.severity' is invalid (must be one of critical, error, warning, info)");
    }
    for (const link of (event["links"] ?? []) as { href?: unknown }[])
      if (typeof link.href !== "string") errors.push("'links.href' is missing");
  }
  return errors;
}
