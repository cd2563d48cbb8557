/** A stand-in for the cluster's autoscaler: it sets replicas as a HorizontalPodAutoscaler's bounds and the load say. */
import type { Kubernetes } from "../kubernetes/kubernetes.js";

const WHO = "system:serviceaccount:kube-system:horizontal-pod-autoscaler";
const TOKEN = "autoscaler";
const EVERY_MS = 500;

/**
 * Follows one HorizontalPodAutoscaler until it is stopped. `wanted` is how many pods the load asks for; minReplicas and
 * maxReplicas bound it, and the Deployment is written by its scale subresource, as the controller of a cluster does.
 */
export function startAutoscaler(
  kubernetes: Kubernetes,
  of: { namespace: string; name: string; wanted(): number },
): () => void {
  kubernetes.addIdentity({
    token: TOKEN,
    user: WHO,
    rules: [{ verbs: ["get", "patch"], groups: ["apps"], resources: ["deployments/scale"] }],
  });
  let busy = false;
  async function look(): Promise<void> {
    const { spec } = kubernetes.get("HorizontalPodAutoscaler", of.namespace, of.name) ?? {};
    const target: string = spec?.scaleTargetRef.name ?? "";
    const replicas: number | undefined = kubernetes.get("Deployment", of.namespace, target)?.spec.replicas;
    if (spec === undefined || replicas === undefined) return;
    const wanted = Math.max(spec.minReplicas ?? 1, Math.min(spec.maxReplicas, of.wanted()));
    if (wanted === replicas) return;
    const path = `/apis/apps/v1/namespaces/${of.namespace}/deployments/${target}/scale`;
    await fetch(`${kubernetes.url}${path}?fieldManager=horizontal-pod-autoscaler`, {
      method: "PATCH",
      headers: { authorization: `Bearer ${TOKEN}`, "content-type": "application/merge-patch+json" },
      body: JSON.stringify({ spec: { replicas: wanted } }),
    });
  }
  const timer = setInterval(() => {
    if (busy) return;
    busy = true;
    void look()
      .catch(() => undefined)
      .finally(() => {
        busy = false;
      });
  }, EVERY_MS);
  return () => clearInterval(timer);
}
