/** What the demo does to a real cluster and Nightshift never does: roles, tokens and namespaces, by plain requests. */
import { request } from "undici";
import { loadAuth } from "../../src/clients/kubernetes-auth.js";
import { systemClock } from "../../src/clock.js";
import type { Raw } from "../kubernetes/kinds.js";
import { apiVersionOf, kindNamed } from "../kubernetes/kinds.js";

export interface ClusterApi {
  /** Errors: Error with the API server's answer. */
  create(object: Raw): Promise<Raw>;
  /** Deletes exactly this object; done as well when it is gone already. */
  remove(kind: string, of: { namespace: string; name: string; uid: string }): Promise<void>;
  /** A token of a ServiceAccount, good for an hour. */
  token(namespace: string, account: string): Promise<string>;
  /** A kubeconfig for the same cluster with another token. */
  kubeconfigFor(token: string): Promise<string>;
  close(): Promise<void>;
}

const HOUR_SECONDS = 3600;

export async function openClusterApi(kubeconfig: string | null): Promise<ClusterApi> {
  const auth = await loadAuth({ kubeconfig, clock: systemClock });

  async function send(method: "POST" | "DELETE", path: string, body: unknown): Promise<{ status: number; body: Raw }> {
    const { agent, headers } = await auth.present();
    const answer = await request(`${auth.server}${path}`, {
      method,
      dispatcher: agent,
      headers: { ...headers, "content-type": "application/json", "user-agent": "nightshift-demo" },
      body: JSON.stringify(body),
    });
    const text = await answer.body.text();
    if (answer.statusCode >= 300 && answer.statusCode !== 404)
      throw new Error(`${method} ${path}: ${answer.statusCode} ${text.slice(0, 300)}`);
    return { status: answer.statusCode, body: JSON.parse(text) as Raw };
  }

  async function made(path: string, body: unknown): Promise<Raw> {
    const answer = await send("POST", path, body);
    if (answer.status === 404) throw new Error(`POST ${path}: 404 ${String(answer.body["message"] ?? "")}`);
    return answer.body;
  }

  return {
    create: (object) => made(pathOf(object["kind"], object["metadata"].namespace ?? ""), object),
    async remove(kind, { namespace, name, uid }) {
      await send("DELETE", `${pathOf(kind, namespace)}/${name}`, { preconditions: { uid } });
    },
    async token(namespace, account) {
      const answer = await made(`${pathOf("ServiceAccount", namespace)}/${account}/token`, {
        apiVersion: "authentication.k8s.io/v1",
        kind: "TokenRequest",
        spec: { expirationSeconds: HOUR_SECONDS },
      });
      return String(answer["status"].token);
    },
    async kubeconfigFor(token) {
      const { KubeConfig } = await import("@kubernetes/client-node");
      const config = new KubeConfig();
      if (kubeconfig === null) config.loadFromDefault();
      else config.loadFromFile(kubeconfig);
      const here = config.getCurrentCluster();
      const cluster = {
        server: auth.server,
        ...(here?.caData === undefined ? {} : { "certificate-authority-data": here.caData }),
        ...(here?.caFile === undefined ? {} : { "certificate-authority": here.caFile }),
        ...(here?.skipTLSVerify === true ? { "insecure-skip-tls-verify": true } : {}),
        ...(here?.tlsServerName === undefined ? {} : { "tls-server-name": here.tlsServerName }),
        ...(here?.proxyUrl === undefined ? {} : { "proxy-url": here.proxyUrl }),
      };
      // JSON is YAML.
      return JSON.stringify({
        apiVersion: "v1",
        kind: "Config",
        clusters: [{ name: "demo", cluster }],
        users: [{ name: "hands", user: { token } }],
        contexts: [{ name: "demo", context: { cluster: "demo", user: "hands" } }],
        "current-context": "demo",
      });
    },
    close: () => auth.close(),
  };
}

function pathOf(kind: string, namespace: string): string {
  const found = kindNamed(kind);
  const group = apiVersionOf(found);
  const base = group === "v1" ? "/api/v1" : `/apis/${group}`;
  return `${base}${found.namespaced ? `/namespaces/${namespace}` : ""}/${found.plural}`;
}
