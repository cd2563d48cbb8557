import { createKubernetes, type KubernetesClient } from "../clients/kubernetes.js";
import { systemClock } from "../clock.js";
import type { Config } from "../config.js";
import { messageOf } from "../errors.js";

/** What the cluster says, or why it could not be asked: the audit is told without it too. */
export async function askCluster<T>(
  config: Config,
  ask: (kubernetes: KubernetesClient) => Promise<T>,
): Promise<{ value: T } | { why: string }> {
  let kubernetes: KubernetesClient | null = null;
  try {
    kubernetes = await createKubernetes({
      kubeconfig: config.kubeconfigHands ?? config.kubeconfig,
      clock: systemClock,
    });
    return { value: await ask(kubernetes) };
  } catch (error) {
    return { why: messageOf(error) };
  } finally {
    await kubernetes?.close();
  }
}
