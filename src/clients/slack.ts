import { messageOf, TerminalError, UnavailableError } from "../errors.js";
import { redact } from "../log.js";
import type { SlackPort } from "../notify/notify.js";

const TIMEOUT_MS = 5000;
const MARKER = "nightshift_incident";
/** Slack's answers that no repeating mends, with what does. */
const HOW: Record<string, string> = {
  invalid_auth: "SLACK_BOT_TOKEN is not valid: copy the Bot User OAuth Token of the app again",
  not_authed: "SLACK_BOT_TOKEN is empty",
  token_revoked: "the app was removed from the workspace: install it again",
  account_inactive: "the app was removed from the workspace: install it again",
  channel_not_found: "SLACK_CHANNEL names no channel that the app can see: use the channel's id and invite the app",
  not_in_channel: "the app is not in SLACK_CHANNEL: type /invite @nightshift there",
  is_archived: "SLACK_CHANNEL is archived",
  missing_scope: "the app lacks a scope: compare it with deploy/slack-app-manifest.yaml",
  invalid_blocks: "Slack refused the message's blocks: please report it with the incident's id",
  msg_blocks_too_long: "Slack refused the message as too long: please report it with the incident's id",
};

export interface SlackClient extends SlackPort {
  /** Who the token belongs to, and its scopes; null where Slack does not tell them. */
  whoAmI(): Promise<{ name: string; scopes: string[] | null }>;
  /** Whether an app-level token may open a Socket Mode connection. Opens none. */
  mayConnect(): Promise<void>;
}

/** The gate to Slack's Web API. Errors: UnavailableError (try again), TerminalError (says how to mend). */
export async function createSlack(options: { botToken(): string; apiUrl: string | null }): Promise<SlackClient> {
  const { WebClient, ErrorCode, LogLevel } = await import("@slack/web-api");
  const nothing = () => undefined;
  // What goes wrong is told by our own errors, once, where it is handled; the SDK would print it as well.
  const logger = {
    debug: nothing,
    info: nothing,
    warn: nothing,
    error: nothing,
    setLevel: nothing,
    getLevel: () => LogLevel.ERROR,
    setName: nothing,
  };
  let made: { token: string; client: InstanceType<typeof WebClient> } | null = null;

  /** A rotated token makes a new client. The SDK's own retries last half an hour and hide outages: there are none. */
  function client() {
    const token = options.botToken();
    if (made === null || made.token !== token) {
      const config = {
        logger,
        timeout: TIMEOUT_MS,
        retryConfig: { retries: 0 },
        rejectRateLimitedCalls: true,
        ...(options.apiUrl === null ? {} : { slackApiUrl: `${options.apiUrl.replace(/\/+$/, "")}/` }),
      };
      made = { token, client: new WebClient(token, config) };
    }
    return made.client;
  }

  async function call<T>(what: string, run: (web: InstanceType<typeof WebClient>) => Promise<T>): Promise<T> {
    try {
      return await run(client());
    } catch (cause) {
      const error = cause as { code?: string; data?: { error?: string }; retryAfter?: number };
      if (error.code === ErrorCode.PlatformError) {
        const name = error.data?.error ?? "unknown_error";
        if (name in HOW) throw new TerminalError("ERR_SLACK_REFUSED", `Slack refused ${what}: ${name}; ${HOW[name]}`);
        if (name === "ratelimited" || name === "internal_error" || name === "service_unavailable")
          throw new UnavailableError("ERR_SLACK_UNAVAILABLE", `Slack could not do ${what}: ${name}`);
        throw new TerminalError("ERR_SLACK_REFUSED", `Slack refused ${what}: ${name}`);
      }
      if (error.code === ErrorCode.RateLimitedError)
        throw new UnavailableError(
          "ERR_SLACK_BUSY",
          `Slack asks to wait ${error.retryAfter ?? "some"} s before ${what}`,
        );
      throw new UnavailableError(
        "ERR_SLACK_UNAVAILABLE",
        `Slack could not be reached for ${what}: ${redact(messageOf(cause))}`,
      );
    }
  }

  return {
    async post(message) {
      const answer = await call("chat.postMessage", (web) =>
        web.chat.postMessage({
          channel: message.channel,
          text: message.text,
          blocks: message.blocks as never,
          unfurl_links: false,
          unfurl_media: false,
          ...(message.threadTs === undefined
            ? { metadata: { event_type: MARKER, event_payload: { incident: message.incident } } }
            : { thread_ts: message.threadTs }),
        } as never),
      );
      return { channel: answer.channel ?? message.channel, ts: answer.ts ?? "" };
    },
    async update(message) {
      await call("chat.update", (web) =>
        web.chat.update({
          channel: message.channel,
          ts: message.ts,
          text: message.text,
          blocks: message.blocks as never,
        } as never),
      );
    },
    async find(channel, incident) {
      const answer = await call("conversations.history", (web) =>
        web.conversations.history({ channel, limit: 100, include_all_metadata: true }),
      );
      interface Marked {
        ts?: string;
        metadata?: { event_type?: string; event_payload?: { incident?: string } };
      }
      const mine = ((answer.messages ?? []) as Marked[]).find(
        (m) => m.metadata?.event_type === MARKER && m.metadata.event_payload?.incident === incident,
      );
      return mine?.ts === undefined ? null : { channel, ts: mine.ts };
    },
    async ephemeral(message) {
      await call("chat.postEphemeral", (web) => web.chat.postEphemeral(message));
    },
    async groupMembers(handle) {
      try {
        const groups = await call("usergroups.list", (web) => web.usergroups.list({}));
        const group = (groups.usergroups ?? []).find((g) => g.handle === handle);
        if (group?.id === undefined) return null;
        const members = await call("usergroups.users.list", (web) =>
          web.usergroups.users.list({ usergroup: group.id ?? "" }),
        );
        return members.users ?? [];
      } catch (error) {
        // Not being able to ask is "cannot be checked", never "nobody" and never "everybody".
        if (error instanceof UnavailableError || error instanceof TerminalError) return null;
        throw error;
      }
    },
    async whoAmI() {
      const answer = await call("auth.test", (web) => web.auth.test());
      return {
        name: `${answer.user ?? "unknown"} in ${answer.team ?? "unknown"}`,
        scopes: answer.response_metadata?.scopes ?? null,
      };
    },
    async mayConnect() {
      await call("apps.connections.open", (web) => web.apps.connections.open({}));
    },
  };
}
