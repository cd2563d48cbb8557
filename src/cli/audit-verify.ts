import { inert } from "../alert/inert.js";
import { iso } from "../clock.js";
import { messageOf, TerminalError } from "../errors.js";
import { createAuditHeads } from "../execution/audit-heads.js";
import { type Anchor, type ChainFault, type ChainReport, createChainCheck, lostWords } from "../record/chain-check.js";
import type { KeptHeads } from "../record/kept-heads.js";
import { askCluster } from "./audit-cluster.js";
import { type Connection, connect } from "./connect.js";

/** `unread`: Redis could not be read, or nothing that is kept can be compared with what it holds. */
export interface Verified extends ChainReport {
  verdict: "intact" | "broken" | "unread";
  /** Whether the heads in the control ConfigMap were compared, in words. */
  cluster: string;
  says: string;
}

const EXIT = { intact: 0, broken: 1, unread: 2 } as const;

/** `nightshift audit verify`: exit 0 intact, 1 broken, 2 could not be read. `head` is `NUMBER:HASH` of the log's line. */
export async function auditVerify(options: { head: string | null; json: boolean }): Promise<number> {
  let verified: Verified;
  try {
    const fromLog = options.head === null ? [] : [loggedHead(options.head)];
    const connection = await connect();
    try {
      verified = await verify(connection, fromLog);
    } finally {
      connection.close();
    }
  } catch (error) {
    const says = messageOf(error);
    if (options.json) process.stdout.write(`${JSON.stringify({ verdict: "unread", says })}\n`);
    else process.stderr.write(`nightshift: the audit could not be read: ${says}\n`);
    return EXIT.unread;
  }
  if (options.json) process.stdout.write(`${JSON.stringify(verified, null, 2)}\n`);
  else for (const line of lines(verified)) process.stdout.write(`${line}\n`);
  return EXIT[verified.verdict];
}

/** Reads the kept heads first and the chain after them: what was kept must be in it. Errors: UnavailableError. */
export async function verify(connection: Connection, fromLog: readonly Anchor[] = []): Promise<Verified> {
  const { config, trail } = connection;
  const asked = await askCluster(config, (kubernetes) => createAuditHeads(kubernetes, config.namespace).read());
  const kept: KeptHeads | null = "value" in asked ? asked.value : null;
  const anchors = [...(kept?.heads ?? []), ...fromLog].toSorted((a, b) => a.seq - b.seq);
  const check = createChainCheck(anchors);
  const report = check.end(await trail.read(check.take));
  const noticed = (kept?.lost ?? []).map(noticedFault);
  const intact = report.intact && noticed.length === 0;
  const blind = anchors.length > 0 && report.anchors.every(({ where }) => where === "trimmed");
  const verdict = !intact ? "broken" : blind ? "unread" : "intact";
  return {
    ...report,
    intact,
    faults: [...report.faults, ...noticed],
    faultCount: report.faultCount + noticed.length,
    verdict,
    cluster:
      "why" in asked ? `not compared with the heads in the cluster: ${asked.why}` : clusterWords(report, asked.value),
    says: blind
      ? "every kept head is older than what the stream still holds: nothing outside Redis vouches for it"
      : "",
  };
}

function clusterWords(report: ChainReport, kept: KeptHeads): string {
  const newest = kept.heads.at(-1);
  if (newest === undefined)
    return "no head is kept in the cluster yet: the hands keep one when they start and each hour";
  const where = report.anchors.find(({ seq, hash }) => seq === newest.seq && hash === newest.hash)?.where ?? "lost";
  const words = { "in-chain": "in the chain", trimmed: "cut off since", lost: "not in the chain" }[where];
  return `${kept.heads.length} heads are kept in the cluster, the newest at ${iso(newest.at)} (entry ${newest.seq}): ${words}`;
}

/** What the hands noticed once stays broken until a person has looked and taken the annotation away. */
function noticedFault(lost: KeptHeads["lost"][number]): ChainFault {
  return {
    seq: lost.sound === null ? 1 : lost.sound.seq + 1,
    incident: null,
    expected: `${lost.seq}:${lost.hash}`,
    found: `another history when it was looked at, ${iso(lost.noticed)}`,
    says: lostWords(lost, lost.sound),
  };
}

function loggedHead(text: string): Anchor {
  const [, seq = "", hash = ""] = /^([1-9]\d{0,14}):([0-9a-f]{64})$/.exec(text) ?? [];
  if (hash === "")
    throw new TerminalError(
      "ERR_HEAD",
      `--head: expected NUMBER:HASH with seq and hash of the log line "head of the audit chain", found ${JSON.stringify(inert(text, 100))}`,
    );
  return { seq: Number(seq), hash, id: "0-0", at: null };
}

export function lines(verified: Verified): string[] {
  const { first, last } = verified;
  const time = (at: number | null) => (at === null ? "time unknown" : iso(at));
  const what =
    first === null || last === null
      ? "no entry"
      : `${verified.entries} entries, from ${first.seq} (${time(first.at)}) to ${last.seq} (${time(last.at)}), head ${last.hash}`;
  const out = [`${verified.verdict}: ${what}`];
  for (const fault of verified.faults) {
    out.push(`  ${inert(fault.says, 400)}`);
    out.push(`    expected ${fault.expected}`, `    found ${fault.found}`);
  }
  if (verified.faultCount > verified.faults.length)
    out.push(`  and ${verified.faultCount - verified.faults.length} more places`);
  if (verified.says !== "") out.push(`  ${verified.says}`);
  out.push(`  ${inert(verified.cluster, 400)}`);
  return out;
}
