/** Opens every gate that the configuration names: part of the composition root. */
import { createAlertmanagers } from "../clients/alertmanager.js";
import { createKubernetes } from "../clients/kubernetes.js";
import { createPager, createPagerDutyRest } from "../clients/pagerduty.js";
import { createPrometheus } from "../clients/prometheus.js";
import { createSlack } from "../clients/slack.js";
import type { Clock } from "../clock.js";
import type { Config, Secret } from "../config.js";
import type { Log } from "../log.js";

/** The newest value of a secret; read at every use, so that a rotation needs no restart. */
function newest(secret: Secret): () => string {
  return () => secret.values()[0] ?? "";
}

/** Null where the configuration does not name it. Errors: TerminalError for an unusable kubeconfig. */
export async function openClients(config: Config, of: { clock: Clock; log: Log; hands: boolean }) {
  const { clock, log } = of;
  const { routingKey, token, eventsUrl, apiUrl } = config.pagerduty;
  const { botToken } = config.slack;
  return {
    reader: await createKubernetes({ kubeconfig: config.kubeconfig, clock }),
    writer: of.hands
      ? await createKubernetes({ kubeconfig: config.kubeconfigHands ?? config.kubeconfig, clock })
      : null,
    prometheus: config.prometheusUrl === null ? null : createPrometheus(config.prometheusUrl),
    alertmanagers:
      config.alertmanagerUrls.length === 0
        ? null
        : createAlertmanagers(config.alertmanagerUrls, config.alertmanagerReceiver, log),
    pager: routingKey === null ? null : createPager({ routingKey: newest(routingKey), eventsUrl }),
    rest: token === null ? null : createPagerDutyRest({ token: newest(token), apiUrl }),
    slack: botToken === null ? null : await createSlack({ botToken: newest(botToken), apiUrl: config.slack.apiUrl }),
  };
}
