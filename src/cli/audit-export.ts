import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { inert } from "../alert/inert.js";
import { embeddedSecret } from "../app/secret.js";
import { iso, systemClock } from "../clock.js";
import type { Config } from "../config.js";
import { messageOf, TerminalError } from "../errors.js";
import { leaseName } from "../execution/keys.js";
import { createLeaseStore } from "../execution/lease.js";
import { redact } from "../log.js";
import { type ChainEntry, entryOf, type Link } from "../record/chain.js";
import { createChainCheck } from "../record/chain-check.js";
import type { IncidentRecord } from "../record/incident.js";
import { askCluster } from "./audit-cluster.js";
import { auditDocument, type Evidence } from "./audit-document.js";
import { type Connection, connect, find } from "./connect.js";
import { story } from "./incidents.js";

/** `nightshift audit export`: one incident with everything that is known of it, for people or as JSON. */
export async function auditExport(options: { incident: string; out: string | null; json: boolean }): Promise<number> {
  const connection = await connect();
  try {
    const record = await recordOf(connection, options.incident);
    const links: Evidence["links"] = [];
    const check = createChainCheck();
    const end = await connection.trail.read((link) => {
      const entry = check.take(link);
      if (entry?.incident === record.id) links.push({ link, entry });
    });
    const report = check.end(end);
    const evidence: Evidence = {
      at: systemClock.now(),
      install: connection.config.install,
      links,
      chain: {
        verdict: report.intact ? "intact" : "broken",
        says: report.faults[0]?.says ?? "every entry gives its hash and continues the one before it",
        firstSeq: report.first?.seq ?? null,
        head: end.head === null ? null : `${end.head.seq}:${end.head.hash}`,
      },
      lease: await leaseOf(connection.config, record),
      keys: keysOf(connection.config),
    };
    const document = auditDocument(record, evidence);
    if (options.out !== null) write(options.out, document);
    else if (options.json) print(JSON.stringify(document, null, 2));
    else for (const line of lines(record, evidence, document)) print(redact(line));
    return 0;
  } finally {
    connection.close();
  }
}

const print = (text: string) => process.stdout.write(`${text}\n`);

/** By id, by the beginning of it, or by a run of the past that only the chain still names. */
async function recordOf({ records, trail }: Connection, id: string): Promise<IncidentRecord> {
  try {
    return await find(records, id);
  } catch (error) {
    if (!(error instanceof TerminalError) || !id.startsWith("run-")) throw error;
    let incident: string | null = null;
    await trail.read((link) => {
      const entry = entryOf(link.text);
      if (entry?.run === id) incident = entry.incident;
    });
    if (incident === null) throw error;
    return find(records, incident);
  }
}

async function leaseOf(config: Config, record: IncidentRecord): Promise<Evidence["lease"]> {
  const { target } = record;
  if (target === null) return { why: "the incident has no target" };
  return askCluster(config, (kubernetes) =>
    createLeaseStore(kubernetes, config.namespace, { clock: systemClock, durationSeconds: 0 }).read(
      leaseName(target.cluster, target.uid),
    ),
  );
}

/** The running install's keys; a new one is never made here. */
function keysOf(config: Config): string[] | null {
  if (config.secret !== null) return config.secret.values();
  return existsSync(join(config.dataDir, "secret")) ? embeddedSecret(config.dataDir).values() : null;
}

/** Never over a file that is there: what was exported before may be evidence. */
function write(file: string, document: unknown): void {
  try {
    writeFileSync(file, `${JSON.stringify(document, null, 2)}\n`, { flag: "wx", mode: 0o600 });
  } catch (cause) {
    throw new TerminalError("ERR_OUT", `--out ${file}: expected a file that can be made new: ${messageOf(cause)}`, {
      cause,
    });
  }
}

interface Shown {
  approvals: { given: { by: string; at: string; seal: string; ofThisPlan: boolean }[] };
  effects: { read: boolean; why?: string; lease?: string | null; operations?: { step: string | null; at: string }[] };
  verification: { at: string; world: string; symptom: string; says: string }[];
  pages: { state: string; dedupKey: string };
}

function lines(record: IncidentRecord, evidence: Evidence, document: unknown): string[] {
  const { approvals, effects, verification, pages } = document as Shown;
  const out = story(record);
  for (const alert of record.alerts)
    out.push(`alert ${alert.status} since ${alert.startsAt}: ${inert(JSON.stringify(alert.labels), 1000)}`);
  for (const one of approvals.given)
    out.push(
      `approved by ${inert(one.by, 80)} at ${one.at}: seal ${one.seal}${one.ofThisPlan ? "" : "; of another plan"}`,
    );
  if (!effects.read) out.push(`effects: the target's Lease was not read: ${inert(effects.why ?? "", 300)}`);
  for (const op of effects.operations ?? [])
    out.push(`effect ${op.at} ${op.step ?? "(of another plan)"}, by ${effects.lease}`);
  for (const look of verification)
    out.push(`look ${look.at}: ${inert(`${look.world}, ${look.symptom}. ${look.says}`, 400)}`);
  out.push(`page ${pages.state}, dedup_key ${pages.dedupKey}`);
  out.push(`transitions (chain ${evidence.chain.verdict}: ${inert(evidence.chain.says, 300)})`);
  for (const { link, entry } of evidence.links) out.push(`  ${transition(link, entry)}`);
  return out;
}

function transition(link: Link, entry: ChainEntry): string {
  const move = entry.from === entry.to ? entry.to : `${entry.from} → ${entry.to}`;
  return `${link.seq} ${iso(entry.at)} ${entry.event} (${move}) by ${inert(entry.who, 80)}: ${inert(entry.says, 300)}`;
}
