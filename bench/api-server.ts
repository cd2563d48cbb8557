/** The sandbox's API server in a process of its own, so that what it costs is not Nightshift's. It is a stand-in. */
import { startKubernetes } from "../sandbox/kubernetes/kubernetes.js";
import { endWithParent } from "./end.js";

export interface ApiServerReady {
  kubeconfig: string;
}

endWithParent();
const kubernetes = await startKubernetes({ speed: 20, tickMs: 500, namespaces: ["nightshift"] });
process.send?.({ kubeconfig: kubernetes.kubeconfig() } satisfies ApiServerReady);
