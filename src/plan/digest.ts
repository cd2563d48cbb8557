import { createHash } from "node:crypto";
import canonicalize from "canonicalize";

/** Hex SHA-256 of a text. */
export function sha256(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}

/** RFC 8785 text of a JSON value: equal values give equal text, whatever the order of keys. */
export function canonical(value: unknown): string {
  return canonicalize(value) ?? "null";
}

/** Hex SHA-256 over the canonical JSON of a value. */
export function digestOf(value: unknown): string {
  return sha256(canonical(value));
}
