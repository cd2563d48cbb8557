/** Text that came from a workload, made safe to show. For runbooks. */

// biome-ignore lint/suspicious/noControlCharactersInRegex: removing them is the purpose
const ESCAPES = /(?:\u001b\[|\u009b)[0-9;?]*[ -/]*[@-~]|\u001b[@-_]/g;
// Zero-width characters and changes of the text's direction: they hide a key from redaction, or reorder what is read.
const INVISIBLE = /[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]/g;
// biome-ignore lint/suspicious/noControlCharactersInRegex: as above
const CONTROLS = /[\u0000-\u0009\u000b-\u001f\u007f-\u009f]/g;

/**
 * Lines of `text` without escape codes, control characters and invisible ones, then redacted: a secret whose key is
 * coloured is found only once the colour is gone. Empty lines are dropped; each is cut at `most` characters.
 */
export function plainLines(text: string, redact: (text: string) => string, most = 300): string[] {
  const bare = text.replace(ESCAPES, "").replace(INVISIBLE, "").replace(/\r\n?/g, "\n").replace(CONTROLS, " ");
  return redact(bare)
    .split("\n")
    .map((line) => line.trim().slice(0, most))
    .filter((line) => line !== "");
}
