/** Credentials by the official client: exec plug-ins, auth providers, impersonation, merged files. Loaded when needed. */
import type { RequestOptions } from "node:https";
import { messageOf, TerminalError } from "../errors.js";
import type { CredentialSource } from "./kubeconfig.js";

/** Errors: TerminalError when there is no usable configuration. */
export async function officialCredentials(of: {
  kubeconfig: string | null;
  context?: string;
}): Promise<CredentialSource> {
  const { KubeConfig } = await import("@kubernetes/client-node");
  const config = new KubeConfig();
  const named = `kubeconfig ${of.kubeconfig ?? "(default)"}`;
  try {
    if (of.kubeconfig === null) config.loadFromDefault();
    else config.loadFromFile(of.kubeconfig);
  } catch (cause) {
    throw new TerminalError("ERR_KUBECONFIG", `${named} cannot be read: ${messageOf(cause)}`, { cause });
  }
  if (of.context !== undefined) config.setCurrentContext(of.context);
  const cluster = config.getCurrentCluster();
  if (cluster === null || cluster === undefined) {
    throw new TerminalError(
      "ERR_KUBECONFIG",
      `${named} has no current context: set KUBECONFIG or run inside a cluster`,
    );
  }
  return {
    server: cluster.server,
    context: config.getCurrentContext(),
    namespace: config.getContextObject(config.getCurrentContext())?.namespace ?? "",
    async read() {
      const https: RequestOptions = {};
      await config.applyToHTTPSOptions(https as never);
      const headers: Record<string, string> = {};
      for (const [name, value] of Object.entries((https.headers ?? {}) as Record<string, unknown>))
        headers[name] = String(value);
      const fromAgent = (https.agent as { options?: Record<string, unknown> } | undefined)?.options ?? {};
      const tls = {
        ca: https.ca ?? fromAgent["ca"],
        cert: https.cert ?? fromAgent["cert"],
        key: https.key ?? fromAgent["key"],
        pfx: https.pfx ?? fromAgent["pfx"],
        passphrase: https.passphrase ?? fromAgent["passphrase"],
        servername: https.servername ?? fromAgent["servername"],
        rejectUnauthorized: !cluster.skipTLSVerify,
      };
      return { headers, tls };
    },
  };
}
