/** A stand-in for Slack on loopback: Web API, Socket Mode and signed HTTP. It says so in every answer's `server` header. */
import { createHmac } from "node:crypto";
import type { ServerResponse } from "node:http";
import { sendJson, serve } from "../http.js";
import { startSockets, type Sockets } from "./sockets.js";
import { blockFaults } from "./validate.js";

export interface StandInMessage {
  channel: string;
  ts: string;
  threadTs: string | null;
  text: string;
  blocks: Record<string, unknown>[];
  metadata: Record<string, unknown> | null;
  edits: number;
}

export interface Fault {
  method: string;
  /** How often; then it works again. */
  times: number;
  answer: { status: number; body?: unknown; headers?: Record<string, string> } | "hang" | "drop-after-applying";
}

export interface SlackOptions {
  /** Members of user groups by handle. */
  groups?: Record<string, string[]>;
  channels?: string[];
  /** Scopes of the bot's token; those of deploy/slack-app-manifest.yaml unless told. */
  scopes?: string[];
  signingSecret?: string;
  /** Extra checks, e.g. by JSON Schema; what it returns is refused as `invalid_blocks`. */
  check?(method: string, args: Record<string, unknown>): string[];
}

export interface SlackStandIn {
  /** Ends in `/api/`. */
  apiUrl: string;
  calls: { method: string; args: Record<string, unknown>; at: number }[];
  /** Calls that Slack would have refused, with why. */
  violations: string[];
  messages: StandInMessage[];
  /** Words shown to one user only. */
  whispers: { channel: string; user: string; text: string }[];
  fail(fault: Fault): void;
  /** A user presses a button of the message; over Socket Mode, or signed to `url`. Resolves with what was acknowledged. */
  press(
    message: StandInMessage,
    actionId: string,
    options: { user: string; name?: string; url?: string },
  ): Promise<unknown>;
  command(text: string, options: { user: string; name?: string; url?: string }): Promise<unknown>;
  connected(): number;
  /** Asks every socket to reconnect, as Slack does a few times a day. */
  refresh(): void;
  stop(): Promise<void>;
}

const SCOPES = ["chat:write", "commands", "usergroups:read", "channels:history", "groups:history"];

