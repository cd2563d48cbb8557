/** Webhook bodies as kube-prometheus and Alertmanager make them: about 1 kB an alert, every alert another one. */
import { fingerprintOf } from "../src/alert/identity.js";

export interface AlertOf {
  labels: Record<string, string>;
  startsAt: string;
  fingerprint: string;
}

/** The labels of kube-prometheus' KubePodCrashLooping, for pod number `i`. */
export function crashLoop(i: number): Record<string, string> {
  const namespace = `team-${i % 17}`;
  return {
    alertname: "KubePodCrashLooping",
    container: "checkout-api",
    endpoint: "https-main",
    job: "kube-state-metrics",
    namespace,
    pod: `checkout-api-${i.toString(16).padStart(10, "0")}-x${i % 10}`,
    prometheus: "monitoring/k8s",
    reason: "CrashLoopBackOff",
    service: "kube-state-metrics",
    severity: "warning",
    uid: `8c1f2a34-9b1d-4c52-a0c7-${String(i).padStart(12, "0")}`,
  };
}

export function alertOf(labels: Record<string, string>, startsAt = new Date().toISOString()): AlertOf {
  return { labels, startsAt, fingerprint: fingerprintOf(labels) };
}

export function bodyOf(alerts: readonly AlertOf[], groupKey = '{}:{alertname="KubePodCrashLooping"}'): string {
  return JSON.stringify({
    receiver: "nightshift",
    status: "firing",
    alerts: alerts.map((alert) => ({
      status: "firing",
      labels: alert.labels,
      annotations: {
        description: `Pod ${alert.labels["namespace"] ?? ""}/${alert.labels["pod"] ?? ""} is in waiting state (reason: "CrashLoopBackOff").`,
        runbook_url: "https://runbooks.prometheus-operator.dev/runbooks/kubernetes/kubepodcrashlooping",
        summary: "Pod is crash looping.",
      },
      startsAt: alert.startsAt,
      endsAt: "0001-01-01T00:00:00Z",
      generatorURL:
        "http://prometheus-k8s-0:9090/graph?g0.expr=max_over_time%28kube_pod_container_status_waiting_reason%7Bjob%3D%22kube-state-metrics%22%2Creason%3D%22CrashLoopBackOff%22%7D%5B5m%5D%29+%3E%3D+1&g0.tab=1",
      fingerprint: alert.fingerprint,
    })),
    groupLabels: { alertname: alerts[0]?.labels["alertname"] ?? "" },
    commonLabels: {},
    commonAnnotations: {},
    externalURL: "http://alertmanager-main-0:9093",
    version: "4",
    groupKey,
    truncatedAlerts: 0,
  });
}
