/** The three kinds of Slack blocks that messages are made of, each within Slack's limits. Words come in escaped. */
import { mrkdwn } from "./escape.js";
import type { Block } from "./notify.js";

/** Slack takes 3,000 characters a section. */
const MAX_SECTION = 2800;

export function header(words: string): Block {
  return { type: "header", text: { type: "plain_text", text: plain(words).slice(0, 148) || "Nightshift" } };
}

/** Headers know no mrkdwn; control characters and the like still go. */
function plain(words: string): string {
  return mrkdwn(words, 148)
    .replace(/&amp;/g, "&")
    .replace(/&lt;/g, "<")
    .replace(/&gt;/g, ">")
    .replace(/\u200b/g, "");
}

export function section(words: string): Block {
  return { type: "section", text: { type: "mrkdwn", text: words.slice(0, MAX_SECTION) || " " } };
}

export function context(words: string): Block {
  return { type: "context", elements: [{ type: "mrkdwn", text: words.slice(0, 1900) || " " }] };
}
