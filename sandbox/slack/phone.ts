/** A Slack message as lines of text, the way a phone shows it. */
type Json = Record<string, unknown>;

export function phone(message: { blocks: Json[]; text: string }): string[] {
  const lines: string[] = [];
  for (const block of message.blocks) {
    const text = (block["text"] as Json | undefined)?.["text"];
    if (block["type"] === "header") lines.push(String(text).toUpperCase());
    if (block["type"] === "section") lines.push(...plain(String(text)).split("\n"));
    if (block["type"] === "context")
      for (const element of (block["elements"] ?? []) as Json[])
        lines.push(...plain(String(element["text"])).split("\n"));
    if (block["type"] === "actions")
      lines.push(
        ((block["elements"] ?? []) as Json[]).map((b) => `[ ${String((b["text"] as Json)["text"])} ]`).join(" "),
      );
  }
  return lines;
}

function plain(text: string): string {
  return text
    .replace(/\u200b/g, "")
    .replace(/<([^|>]+)\|([^>]+)>/g, "$2")
    .replace(/[*`]/g, "")
    .replace(/&lt;/g, "<")
    .replace(/&gt;/g, ">")
    .replace(/&amp;/g, "&");
}
