import type { RequestOptions } from "node:https";
import { Agent } from "undici";
import type { Clock } from "../clock.js";
import { TerminalError, messageOf } from "../errors.js";

/** Where the API server is and how we show who we are. Nothing here is ever logged but `server` and `context`. */
export interface KubernetesAuth {
  server: string;
  context: string;
  namespace: string;
  /** The present connection pool and headers; read again at most every half minute, or at once after `renew()`. */
  present(): Promise<{ agent: Agent; headers: Record<string, string> }>;
  renew(): void;
  close(): Promise<void>;
}

/** Tokens and certificates rotate: they are read again after this long. */
const FRESH_MS = 30_000;

/**
 * Loads a kubeconfig (or the pod's ServiceAccount) by the official client and takes authentication from it: exec
 * plug-ins, token files, client certificates. Transport is ours: one pool, so that a call does not cost a TLS handshake.
 * Errors: TerminalError when there is no usable configuration.
 */
export async function loadAuth(options: {
  kubeconfig: string | null;
  context?: string;
  clock: Clock;
}): Promise<KubernetesAuth> {
  const { KubeConfig } = await import("@kubernetes/client-node");
  const config = new KubeConfig();
  try {
    if (options.kubeconfig === null) config.loadFromDefault();
    else config.loadFromFile(options.kubeconfig);
  } catch (cause) {
    throw new TerminalError(
      "ERR_KUBECONFIG",
      `kubeconfig ${options.kubeconfig ?? "(default)"} cannot be read: ${messageOf(cause)}`,
      { cause },
    );
  }
  if (options.context !== undefined) config.setCurrentContext(options.context);
  const cluster = config.getCurrentCluster();
  if (cluster === null || cluster === undefined) {
    throw new TerminalError(
      "ERR_KUBECONFIG",
      `kubeconfig ${options.kubeconfig ?? "(default)"} has no current context: set KUBECONFIG or run inside a cluster`,
    );
  }
  const context = config.getContextObject(config.getCurrentContext());
  let cached: { agent: Agent; headers: Record<string, string>; stamp: string; at: number } | null = null;

  async function read() {
    const now = options.clock.monotonic();
    if (cached !== null && now - cached.at < FRESH_MS) return cached;
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
      rejectUnauthorized: !cluster?.skipTLSVerify,
    };
    const connect = Object.fromEntries(Object.entries(tls).filter(([, value]) => value !== undefined));
    const stamp = JSON.stringify([connect, String(tls.ca ?? "").length]);
    const old: typeof cached = cached;
    if (old !== null && old.stamp === stamp) {
      cached = { ...old, headers, at: now };
    } else {
      cached = {
        agent: new Agent({
          connect,
          connections: 16,
          keepAliveTimeout: 30_000,
          headersTimeout: 60_000,
          bodyTimeout: 60_000,
        }),
        headers,
        stamp,
        at: now,
      };
      if (old !== null) void old.agent.close().catch(() => undefined);
    }
    return cached;
  }

  return {
    server: cluster.server.replace(/\/+$/, ""),
    context: config.getCurrentContext(),
    namespace: context?.namespace ?? "",
    present: read,
    renew() {
      if (cached !== null) cached = { ...cached, at: Number.NEGATIVE_INFINITY };
    },
    async close() {
      await cached?.agent.close().catch(() => undefined);
    },
  };
}
