/** The incident's story, as replies in its thread. */
import type { IncidentRecord } from "../record/incident.js";
import { mrkdwn } from "./escape.js";
import type { SlackMessage } from "./notify.js";

/** Entries that the message itself shows are not repeated. */
const SILENT = new Set(["opened", "paged"]);

/** Replies for the timeline's entries from `from` on, and once the diagnosis' details; several entries share a reply. */
export function threadReplies(record: IncidentRecord, from: number): SlackMessage[] {
  const lines = record.timeline
    .slice(from)
    .filter((entry) => !SILENT.has(entry.what))
    .map((entry) => `${new Date(entry.at).toISOString().slice(11, 19)} ${mrkdwn(entry.says, 500)}`);
  const replies: SlackMessage[] = [];
  if (from === 0 && record.diagnosis) replies.push(...details(record));
  if (lines.length > 0) replies.push(reply(lines.join("\n")));
  return replies;
}

function details(record: IncidentRecord): SlackMessage[] {
  const found = record.diagnosis;
  if (!found) return [];
  const parts = found.details.slice(0, 8).map(
    (part) =>
      `*${mrkdwn(part.title, 100)}*\n${part.lines
        .slice(0, 15)
        .map((line) => `• ${mrkdwn(line, 300)}`)
        .join("\n")}`,
  );
  if (found.logs.length > 0)
    parts.push(
      `*Last log lines*\n\`\`\`${found.logs
        .slice(-20)
        .map((line) => mrkdwn(line.replace(/`/g, "'"), 300))
        .join("\n")}\`\`\``,
    );
  return parts.map(reply);
}

function reply(words: string): SlackMessage {
  const text = words.slice(0, 2800);
  return { text: text.slice(0, 200), blocks: [{ type: "section", text: { type: "mrkdwn", text } }] };
}
