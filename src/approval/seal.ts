import { createHmac, timingSafeEqual } from "node:crypto";

/** HMAC-SHA256 with a key that is not in Redis: whoever can write Redis can neither make a button nor approve. */

export interface ButtonSeal {
  install: string;
  incident: string;
  nonce: string;
  digest: string;
}

export interface ApprovalSeal {
  incident: string;
  nonce: string;
  digest: string;
  by: string;
  at: number;
}

export function sealButton(key: string, of: ButtonSeal): string {
  return mac(key, ["button", of.install, of.incident, of.nonce, of.digest]);
}

export function verifyButton(key: string, of: ButtonSeal, given: string): boolean {
  return same(sealButton(key, of), given);
}

export function sealApproval(key: string, of: ApprovalSeal): string {
  return mac(key, ["approval", of.incident, of.nonce, of.digest, of.by, String(of.at)]);
}

export function verifyApproval(key: string, of: ApprovalSeal, given: string): boolean {
  return same(sealApproval(key, of), given);
}

/** The first word keeps the two apart: a button's seal is never an approval. JSON keeps the parts apart. */
function mac(key: string, parts: string[]): string {
  if (key === "") throw new Error("no key for seals");
  return createHmac("sha256", key).update(JSON.stringify(parts)).digest("hex");
}

function same(expected: string, given: string): boolean {
  const a = Buffer.from(expected);
  const b = Buffer.from(given);
  return a.length === b.length && timingSafeEqual(a, b);
}
