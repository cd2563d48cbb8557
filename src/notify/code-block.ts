import { inert } from "../alert/inert.js";

/**
 * Lines as one block of code in Slack: nothing in it is formatted, linked or mentioned. At most `max` characters; whole
 * lines are left out at the end and `more` says where the rest is.
 */
export function codeBlock(lines: readonly string[], max: number, more: string): string {
  const shown: string[] = [];
  let left = max - more.length - 20;
  for (const line of lines) {
    const clean = inert(line, 500)
      .replace(/`/g, "'")
      .replace(/&/g, "&amp;")
      .replace(/</g, "&lt;")
      .replace(/>/g, "&gt;");
    left -= clean.length + 1;
    if (left < 0) return `\`\`\`\n${shown.join("\n")}\n\`\`\`\n${more}`;
    shown.push(clean);
  }
  return `\`\`\`\n${shown.join("\n")}\n\`\`\``;
}
