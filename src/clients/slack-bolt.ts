import type { IncomingHttpHeaders } from "node:http";
import type { App, Receiver, ReceiverEvent } from "@slack/bolt";
import type { Log } from "../log.js";
import { messageOf } from "../errors.js";

/** Bolt behind one face: Socket Mode by default, HTTP on Nightshift's own port by setting. */
export interface SlackApp {
  app: App;
  start(): Promise<void>;
  stop(): Promise<void>;
  /** HTTP only: a signed request's raw body; status and body of the answer. */
  http:
    | ((request: {
        rawBody: Buffer;
        headers: IncomingHttpHeaders;
      }) => Promise<{ status: number; body: string | object }>)
    | null;
}

export type SlackMode = { mode: "socket"; appToken: string } | { mode: "http"; signingSecrets(): string[] };

/** Slack waits three seconds for an answer. */
const ACK_MS = 2900;

export async function createSlackApp(
  how: SlackMode,
  options: { botToken(): string; apiUrl: string | null; log: Log },
): Promise<SlackApp> {
  const bolt = await import("@slack/bolt");
  const clientOptions = options.apiUrl === null ? {} : { slackApiUrl: `${options.apiUrl.replace(/\/+$/, "")}/` };
  // Given by us, or Bolt would call auth.test on the first event.
  const authorize = async () => ({ botToken: options.botToken(), botId: "nightshift", botUserId: "nightshift" });
  const quiet = {
    debug: () => undefined,
    info: () => undefined,
    warn: (...words: unknown[]) => options.log.warn({ says: words.map(String).join(" ").slice(0, 500) }, "slack warns"),
    error: (...words: unknown[]) =>
      options.log.warn({ says: words.map(String).join(" ").slice(0, 500) }, "slack reports an error"),
    setLevel: () => undefined,
    getLevel: () => bolt.LogLevel.WARN,
    setName: () => undefined,
  };

  if (how.mode === "socket") {
    // A receiver of its own: the web client's retry settings must not govern reconnecting, or it would give up for ever.
    const receiver = new bolt.SocketModeReceiver({
      appToken: how.appToken,
      logger: quiet,
      installerOptions: { clientOptions },
    } as never);
    const app = new bolt.App({ receiver, authorize, clientOptions, logger: quiet } as never);
    app.error(async (error) => options.log.warn({ says: messageOf(error) }, "a Slack listener failed"));
    return {
      app,
      http: null,
      async start() {
        await app.start();
      },
      async stop() {
        await app.stop();
      },
    };
  }

  const { verifySlackRequest } = bolt;
  let deliver: ((event: ReceiverEvent) => Promise<void>) | null = null;
  const receiver: Receiver = {
    init(app) {
      deliver = (event) => app.processEvent(event);
    },
    start: async () => undefined,
    stop: async () => undefined,
  };
  const app = new bolt.App({ receiver, authorize, clientOptions, logger: quiet } as never);
  app.error(async (error) => options.log.warn({ says: messageOf(error) }, "a Slack listener failed"));
  return {
    app,
    start: async () => undefined,
    stop: async () => undefined,
    async http({ rawBody, headers }) {
      const text = rawBody.toString("utf8");
      const signed = {
        "x-slack-signature": String(headers["x-slack-signature"] ?? ""),
        "x-slack-request-timestamp": Number(headers["x-slack-request-timestamp"] ?? Number.NaN),
      };
      const valid = how.signingSecrets().some((signingSecret) => {
        try {
          verifySlackRequest({ signingSecret, body: text, headers: signed });
          return true;
        } catch {
          return false;
        }
      });
      if (!valid) return { status: 401, body: "" };
      const body = parseBody(text, String(headers["content-type"] ?? ""));
      if (body === null) return { status: 400, body: "" };
      if (body["ssl_check"] !== undefined) return { status: 200, body: "" };
      if (body["type"] === "url_verification") return { status: 200, body: { challenge: body["challenge"] } };
      return answered(deliver, body);
    },
  };
}

/** Runs the listeners and answers what they acknowledge with, within Slack's three seconds. */
async function answered(
  deliver: ((event: ReceiverEvent) => Promise<void>) | null,
  body: Record<string, unknown>,
): Promise<{ status: number; body: string | object }> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => resolve({ status: 503, body: "" }), ACK_MS);
    const ack = async (response?: unknown) => {
      clearTimeout(timer);
      resolve({ status: 200, body: (response as string | object | undefined) ?? "" });
    };
    void deliver?.({ body, ack } as ReceiverEvent).catch(() => undefined);
  });
}

function parseBody(text: string, contentType: string): Record<string, unknown> | null {
  try {
    if (contentType.includes("application/json")) return JSON.parse(text) as Record<string, unknown>;
    const form = new URLSearchParams(text);
    const payload = form.get("payload");
    return payload === null ? Object.fromEntries(form) : (JSON.parse(payload) as Record<string, unknown>);
  } catch {
    return null;
  }
}
