import { inert } from "../alert/inert.js";

/** Foreign text in Slack's mrkdwn: no mention, no link, no formatting, no tricks, bounded. */
export function mrkdwn(text: string, max = 300): string {
  return inert(text, max)
    .replace(/&/g, "&amp;")
    .replace(/</g, "&lt;")
    .replace(/>/g, "&gt;")
    .replace(/[*_~`]/g, (mark) => `\u200b${mark}\u200b`);
}

/** Inside a code span nothing is formatted; only the backtick could end it. */
export function code(text: string, max = 300): string {
  const clean = inert(text, max).replace(/`/g, "'").replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
  return `\`${clean || " "}\``;
}

/** A link is shown only where it is a plain http(s) address. */
export function safeUrl(text: string | undefined): string | null {
  if (text === undefined || text.length > 2000 || !/^https?:\/\/[^\s<>|"]+$/.test(text) || !URL.canParse(text))
    return null;
  return text;
}
