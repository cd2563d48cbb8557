import { createHash } from "node:crypto";

/** Names of alerts and incidents. PROTOCOL section 2. */

function hex(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}

/** `fingerprint@startsAt`, both as received. */
export function identityOf(fingerprint: string, startsAt: string): string {
  return `${fingerprint}@${startsAt}`;
}

/** `inc-` and 20 hex of sha256 over cluster, target UID ("" while unresolved) and identity, one per line. */
export function incidentId(cluster: string, targetUid: string | null, identity: string): string {
  return `inc-${hex([cluster, targetUid ?? "", identity].join("\n")).slice(0, 20)}`;
}

/** What Alertmanager's own PagerDuty receiver uses, so that both feed one incident there. */
export function dedupKeyOf(groupKey: string | null, incident: string): string {
  return groupKey === null || groupKey === "" ? `nightshift/${incident}` : hex(groupKey);
}

const OFFSET = 0xcbf29ce484222325n;
const PRIME = 0x100000001b3n;
const MASK = 0xffffffffffffffffn;

/** Alertmanager's fingerprint of a label set: 64-bit FNV-1a over sorted names and values, each followed by byte 0xff. */
export function fingerprintOf(labels: Readonly<Record<string, string>>): string {
  let hash = OFFSET;
  const add = (byte: number) => {
    hash = ((hash ^ BigInt(byte)) * PRIME) & MASK;
  };
  const bytes = (text: string) => Buffer.from(text, "utf8");
  const names = Object.keys(labels).sort((a, b) => Buffer.compare(bytes(a), bytes(b)));
  for (const name of names) {
    for (const byte of bytes(name)) add(byte);
    add(0xff);
    for (const byte of bytes(labels[name] ?? "")) add(byte);
    add(0xff);
  }
  return hash.toString(16).padStart(16, "0");
}

/** The fingerprint that an identity begins with: it names the alert whenever it fires. */
export function fingerprintIn(identity: string): string {
  return identity.split("@")[0] ?? "";
}
