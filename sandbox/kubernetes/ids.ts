import { createHash } from "node:crypto";
import type { Raw } from "./kinds.js";

/** Names and UIDs: unlike each other within a world, the same again for the same seed. */
export interface Ids {
  uid(): string;
  /** Five letters, as behind a Pod's name. */
  suffix(): string;
  hex(): string;
}

const LETTERS = "bcdfghjklmnpqrstvwxz2456789";

export function createIds(seed: string): Ids {
  let count = 0;
  function next(): string {
    count += 1;
    return createHash("sha256").update(`${seed}/${count}`).digest("hex");
  }
  return {
    uid() {
      const hex = next();
      return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-4${hex.slice(13, 16)}-a${hex.slice(17, 20)}-${hex.slice(20, 32)}`;
    },
    suffix: () => letters(next(), 5),
    hex: () => next().slice(0, 16),
  };
}

function letters(hex: string, length: number): string {
  let out = "";
  for (let i = 0; i < length; i += 1) out += LETTERS[Number.parseInt(hex.slice(i * 2, i * 2 + 2), 16) % LETTERS.length];
  return out;
}

/** The label pod-template-hash: the same for the same template. */
export function templateHash(template: Raw): string {
  return letters(
    createHash("sha256")
      .update(JSON.stringify(sorted(template)))
      .digest("hex"),
    10,
  );
}

function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, part]) => [key, sorted(part)]),
  );
}
