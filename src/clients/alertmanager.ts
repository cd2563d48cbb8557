import { z } from "zod";
import { messageOf, UnavailableError } from "../errors.js";
import type { Log } from "../log.js";
import type { ActiveAlert, AlertmanagerReader } from "../verify/metrics.js";
import { fetchJson, splitUrl } from "./http.js";
import { shareAnswer } from "./shared-answer.js";

const TIMEOUT_MS = 5000;
const SHARED_MS = 500;

/** All that is needed of an alert to tell that it fires: a storm has thousands, and each incident asks several times. */
const firing = z.object({
  fingerprint: z.string(),
  startsAt: z.string(),
  status: z.object({ state: z.string() }).nullish(),
});

/** Alertmanager 0.25 leaves out what the newest specification requires: only what is used is asked for. */
const whole = z.array(
  firing.extend({
    labels: z.record(z.string(), z.string()),
    annotations: z.record(z.string(), z.string()).nullish(),
    generatorURL: z.string().nullish(),
    receivers: z.array(z.object({ name: z.string() })).nullish(),
  }),
);
const alone = z.array(firing);

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

  // A storm asks the same thing hundreds of times at once: questions within half a second share one answer.
  const shared = new Map(
    peers.map((peer) => [peer.base, shareAnswer(() => request(peer, alone).then(indexed), SHARED_MS)]),
  );

  /** "Active" may be half a second old. "Not active" must not be older than the question: the alert may be younger. */
  async function fires(base: string, key: string): Promise<boolean> {
    const one = shared.get(base);
    if (one === undefined) return false;
    const { fresh, answer } = one.recent();
    if ((await answer).has(key)) return true;
    return !fresh && (await one.next()).has(key);
  }

  async function request<T extends z.infer<typeof firing>>(
    peer: (typeof peers)[number],
    shape: z.ZodType<T[]>,
  ): Promise<T[]> {
    const query = new URLSearchParams({ active: "true", silenced: "false", inhibited: "false", unprocessed: "false" });
    // The API takes an expression here: the name is quoted so that it stands for itself.
    if (receiver !== "") query.set("receiver", receiver.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));
    const parsed = shape.safeParse(
      await fetchJson("Alertmanager", `${peer.base}/api/v2/alerts?${query}`, {
        headers: peer.headers,
        timeoutMs: TIMEOUT_MS,
      }),
    );
    if (!parsed.success)
      throw new UnavailableError("ERR_UNREADABLE", "Alertmanager answered its alerts in a shape that is not known");
    return parsed.data.filter((alert) => alert.status?.state !== "suppressed");
  }

  return {
    async activity(identity) {
      const key = instantKey(...splitIdentity(identity));
      let unknown = peers.length === 0;
      const answers = await Promise.allSettled(peers.map((peer) => fires(peer.base, key)));
      for (const answer of answers) {
        if (answer.status === "fulfilled") {
          if (answer.value) return "active";
          continue;
        }
        unknown = true;
        log.warn({ error: messageOf(answer.reason) }, "an Alertmanager could not be asked");
      }
      return unknown ? "unknown" : "not-active";
    },
    async active() {
      const seen = new Map<string, ActiveAlert>();
      for (const peer of peers) {
        for (const alert of await request(peer, whole)) {
          const key = instantKey(alert.fingerprint, alert.startsAt);
          if (!seen.has(key)) seen.set(key, activeAlert(alert, peer.base));
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
function instantKey(fingerprint: string, startsAt: string): string {
  return `${fingerprint}@${Math.floor(Date.parse(startsAt))}`;
}

function activeAlert(alert: z.infer<typeof whole>[number], externalURL: string): ActiveAlert {
  return {
    fingerprint: alert.fingerprint,
    startsAt: alert.startsAt,
    labels: alert.labels,
    annotations: alert.annotations ?? {},
    generatorURL: alert.generatorURL ?? "",
    receivers: (alert.receivers ?? []).map((r) => r.name),
    externalURL,
  };
}

function indexed(found: readonly z.infer<typeof firing>[]): Set<string> {
  return new Set(found.map((alert) => instantKey(alert.fingerprint, alert.startsAt)));
}
