import type { App } from "@slack/bolt";
import { z } from "zod";
import type { ButtonValue, Click } from "../src/approval/click.js";
import { answers } from "../src/approval/click.js";
import type { Log } from "../src/log.js";

export interface SlackHandlerPorts {
  /** Stores the click; it is judged later. Errors: UnavailableError. */
  onClick(click: Click): Promise<void>;
  /** Answers a slash command in words. */
  onCommand(command: { words: string[]; by: string; name: string }): Promise<string>;
  install: string;
  now(): number;
  log: Log;
}

const valueSchema: z.ZodType<ButtonValue> = z.object({
  i: z.string(),
  n: z.string(),
  d: z.string(),
  m: z.string(),
  o: z.string(),
});

interface Pressed {
  user?: { id?: string; name?: string; username?: string };
  channel?: { id?: string };
  container?: { channel_id?: string };
}

/** Slack's buttons and the `/sre` command: store, then acknowledge, inside three seconds. Nothing is judged here. */
export function slackHandlers(app: App, ports: SlackHandlerPorts): void {
  for (const answer of answers) {
    app.action(answer, async ({ ack, body, action, respond }) => {
      const pressed = body as Pressed;
      const user = pressed.user?.id ?? "";
      const say = (text: string) =>
        respond({ response_type: "ephemeral", replace_original: false, text }).catch(() => undefined);
      const parsed = valueSchema.safeParse(safeJson((action as { value?: string }).value ?? ""));
      if (!parsed.success || user === "") {
        await ack();
        await say("This button could not be read: nothing was done.");
        return;
      }
      const value = parsed.data;
      if (value.o !== ports.install) {
        await ack();
        await say(`This button belongs to ${value.o}: nothing was done here.`);
        return;
      }
      const channel = pressed.channel?.id ?? pressed.container?.channel_id ?? "";
      try {
        await ports.onClick({
          answer,
          incident: value.i,
          nonce: value.n,
          digest: value.d,
          mac: value.m,
          install: value.o,
          by: `slack:${user}`,
          name: pressed.user?.name ?? pressed.user?.username ?? user,
          at: ports.now(),
          reply: channel === "" ? null : { channel, user },
        });
        await ack();
      } catch (error) {
        ports.log.warn({ error, incident: value.i, answer }, "a click could not be stored");
        await ack();
        await say("Your answer could not be stored: please press again in a moment, or use PagerDuty.");
      }
    });
  }

  app.command("/sre", async ({ ack, command }) => {
    try {
      const words = command.text
        .trim()
        .split(/\s+/)
        .filter((word) => word !== "");
      const text = await ports.onCommand({ words, by: `slack:${command.user_id}`, name: command.user_name });
      await ack({ response_type: "ephemeral", text: text.slice(0, 3000) });
    } catch (error) {
      ports.log.warn({ error }, "a slash command failed");
      await ack({ response_type: "ephemeral", text: "That did not work just now: try again in a moment." });
    }
  });
}

function safeJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
