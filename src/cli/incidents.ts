import { inert } from "../alert/inert.js";
import { headlineWithLog } from "../notify/headline.js";
import { iso } from "../clock.js";
import { nameOf } from "../cluster.js";
import type { IncidentRecord } from "../record/incident.js";
import { reasons } from "../record/reasons.js";
import { connect, find } from "./connect.js";

const print = (text: string) => process.stdout.write(`${text}\n`);

function subject(record: IncidentRecord): string {
  return inert(record.target ? nameOf(record.target) : (record.alerts[0]?.labels["alertname"] ?? ""), 80);
}

export async function incidents(options: { limit: number; json: boolean }): Promise<number> {
  const connection = await connect();
  try {
    const found = await connection.records.recent(options.limit);
    if (options.json) print(JSON.stringify(found, null, 2));
    else if (found.length === 0) print("No incidents.");
    else
      for (const r of found)
        print(
          `${r.id}  ${iso(r.openedAt).slice(0, 19)}Z  ${r.state}${r.reason ? ` (${r.reason})` : ""}  ${subject(r)}`,
        );
    return 0;
  } finally {
    connection.close();
  }
}

export async function runs(options: { limit: number; json: boolean }): Promise<number> {
  const connection = await connect();
  try {
    const found = (await connection.records.recent(Math.max(200, options.limit)))
      .filter((r) => r.run !== null)
      .slice(0, options.limit);
    if (options.json)
      print(
        JSON.stringify(
          found.map((r) => ({ incident: r.id, ...r.run, outcome: r.state, reason: r.reason, plan: r.plan?.sentence })),
          null,
          2,
        ),
      );
    else if (found.length === 0) print("No runs.");
    else
      for (const r of found)
        print(
          `${r.run?.id ?? ""}  ${iso(r.run?.startedAt ?? 0).slice(0, 19)}Z  ${r.state}${r.reason ? ` (${r.reason})` : ""}  ${r.plan?.sentence ?? subject(r)}`,
        );
    return 0;
  } finally {
    connection.close();
  }
}

export async function why(options: { incident: string; json: boolean }): Promise<number> {
  const connection = await connect();
  try {
    const r = await find(connection.records, options.incident);
    if (options.json) print(JSON.stringify(r, null, 2));
    else for (const line of story(r)) print(line);
    return 0;
  } finally {
    connection.close();
  }
}

/** The incident in lines: what it is, what was planned, every guard with its two values, and the timeline. */
export function story(r: IncidentRecord): string[] {
  const lines = [
    `${r.id}  ${r.state}${r.reason ? `: ${reasons[r.reason]}` : ""}`,
    `  ${subject(r)} in ${inert(r.cluster, 60)}, rule ${r.rule ?? "none"}, runbook ${r.runbook ?? "none"}`,
  ];
  if (r.says !== "") lines.push(`  ${inert(r.says, 500)}`);
  if (r.wouldHave !== null) lines.push(`  ${inert(r.wouldHave, 500)}`);
  if (r.plan) {
    lines.push(`plan ${r.plan.digest.slice(0, 8)}: ${r.plan.sentence}`);
    for (const change of r.plan.changes) lines.push(`  ${change.field}: ${change.from} → ${change.to}`);
    lines.push(`  loses ${r.plan.loses}; takes ${r.plan.takes}; undo: ${r.plan.undo}`);
  }
  if (r.guards.length > 0) lines.push("guards");
  for (const g of r.guards)
    lines.push(
      `  ${g.holds ? "no " : "yes"} ${g.guard}: expected ${inert(g.expected, 120)}, found ${inert(g.found, 120)}${g.holds ? ` (${inert(g.says, 300)})` : ""}`,
    );
  for (const line of headlineWithLog(r.diagnosis)) lines.push(`diagnosis: ${inert(line, 300)}`);
  lines.push("story");
  for (const entry of r.timeline)
    lines.push(`  ${iso(entry.at).slice(11, 23)}Z ${entry.what}: ${inert(entry.says, 400)}`);
  return lines;
}
