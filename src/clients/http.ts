import { messageOf, TerminalError, UnavailableError } from "../errors.js";

/** A URL that may carry basic auth: the credentials go into a header and never into an error. */
export function splitUrl(url: string): { base: string; headers: Record<string, string> } {
  const parsed = new URL(url);
  const { username, password } = parsed;
  parsed.username = "";
  parsed.password = "";
  const base = parsed.toString().replace(/\/+$/, "");
  if (username === "") return { base, headers: {} };
  const pair = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`;
  return { base, headers: { authorization: `Basic ${Buffer.from(pair).toString("base64")}` } };
}

const MAX_BYTES = 32 * 1024 * 1024;

/** Fetches JSON with a deadline. Errors: UnavailableError (no answer, 5xx, 429), TerminalError (any other refusal). */
export async function fetchJson(
  what: string,
  url: string,
  options: { headers: Record<string, string>; method?: string; body?: string; timeoutMs: number },
): Promise<unknown> {
  const { timeoutMs, ...init } = options;
  let response: Response;
  let text: string;
  try {
    response = await fetch(url, { ...init, redirect: "follow", signal: AbortSignal.timeout(timeoutMs) } as RequestInit);
    text = await response.text();
  } catch (cause) {
    const inner = cause instanceof Error && cause.cause !== undefined ? messageOf(cause.cause) : messageOf(cause);
    throw new UnavailableError("ERR_UNREACHABLE", `${what} could not be asked: ${inner}`, { cause });
  }
  if (text.length > MAX_BYTES)
    throw new UnavailableError("ERR_TOO_LONG", `${what} answered with ${text.length} bytes, more than ${MAX_BYTES}`);
  if (!response.ok) {
    const says = `${what} answered ${response.status}: ${text.slice(0, 200)}`;
    if (response.status >= 500 || response.status === 429) throw new UnavailableError("ERR_UNREACHABLE", says);
    throw new TerminalError("ERR_REFUSED", says);
  }
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new UnavailableError("ERR_UNREADABLE", `${what} answered with something other than JSON`, { cause });
  }
}
