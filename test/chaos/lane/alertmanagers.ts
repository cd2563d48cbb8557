/** Two stand-ins for Alertmanager: each says by itself what is active, and delivers webhooks until they are taken. */
import { sendJson, serve } from "../../../sandbox/http.js";
import type { HistoryEvent, SentAlert } from "../checker/history.js";

export interface FiringAlert {
  fingerprint: string;
  startsAt: string;
  labels: Record<string, string>;
  annotations: Record<string, string>;
}

export interface AlertmanagerStandIn {
  name: "a" | "b";
  url: string;
  /** What its API says is active, by fingerprint. */
  active: Map<string, FiringAlert>;
  /** Posts a webhook and posts it again while it is not taken, as the real one does. Resolves once it was. */
  deliver(alert: FiringAlert, status: "firing" | "resolved"): Promise<void>;
  stop(): Promise<void>;
}

/** Milliseconds between two tries, and until one counts as unanswered. */
const AGAIN_MS = 200;
const TIMEOUT_MS = 2000;

export async function startStandInAlertmanager(of: {
  name: "a" | "b";
  webhook: string;
  token: string;
  /** Nanoseconds are what tells a webhook's startsAt from the API's. */
  note(event: HistoryEvent): void;
}): Promise<AlertmanagerStandIn> {
  const active = new Map<string, FiringAlert>();
  const stopping = new AbortController();
  const served = await serve("Alertmanager", (request, response) => {
    const path = (request.url ?? "/").split("?")[0];
    if (path === "/api/v2/alerts") return sendJson(response, 200, [...active.values()].map(gettable));
    if (path === "/api/v2/status")
      return sendJson(response, 200, { versionInfo: { version: "stand-in" }, cluster: { status: "disabled" } });
    sendJson(response, path === "/-/ready" ? 200 : 404, "");
  });

  function body(alert: FiringAlert, status: string) {
    const one = {
      status,
      labels: alert.labels,
      annotations: alert.annotations,
      startsAt: alert.startsAt,
      endsAt: status === "firing" ? "0001-01-01T00:00:00Z" : new Date().toISOString(),
      generatorURL: "",
      fingerprint: alert.fingerprint,
    };
    return {
      receiver: "nightshift",
      status,
      alerts: [one],
      groupLabels: {},
      commonLabels: {},
      commonAnnotations: {},
      externalURL: served.url,
      version: "4",
      groupKey: `{}:{service="${alert.labels["service"] ?? ""}"}`,
      truncatedAlerts: 0,
    };
  }

  return {
    name: of.name,
    url: served.url,
    active,
    async deliver(alert, status) {
      const alerts: SentAlert[] = [{ fingerprint: alert.fingerprint, startsAt: alert.startsAt, status }];
      while (!stopping.signal.aborted) {
        const at = Date.now();
        const answer = await fetch(of.webhook, {
          method: "POST",
          headers: { "content-type": "application/json", authorization: `Bearer ${of.token}` },
          body: JSON.stringify(body(alert, status)),
          signal: AbortSignal.any([stopping.signal, AbortSignal.timeout(TIMEOUT_MS)]),
        }).catch(() => null);
        if (answer !== null && (answer.ok || answer.status < 500)) {
          of.note({ kind: "webhook", at, from: of.name, alerts, answer: answer.status });
          return;
        }
        await new Promise((done) => setTimeout(done, AGAIN_MS));
      }
    },
    async stop() {
      stopping.abort();
      await served.stop();
    },
  };
}

/** As the API shows it: times are cut to milliseconds. */
function gettable(alert: FiringAlert) {
  return {
    ...alert,
    startsAt: new Date(alert.startsAt).toISOString(),
    endsAt: new Date(Date.now() + 300_000).toISOString(),
    updatedAt: new Date().toISOString(),
    generatorURL: "",
    receivers: [{ name: "nightshift" }],
    status: { state: "active", silencedBy: [], inhibitedBy: [] },
  };
}
