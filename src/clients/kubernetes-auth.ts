import { Agent } from "undici";
import type { Clock } from "../clock.js";
import { plainCredentials } from "./kubeconfig.js";
import { officialCredentials } from "./kubeconfig-official.js";

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
 * Takes authentication from a kubeconfig or the pod's ServiceAccount: tokens and certificates are read here, the official
 * client is loaded for whatever else there is. Transport is ours: one pool, so that a call does not cost a TLS handshake.
 * Errors: TerminalError when there is no usable configuration.
 */
export async function loadAuth(options: {
  kubeconfig: string | null;
  context?: string;
  clock: Clock;
}): Promise<KubernetesAuth> {
  const source = plainCredentials(options) ?? (await officialCredentials(options));
  let cached: { agent: Agent; headers: Record<string, string>; stamp: string; at: number } | null = null;

  async function read() {
    const now = options.clock.monotonic();
    if (cached !== null && now - cached.at < FRESH_MS) return cached;
    const { headers, tls } = await source.read();
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
    server: source.server.replace(/\/+$/, ""),
    context: source.context,
    namespace: source.namespace,
    present: read,
    renew() {
      if (cached !== null) cached = { ...cached, at: Number.NEGATIVE_INFINITY };
    },
    async close() {
      await cached?.agent.close().catch(() => undefined);
    },
  };
}
