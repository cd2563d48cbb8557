/** Alertmanager for demo and tests: the real one where the machine has it, else a stand-in with the same face. */
import { mkdtempSync, writeFileSync } from "node:fs";
import type { ServerResponse } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fingerprintOf } from "../../src/alert/identity.js";
import { durationMs } from "../../src/policy/schema.js";
import { sendJson, serve } from "../http.js";
import { alertmanagerProgram, freePort, run } from "../processes.js";

export interface AlertmanagerOptions {
  webhook: string;
  token: string;
  groupBy?: string[];
  /** How long a new group collects alerts before it is sent, e.g. `1s`; at once unless told. */
  groupWait?: string;
}

/** An alert as it is posted. */
export interface PostedAlert {
  labels: Record<string, string>;
  annotations?: Record<string, string>;
  startsAt?: string;
  endsAt?: string;
  generatorURL?: string;
}

export interface Alertmanager {
  url: string;
  real: boolean;
  /** Fires, or resolves where `endsAt` lies in the past. */
  post(...alerts: PostedAlert[]): Promise<void>;
  stop(): Promise<void>;
}

export async function startAlertmanager(options: AlertmanagerOptions): Promise<Alertmanager> {
  const binary = alertmanagerProgram();
  const face = binary === null ? await startStandIn(options) : await startReal(binary, options);
  return {
    ...face,
    async post(...alerts) {
      const answer = await fetch(`${face.url}/api/v2/alerts`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify(alerts),
      });
      if (!answer.ok) throw new Error(`Alertmanager refused the alerts: ${answer.status} ${await answer.text()}`);
    },
  };
}

/** The configuration that notifies one webhook at once. */
export function alertmanagerConfig(options: AlertmanagerOptions): string {
  return `route: { receiver: nightshift, group_by: [${(options.groupBy ?? ["namespace"]).join(", ")}], group_wait: ${options.groupWait ?? "0s"}, group_interval: 1s, repeat_interval: 1h }
receivers:
  - name: nightshift
    webhook_configs:
      - url: ${options.webhook}
        send_resolved: true
        http_config: { authorization: { type: Bearer, credentials: ${options.token} } }
`;
}

async function startReal(binary: string, options: AlertmanagerOptions) {
  const dir = mkdtempSync(join(tmpdir(), "alertmanager-"));
  const port = await freePort();
  writeFileSync(join(dir, "am.yml"), alertmanagerConfig(options), { mode: 0o600 });
  const args = [
    `--config.file=${join(dir, "am.yml")}`,
    `--storage.path=${dir}`,
    `--web.listen-address=127.0.0.1:${port}`,
    "--cluster.listen-address=",
  ];
  const running = await run(binary, args, { dir, url: `http://127.0.0.1:${port}`, ready: "/-/ready" });
  return { url: running.url, real: true, stop: running.stop };
}

interface Held {
  labels: Record<string, string>;
  annotations: Record<string, string>;
  startsAt: string;
  endsAt: string | null;
  generatorURL: string;
  fingerprint: string;
  notified: "none" | "firing" | "resolved";
}

/** Groups by the given labels, sends at once, again after a second while it is refused with 5xx. */
async function startStandIn(options: AlertmanagerOptions) {
  const alerts = new Map<string, Held>();
  const groupBy = options.groupBy ?? ["namespace"];
  const served = await serve("Alertmanager", (request, response, body) => {
    const path = (request.url ?? "/").split("?")[0];
    if (path === "/-/ready") return sendJson(response, 200, "OK");
    if (path === "/api/v2/status")
      return sendJson(response, 200, { versionInfo: { version: "stand-in" }, cluster: { status: "disabled" } });
    if (path === "/api/v2/alerts" && request.method === "POST") return take(body, response);
    if (path === "/api/v2/alerts")
      return sendJson(response, 200, [...alerts.values()].filter((a) => firing(a)).map(gettable));
    sendJson(response, 404, "not found");
  });

  function take(body: string, response: ServerResponse): void {
    for (const raw of JSON.parse(body) as Partial<Held>[]) {
      const labels = raw.labels ?? {};
      const fingerprint = fingerprintOf(labels);
      const known = alerts.get(fingerprint);
      const again = known !== undefined && firing(known);
      alerts.set(fingerprint, {
        labels,
        annotations: raw.annotations ?? known?.annotations ?? {},
        startsAt: again ? known.startsAt : (raw.startsAt ?? new Date().toISOString()),
        endsAt: raw.endsAt ?? null,
        generatorURL: raw.generatorURL ?? "",
        fingerprint,
        notified: again ? known.notified : "none",
      });
    }
    response.writeHead(200).end();
    setTimeout(() => void notify(), durationMs(options.groupWait ?? "0s") ?? 0);
  }

  function firing(alert: Held): boolean {
    return alert.endsAt === null || Date.parse(alert.endsAt) > Date.now();
  }

  function gettable(alert: Held) {
    return {
      ...alert,
      status: { state: "active", silencedBy: [], inhibitedBy: [] },
      receivers: [{ name: "nightshift" }],
      updatedAt: new Date().toISOString(),
      endsAt: new Date(Date.now() + 300_000).toISOString(),
    };
  }

  async function notify(): Promise<void> {
    const groups = new Map<string, Held[]>();
    for (const alert of alerts.values()) {
      const state = firing(alert) ? "firing" : "resolved";
      if (alert.notified === state || (state === "resolved" && alert.notified === "none")) continue;
      const key = `{}:{${groupBy.map((name) => `${name}=${JSON.stringify(alert.labels[name] ?? "")}`).join(", ")}}`;
      groups.set(key, [...(groups.get(key) ?? []), alert]);
    }
    for (const [groupKey, members] of groups) {
      const all = members.map((a) => ({
        status: firing(a) ? "firing" : "resolved",
        labels: a.labels,
        annotations: a.annotations,
        startsAt: a.startsAt,
        endsAt: firing(a) ? "0001-01-01T00:00:00Z" : a.endsAt,
        generatorURL: a.generatorURL,
        fingerprint: a.fingerprint,
      }));
      const body = {
        receiver: "nightshift",
        status: all.some((a) => a.status === "firing") ? "firing" : "resolved",
        alerts: all,
        groupLabels: {},
        commonLabels: {},
        commonAnnotations: {},
        externalURL: served.url,
        version: "4",
        groupKey,
        truncatedAlerts: 0,
      };
      const answer = await fetch(options.webhook, {
        method: "POST",
        headers: { "content-type": "application/json", authorization: `Bearer ${options.token}` },
        body: JSON.stringify(body),
      }).catch(() => null);
      if (answer?.ok) for (const alert of members) alert.notified = firing(alert) ? "firing" : "resolved";
    }
  }

  const timer = setInterval(() => void notify(), 1000);
  return {
    url: served.url,
    real: false,
    async stop() {
      clearInterval(timer);
      await served.stop();
    },
  };
}
