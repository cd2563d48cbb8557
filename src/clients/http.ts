import { Agent, type Dispatcher, interceptors } from "undici";
import { messageOf, TerminalError, UnavailableError } from "../errors.js";
import { exchange } from "./exchange.js";

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

/** A proxy before Prometheus or Alertmanager may send us on; credentials are not taken along to another host. */
const agent = new Agent().compose(interceptors.redirect({ maxRedirections: 5 }));

/** Fetches JSON with a deadline. Errors: UnavailableError (no answer, 5xx, 429), TerminalError (any other refusal). */
export async function fetchJson(
  what: string,
  url: string,
  options: { headers: Record<string, string>; method?: Dispatcher.HttpMethod; body?: string; timeoutMs: number },
): Promise<unknown> {
  const { origin, pathname, search } = new URL(url);
  const { method = "GET" } = options;
  let status: number;
  let text: string;
  try {
    ({ status, text } = await exchange({
      ...options,
      dispatcher: agent,
      origin,
      path: pathname + search,
      method,
    }));
  } catch (cause) {
    throw new UnavailableError("ERR_UNREACHABLE", `${what} could not be asked: ${messageOf(cause)}`, { cause });
  }
  if (text.length > MAX_BYTES)
    throw new UnavailableError("ERR_TOO_LONG", `${what} answered with ${text.length} bytes, more than ${MAX_BYTES}`);
  if (status < 200 || status > 299) {
    const says = `${what} answered ${status}: ${text.slice(0, 200)}`;
    if (status >= 500 || status === 429) throw new UnavailableError("ERR_UNREACHABLE", says);
    throw new TerminalError("ERR_REFUSED", says);
  }
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new UnavailableError("ERR_UNREADABLE", `${what} answered with something other than JSON`, { cause });
  }
}