export async function startSlack(options: SlackOptions = {}): Promise<SlackStandIn> {
  const groups = options.groups ?? { sre: ["U1"] };
  const channels = new Set(options.channels ?? ["C0SRE"]);
  const scopes = options.scopes ?? SCOPES;
  const signingSecret = options.signingSecret ?? "sandbox-signing-secret";
  const state = {
    messages: [] as StandInMessage[],
    whispers: [] as SlackStandIn["whispers"],
    calls: [] as SlackStandIn["calls"],
    violations: [] as string[],
    faults: [] as Fault[],
  };
  let clock = 1_790_000_000;
  let sockets: Sockets | null = null;

  const served = await serve("Slack", async (request, response, body) => {
    const path = new URL(request.url ?? "/", "http://stand-in").pathname;
    if (path.startsWith("/response/")) return sendJson(response, 200, { ok: true });
    const method = path.replace(/^\/api\//, "");
    const args = parseArgs(body, String(request.headers["content-type"] ?? ""));
    state.calls.push({ method, args, at: performance.now() });
    const fault = state.faults.find((one) => one.method === method && one.times > 0);
    if (fault) {
      fault.times -= 1;
      if (fault.answer === "hang") return;
      if (fault.answer !== "drop-after-applying")
        return sendJson(
          response,
          fault.answer.status,
          fault.answer.body ?? { ok: false, error: "internal_error" },
          fault.answer.headers,
        );
    }
    const authorized = /^Bearer xox[bp]-|^Bearer xapp-/.test(String(request.headers["authorization"] ?? ""));
    const answer = authorized ? call(method, args) : { ok: false, error: "not_authed" };
    if (fault?.answer === "drop-after-applying") {
      request.socket.destroy();
      return;
    }
    sendJson(response as ServerResponse, 200, answer, { "x-oauth-scopes": scopes.join(",") });
  });

  function refuse(method: string, error: string, messages: string[] = []): Record<string, unknown> {
    state.violations.push(`${method}: ${error}${messages.length > 0 ? ` ${messages.join("; ")}` : ""}`);
    return { ok: false, error, response_metadata: { messages: messages.map((m) => `[ERROR] ${m}`) } };
  }

  function call(method: string, args: Record<string, unknown>): Record<string, unknown> {
    const channel = String(args["channel"] ?? "");
    if (/^(chat|conversations)\./.test(method) && !channels.has(channel)) return refuse(method, "channel_not_found");
    if (method === "chat.postMessage" || method === "chat.update") {
      const faults = args["blocks"] === undefined ? [] : blockFaults(args["blocks"]);
      if (faults.includes("msg_blocks_too_long")) return refuse(method, "msg_blocks_too_long");
      const extra = options.check?.(method, args) ?? [];
      if (faults.length + extra.length > 0) return refuse(method, "invalid_blocks", [...faults, ...extra]);
      if (args["text"] === undefined && args["blocks"] === undefined) return refuse(method, "no_text");
    }
    switch (method) {
      case "auth.test":
        return {
          ok: true,
          url: "https://sandbox.invalid/",
          team: "sandbox",
          user: "nightshift",
          team_id: "T0",
          user_id: "U0BOT",
          bot_id: "B0",
        };
      case "apps.connections.open":
        return { ok: true, url: `${served.url.replace("http", "ws")}/link/?ticket=sandbox` };
      case "chat.postMessage": {
        clock += 1;
        const message: StandInMessage = {
          channel,
          ts: `${clock}.000100`,
          threadTs: args["thread_ts"] === undefined ? null : String(args["thread_ts"]),
          text: String(args["text"] ?? ""),
          blocks: (args["blocks"] ?? []) as Record<string, unknown>[],
          metadata: (args["metadata"] ?? null) as Record<string, unknown> | null,
          edits: 0,
        };
        state.messages.push(message);
        return { ok: true, channel, ts: message.ts, message: { text: message.text, ts: message.ts } };
      }
      case "chat.update": {
        const message = state.messages.find((m) => m.channel === channel && m.ts === args["ts"]);
        if (!message) return refuse(method, "message_not_found");
        message.text = String(args["text"] ?? message.text);
        message.blocks = (args["blocks"] ?? message.blocks) as Record<string, unknown>[];
        message.edits += 1;
        return { ok: true, channel, ts: message.ts, text: message.text };
      }
      case "chat.postEphemeral":
        state.whispers.push({ channel, user: String(args["user"] ?? ""), text: String(args["text"] ?? "") });
        return { ok: true, message_ts: `${clock}.000200` };
      case "conversations.history": {
        const top = state.messages.filter((m) => m.channel === channel && m.threadTs === null).reverse();
        return {
          ok: true,
          messages: top.map((m) => ({
            type: "message",
            ts: m.ts,
            text: m.text,
            blocks: m.blocks,
            ...(m.metadata === null ? {} : { metadata: m.metadata }),
          })),
          has_more: false,
        };
      }
      case "conversations.replies":
        return {
          ok: true,
          messages: state.messages
            .filter((m) => m.channel === channel && (m.ts === args["ts"] || m.threadTs === args["ts"]))
            .map((m) => ({ type: "message", ts: m.ts, text: m.text })),
        };
      case "usergroups.list":
        return {
          ok: true,
          usergroups: Object.keys(groups).map((handle) => ({ id: `S-${handle}`, handle, name: handle })),
        };
      case "usergroups.users.list": {
        const handle = String(args["usergroup"] ?? "").replace(/^S-/, "");
        return handle in groups ? { ok: true, users: groups[handle] } : { ok: false, error: "no_such_subteam" };
      }
      case "users.info":
        return { ok: true, user: { id: args["user"], name: String(args["user"]).toLowerCase() } };
      default:
        return refuse(method, "unknown_method");
    }
  }

  sockets = startSockets(served.server);
  const deliver = async (
    type: "interactive" | "slash_commands",
    payload: Record<string, unknown>,
    url: string | undefined,
  ): Promise<unknown> => {
    if (url === undefined) return sockets?.deliver(type, payload);
    const body =
      type === "interactive"
        ? new URLSearchParams({ payload: JSON.stringify(payload) }).toString()
        : new URLSearchParams(payload as Record<string, string>).toString();
    const at = String(Math.floor(Date.now() / 1000));
    const signature = `v0=${createHmac("sha256", signingSecret).update(`v0:${at}:${body}`).digest("hex")}`;
    const answer = await fetch(url, {
      method: "POST",
      body,
      headers: {
        "content-type": "application/x-www-form-urlencoded",
        "x-slack-request-timestamp": at,
        "x-slack-signature": signature,
      },
    });
    return { status: answer.status, body: await answer.text() };
  };

  return {
    apiUrl: `${served.url}/api/`,
    calls: state.calls,
    violations: state.violations,
    messages: state.messages,
    whispers: state.whispers,
    fail: (fault) => state.faults.push(fault),
    press(message, actionId, { user, name = user.toLowerCase(), url }) {
      const action = buttons(message).find((element) => element["action_id"] === actionId);
      if (!action)
        throw new Error(
          `the message has no button ${actionId}: it has ${
            buttons(message)
              .map((b) => String(b["action_id"]))
              .join(", ") || "none"
          }`,
        );
      return deliver(
        "interactive",
        {
          type: "block_actions",
          user: { id: user, username: name, name, team_id: "T0" },
          api_app_id: "A0",
          token: "verification-token-unused",
          container: { type: "message", message_ts: message.ts, channel_id: message.channel, is_ephemeral: false },
          trigger_id: "1.2.3",
          team: { id: "T0", domain: "sandbox" },
          channel: { id: message.channel, name: "sre" },
          message: { type: "message", ts: message.ts, text: message.text, blocks: message.blocks },
          response_url: `${served.url}/response/1`,
          actions: [{ ...action, block_id: "nightshift", action_ts: `${clock}.1` }],
        },
        url,
      );
    },
    command(text, { user, name = user.toLowerCase(), url }) {
      const payload = {
        command: "/sre",
        text,
        user_id: user,
        user_name: name,
        team_id: "T0",
        team_domain: "sandbox",
        channel_id: "C0SRE",
        channel_name: "sre",
        token: "verification-token-unused",
        api_app_id: "A0",
        response_url: `${served.url}/response/2`,
        trigger_id: "1.2.4",
      };
      return deliver("slash_commands", payload, url);
    },
    connected: () => sockets?.count() ?? 0,
    refresh: () => sockets?.refresh(),
    async stop() {
      sockets?.stop();
      await served.stop();
    },
  };
}

/** Every button of a message. */
export function buttons(message: Pick<StandInMessage, "blocks">): Record<string, unknown>[] {
  return message.blocks
    .filter((block) => block["type"] === "actions")
    .flatMap((block) => (block["elements"] ?? []) as Record<string, unknown>[]);
}

function parseArgs(body: string, contentType: string): Record<string, unknown> {
  if (contentType.includes("application/json")) return JSON.parse(body || "{}") as Record<string, unknown>;
  const args: Record<string, unknown> = {};
  for (const [key, value] of new URLSearchParams(body)) {
    try {
      args[key] = /^[[{]/.test(value) ? JSON.parse(value) : value;
    } catch {
      args[key] = value;
    }
  }
  return args;
}
