import { readFileSync } from "node:fs";
import { parseWebhook } from "../alert/webhook.js";
import { known, policyFile } from "../app/policy.js";
import { inert } from "../alert/inert.js";
import { messageOf } from "../errors.js";
import { loadRunbooks } from "../plan/registry.js";
import { decide, targetText } from "../policy/decide.js";
import { readPolicy } from "../policy/file.js";
import type { Policy } from "../policy/policy.js";

/** One alert's row; a payload that is refused as a whole has one row with `decision` "reject". */
export interface MatchRow {
  payload: string;
  alertname: string | null;
  fingerprint: string | null;
  status: string | null;
  rule: string | null;
  runbook: string | null;
  target: string | null;
  params: unknown;
  decision: string;
  reason: string | null;
  fault?: string;
}

/** Payloads are looked at as they are: no age check, and no limit but the file's own size. */
const LIMITS = { maxAlerts: 100_000, maxLabelLength: 65_536 };

export function matchPayload(policy: Policy, payload: string, text: string): { rows: MatchRow[]; ok: boolean } {
  const refused = (fault: string): MatchRow => ({
    payload,
    alertname: null,
    fingerprint: null,
    status: null,
    rule: null,
    runbook: null,
    target: null,
    params: null,
    decision: "reject",
    reason: null,
    fault,
  });
  let body: unknown;
  try {
    body = JSON.parse(text);
  } catch (error) {
    return { rows: [refused(`not JSON: ${messageOf(error)}`)], ok: false };
  }
  try {
    const parsed = parseWebhook(body, { now: 0, ...LIMITS });
    const rows: MatchRow[] = parsed.alerts.map((alert) => {
      const decision = decide(policy, alert);
      return {
        payload,
        alertname: alert.labels["alertname"] ?? null,
        fingerprint: alert.fingerprint,
        status: alert.status,
        rule: decision.rule?.name ?? null,
        runbook: decision.runbook,
        target: targetText(decision.target),
        params: decision.params,
        decision: decision.decision,
        reason: decision.reason,
      };
    });
    for (const bad of parsed.rejected) rows.push(refused(`alerts[${bad.index}].${bad.field}: ${bad.fault}`));
    return { rows, ok: parsed.rejected.length === 0 };
  } catch (error) {
    return { rows: [refused(messageOf(error))], ok: false };
  }
}

/** `nightshift match`. Exit 0 when every payload was read, 2 for a refused policy or payload. */
export async function matchCommand(options: {
  payloads: string[];
  policy: string | null;
  json: boolean;
}): Promise<number> {
  const policy = readPolicy(
    policyFile(options.policy ?? process.env["NIGHTSHIFT_POLICY"] ?? null),
    known(await loadRunbooks()),
  );
  const rows: MatchRow[] = [];
  let ok = true;
  for (const payload of options.payloads) {
    let text: string;
    try {
      text = readFileSync(payload === "-" ? 0 : payload, "utf8");
    } catch (error) {
      rows.push({
        ...matchPayload(policy, payload, "").rows[0],
        fault: `cannot be read: ${messageOf(error)}`,
      } as MatchRow);
      ok = false;
      continue;
    }
    const answer = matchPayload(policy, payload, text);
    rows.push(...answer.rows);
    ok &&= answer.ok;
  }
  if (options.json) process.stdout.write(`${JSON.stringify(rows, null, 2)}\n`);
  else for (const row of rows) process.stdout.write(`${line(row)}\n`);
  return ok ? 0 : 2;
}

function line(row: MatchRow): string {
  const name = inert(row.alertname ?? row.payload, 60);
  if (row.decision === "reject") return `✗ ${inert(row.payload, 60)}: rejected: ${row.fault ?? ""}`;
  const what = [row.decision, row.runbook, row.target].filter((part) => part !== null).join("  ");
  return `${name}  →  ${inert(what, 200)}${row.reason === null ? "" : `  (${row.reason})`}${row.rule === null ? "" : `  rule ${row.rule}`}`;
}
