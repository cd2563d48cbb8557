/** One alert as Alertmanager would post it, for tests that need no Alertmanager. */
import { TOKEN } from "./world.js";

export function postWebhook(
  port: number,
  of: { alertname: string; fingerprint?: string; signal?: AbortSignal },
): Promise<Response> {
  const { alertname, fingerprint = "00000000000000ff", signal } = of;
  const alert = {
    status: "firing",
    labels: { alertname, severity: "critical" },
    annotations: {},
    startsAt: new Date().toISOString(),
    endsAt: "0001-01-01T00:00:00Z",
    generatorURL: "",
    fingerprint,
  };
  return fetch(`http://127.0.0.1:${port}/webhooks/alertmanager`, {
    method: "POST",
    headers: { "content-type": "application/json", authorization: `Bearer ${TOKEN}` },
    body: JSON.stringify({
      version: "4",
      groupKey: alertname,
      truncatedAlerts: 0,
      status: "firing",
      receiver: "nightshift",
      groupLabels: {},
      commonLabels: {},
      commonAnnotations: {},
      externalURL: "",
      alerts: [alert],
    }),
    ...(signal === undefined ? {} : { signal }),
  });
}
