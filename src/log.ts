import { pino } from "pino";
import { iso, systemClock } from "./clock.js";

/** A JSON logger: constant message, fields beside it. */
export interface Log {
  debug(fields: Record<string, unknown>, message: string): void;
  info(fields: Record<string, unknown>, message: string): void;
  warn(fields: Record<string, unknown>, message: string): void;
  error(fields: Record<string, unknown>, message: string): void;
  child(fields: Record<string, unknown>): Log;
}

/** Field names whose values never reach the log, wherever they stand. */
const SECRET_FIELDS = [
  "token",
  "password",
  "secret",
  "authorization",
  "cookie",
  "routingKey",
  "routing_key",
  "signingSecret",
  "botToken",
  "appToken",
  "mac",
  "apiKey",
];

/** Text that looks like a credential, whatever stands before it. */
const TOKEN_TEXT = [
  /\bxox[abeprs]-[A-Za-z0-9-]{6,}/g,
  /\bxapp-[A-Za-z0-9-]{6,}/g,
  /\b(Bearer|Basic|Token token=)\s*[A-Za-z0-9._~+/=-]{8,}/gi,
  /\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*/g,
  /\b(AKIA|ASIA)[A-Z0-9]{16}\b/g,
  /-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(-----END [A-Z ]*PRIVATE KEY-----|$)/g,
  /([a-z][a-z0-9+.-]*:\/\/[^\s:/@]*:)[^\s@/]+(?=@)/gi,
];
/** The same, and whatever is assigned to a name that sounds secret. */
const SECRET_TEXT = [
  ...TOKEN_TEXT,
  /((?:api[_-]?key|access[_-]?key|secret|passw(?:or)?d|pwd|token|private[_-]?key|client[_-]?secret)["']?\s*[:=]\s*["']?)[^\s"',;&]{3,}/gi,
];

/** Hides what looks like a secret in text that came from outside: log lines of workloads, errors of SDKs. */
export function redact(text: string): string {
  return without(SECRET_TEXT, text);
}

/** Hides tokens, keys and passwords of URLs, and leaves "NAME_SECRET: expected …" readable: for our own sentences. */
export function redactTokens(text: string): string {
  return without(TOKEN_TEXT, text);
}

/** A copy of plain JSON in which nothing stands that the log would hide, by the names of fields and by their text. */
export function redactAll(value: unknown): unknown {
  if (typeof value === "string") return redact(value);
  if (Array.isArray(value)) return value.map(redactAll);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([name, one]) => [name, SECRET_FIELDS.includes(name) ? "[redacted]" : redactAll(one)]),
  );
}

function without(patterns: readonly RegExp[], text: string): string {
  let out = text;
  for (const pattern of patterns) {
    out = out.replace(pattern, (match: string, kept: unknown) =>
      typeof kept === "string" && match.startsWith(kept) ? `${kept}[redacted]` : "[redacted]",
    );
  }
  return out;
}

/** Logs JSON lines to standard output (or `stream`). */
export function createLog(level: string, stream?: { write(line: string): void }): Log {
  const paths = SECRET_FIELDS.flatMap((field) => [field, `*.${field}`, `*.*.${field}`]);
  const options = {
    level,
    base: null,
    timestamp: () => `,"time":"${iso(systemClock.now())}"`,
    formatters: { level: (label: string) => ({ level: label }) },
    redact: { paths, censor: "[redacted]" },
    hooks: {
      logMethod(this: unknown, args: unknown[], method: (...args: unknown[]) => void) {
        const [fields, message] = args;
        method.apply(this, [
          typeof fields === "object" && fields !== null ? redactFields(fields as Record<string, unknown>) : fields,
          message,
        ]);
      },
    },
  };
  return (stream ? pino(options as never, stream as never) : pino(options as never)) as unknown as Log;
}

function redactFields(fields: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(fields).map(([name, value]) => [name, redactValue(value)]));
}

function redactValue(value: unknown): unknown {
  if (typeof value === "string") return redact(value);
  if (value instanceof Error)
    return { type: value.name, code: (value as { code?: unknown }).code, message: redact(value.message) };
  return value;
}

/** Logs nothing: for the CLI's short commands and for tests. */
export const silentLog: Log = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
  child: () => silentLog,
};
