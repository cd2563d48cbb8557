/** Control characters, bidirectional overrides and invisible separators: what can make text lie about itself. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: removing them is the purpose
const TRICKS = /[\u0000-\u001f\u007f-\u009f\u061c\u200b\u200e\u200f\u2028\u2029\u202a-\u202e\u2060-\u2069\ufeff]/g;

/** Foreign text as plain, one-line, bounded text: safe to show in a terminal, a log or an error. */
export function inert(text: string, max: number): string {
  const clean = text.replace(TRICKS, " ");
  if (clean.length <= max) return clean;
  // Cut between code points: half an emoji is no text.
  return `${Array.from(clean.slice(0, max)).slice(0, -1).join("")}…`;
}
