/** Stand-ins for what Nightshift asks and tells beside the cluster: Alertmanager, Prometheus, PagerDuty. */
import { sendJson, serve } from "../sandbox/http.js";
import { startPagerDuty } from "../sandbox/pagerduty/index.js";
import { startPrometheusStandIn } from "../sandbox/prometheus/index.js";
import type { AlertOf } from "./payload.js";

export type StandIns = Awaited<ReturnType<typeof startStandIns>>;

/** Prometheus has an alerting rule for each alert; its expression holds for every series that is asked about. */
export async function startStandIns(alertnames: readonly string[]) {
  const pager = await startPagerDuty();
  const prometheus = await startPrometheusStandIn(() => Date.now());
  for (const name of alertnames) prometheus.rules.push({ name, query: "sick > 0" });
  prometheus.answer(() => [{ metric: {}, value: 1 }]);
  const active = new Map<string, AlertOf>();
  const alertmanager = await serve("Alertmanager", (request, response) => {
    const path = (request.url ?? "/").split("?")[0];
    if (path !== "/api/v2/alerts") return sendJson(response, 404, "not found");
    sendJson(
      response,
      200,
      [...active.values()].map((alert) => ({
        ...alert,
        annotations: {},
        generatorURL: "",
        status: { state: "active", silencedBy: [], inhibitedBy: [] },
        receivers: [{ name: "nightshift" }],
      })),
    );
  });
  return {
    /** From now on Alertmanager says that it fires. */
    fires(alert: AlertOf): void {
      active.set(`${alert.fingerprint} ${alert.startsAt}`, alert);
    },
    /** Nothing fires any more. */
    quiet: () => active.clear(),
    pages: () => pager.alerts.length,
    env: {
      PROMETHEUS_URL: prometheus.url,
      ALERTMANAGER_URL: alertmanager.url,
      PAGERDUTY_ROUTING_KEY: "0123456789abcdef0123456789abcdef",
      PAGERDUTY_EVENTS_URL: pager.eventsUrl,
    },
    async stop() {
      await Promise.allSettled([pager.stop(), prometheus.stop(), alertmanager.stop()]);
    },
  };
}
