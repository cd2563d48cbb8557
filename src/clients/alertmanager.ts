import { z } from "zod";
import { messageOf, UnavailableError } from "../errors.js";
import type { Log } from "../log.js";
import type { ActiveAlert, AlertmanagerReader } from "../verify/metrics.js";
import { fetchJson, splitUrl } from "./http.js";

const TIMEOUT_MS = 5000;
const SHARED_MS = 500;

/** Alertmanager 0.25 leaves out what the newest specification requires: only what is used is asked for. */
const alerts = z.array(
  z.object({
    fingerprint: z.string(),
    startsAt: z.string(),
    labels: z.record(z.string(), z.string()),
    annotations: z.record(z.string(), z.string()).nullish(),
    generatorURL: z.string().nullish(),
    receivers: z.array(z.object({ name: z.string() })).nullish(),
    status: z.object({ state: z.string() }).nullish(),
  }),
);

export interface AlertmanagerClient extends AlertmanagerReader {
  /** What each says of itself, or why it could not be asked. */
  statuses(): Promise<AlertmanagerStatus[]>;
}

export interface AlertmanagerStatus {
  url: string;
  /** Null where it could not be asked. */
  version: string | null;
  says: string;
  /** `ready`, `settling` or `disabled`; "" where it does not say. */
  cluster: string;
  peers: number;
  /** Its configuration as YAML, secrets hidden by itself; "" where it does not say. */
  config: string;
}

const status = z.object({
  versionInfo: z.object({ version: z.string() }).nullish(),
  cluster: z.object({ status: z.string().nullish(), peers: z.array(z.unknown()).nullish() }).nullish(),
  config: z.object({ original: z.string().nullish() }).nullish(),
});

/** The gate to every configured Alertmanager. `receiver` "" asks for all receivers. */
export function createAlertmanagers(urls: readonly string[], receiver: string, log: Log): AlertmanagerClient {
  const peers = urls.map(splitUrl);

  const asked = new Map<string, { at: number; answer: Promise<ActiveAlert[]> }>();

  /** A storm asks the same thing hundreds of times at once: questions within half a second share one answer. */
  function ask(peer: (typeof peers)[number]): Promise<ActiveAlert[]> {
    const now = performance.now();
    const recent = asked.get(peer.base);
    if (recent !== undefined && now - recent.at < SHARED_MS) return recent.answer;
    const answer = request(peer);
    answer.catch(() => undefined);
    asked.set(peer.base, { at: now, answer });
    return answer;
  }

  async function request(peer: (typeof peers)[number]): Promise<ActiveAlert[]> {
    const query = new URLSearchParams({ active: "true", silenced: "false", inhibited: "false", unprocessed: "false" });
    // The API takes an expression here: the name is quoted so that it stands for itself.
    if (receiver !== "") query.set("receiver", receiver.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));
    const parsed = alerts.safeParse(
      await fetchJson("Alertmanager", `${peer.base}/api/v2/alerts?${query}`, {
        headers: peer.headers,
        timeoutMs: TIMEOUT_MS,
      }),
    );
    if (!parsed.success)
      throw new UnavailableError("ERR_UNREADABLE", "Alertmanager answered its alerts in a shape that is not known");
    return parsed.data
      .filter((alert) => alert.status?.state !== "suppressed")
      .map((alert) => ({
        fingerprint: alert.fingerprint,
        startsAt: alert.startsAt,
        labels: alert.labels,
        annotations: alert.annotations ?? {},
        generatorURL: alert.generatorURL ?? "",
        receivers: (alert.receivers ?? []).map((r) => r.name),
        externalURL: peer.base,
      }));
  }

  return {
    async activity(identity) {
      const [fingerprint = "", startsAt = ""] = splitIdentity(identity);
      let unknown = peers.length === 0;
      const answers = await Promise.allSettled(peers.map(ask));
      for (const answer of answers) {
        if (answer.status === "rejected") {
          unknown = true;
          log.warn({ error: messageOf(answer.reason) }, "an Alertmanager could not be asked");
        } else if (
          answer.value.some((alert) => alert.fingerprint === fingerprint && sameInstant(alert.startsAt, startsAt))
        )
          return "active";
      }
      return unknown ? "unknown" : "not-active";
    },
    async active() {
      const seen = new Map<string, ActiveAlert>();
      for (const peer of peers) {
        for (const alert of await request(peer)) {
          const key = `${alert.fingerprint}@${Date.parse(alert.startsAt)}`;
          if (!seen.has(key)) seen.set(key, alert);
        }
      }
      return [...seen.values()];
    },
    async statuses() {
      return Promise.all(
        peers.map(async (peer): Promise<AlertmanagerStatus> => {
          const { base: url, headers } = peer;
          try {
            const answer = await fetchJson("Alertmanager", `${url}/api/v2/status`, { headers, timeoutMs: TIMEOUT_MS });
            const { versionInfo, cluster, config } = status.parse(answer);
            return {
              url,
              version: versionInfo?.version ?? "unknown",
              says: "answers",
              cluster: cluster?.status ?? "",
              peers: cluster?.peers?.length ?? 0,
              config: config?.original ?? "",
            };
          } catch (error) {
            const says =
              error instanceof z.ZodError ? "it answered its status in a shape that is not known" : messageOf(error);
            return { url, version: null, says, cluster: "", peers: 0, config: "" };
          }
        }),
      );
    },
  };
}

function splitIdentity(identity: string): [string, string] {
  const at = identity.indexOf("@");
  return [identity.slice(0, at), identity.slice(at + 1)];
}

/** The API cuts startsAt to milliseconds where the webhook has nanoseconds: two firings never lie that close. */
function sameInstant(a: string, b: string): boolean {
  return a === b || Math.floor(Date.parse(a)) === Math.floor(Date.parse(b));
}
