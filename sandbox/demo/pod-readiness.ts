import type { Stage } from "./stage.js";

/** Prometheus sees, by kube-state-metrics, which pods of a namespace are not ready: a pod's series ends with the pod. */
export function seePodReadiness(stage: Stage, namespace: string, severity = "warning"): void {
  const { kubernetes } = stage.sandbox();
  stage.prometheus.rules.push({
    name: "KubePodNotReady",
    query: 'kube_pod_status_ready{job="kube-state-metrics",condition="false"} > 0',
    labels: { severity },
  });
  stage.prometheus.answer((expr) => {
    if (expr.includes("(up{")) return [{ metric: { job: "kube-state-metrics" }, value: 1 }];
    if (!expr.includes("kube_pod_status_ready")) return null;
    return kubernetes.list("Pod", namespace).map((pod) => ({
      metric: { namespace, pod: pod.metadata.name as string },
      value: pod.status?.containerStatuses?.[0]?.ready === true ? 0 : 1,
    }));
  });
}
