/** The one message of an incident, rendered from the record as it stands. Never from an event. */
import { nameOf } from "../cluster.js";
import { planDifference } from "../plan/plan.js";
import type { IncidentRecord, Plan } from "../record/incident.js";
import { reasons } from "../record/reasons.js";
import { context, header, section } from "./blocks.js";
import { code, mrkdwn, safeUrl } from "./escape.js";
import { headlineWithLog } from "./headline.js";
import type { Block, SlackMessage, WordsContext } from "./notify.js";
import { stormMessage } from "./storm-words.js";

/** Slack's limits, with room to spare: 50 blocks and about 13,200 characters in all. */
const MAX_TOTAL = 12_000;

export function incidentMessage(record: IncidentRecord, words: WordsContext): SlackMessage {
  if (record.storm) return stormMessage(record, record.storm, words);
  const blocks: Block[] = [header(headline(record))];
  blocks.push(section(where(record)));
  if (record.state === "waiting" && record.plan) blocks.push(...ask(record, record.plan, words));
  else blocks.push(...told(record, words));
  blocks.push(context(footer(record, words)));
  return { text: text(record, words).slice(0, 500), blocks: bounded(blocks) };
}

/** What a phone shows. An ask's first 120 characters hold verb, target, cost and expiry. */
function text(record: IncidentRecord, words: WordsContext): string {
  const name = record.target ? nameOf(record.target) : alertNames(record);
  if (record.state === "waiting" && record.plan) {
    const verb = `${record.plan.verb.slice(0, 1).toUpperCase()}${record.plan.verb.slice(1, 14)}`;
    const short = record.plan.target.name.slice(0, 34);
    return `${verb} ${mrkdwn(short, 34)}? ${mrkdwn(record.plan.takes, 18)}, loses ${mrkdwn(record.plan.loses, 30)}, ${minutesLeft(record.plan.expiresAt - words.now)} left`;
  }
  return `${state(record)}: ${mrkdwn(name, 120)}`;
}

function headline(record: IncidentRecord): string {
  const name = record.target ? `${record.target.kind} ${record.target.name}` : alertNames(record);
  return `${state(record)}: ${name}`;
}

function state(record: IncidentRecord): string {
  switch (record.state) {
    case "open":
      return "Looking";
    case "waiting":
      return "Your answer, please";
    case "approved":
      return "Approved, starting";
    case "running":
      return record.run?.effectAt ? "Done, checking that it helps" : "Carrying it out";
    case "remediated":
      return "Remediated";
    case "held":
      return "A person is needed";
    case "suppressed":
      return record.wouldHave === null ? "Nothing done" : "Observed";
  }
}

function where(record: IncidentRecord): string {
  const firing = record.alerts.filter((a) => a.status === "firing");
  const list = (firing.length > 0 ? firing : record.alerts)
    .slice(0, 6)
    .map((a) => code(a.labels["alertname"] ?? "", 60));
  const more = record.alerts.length > 6 ? ` and ${record.alerts.length - 6} more` : "";
  const target = record.target
    ? `${code(nameOf(record.target), 200)} in ${code(record.cluster, 60)}`
    : code(record.cluster || "no cluster", 60);
  const fires = firing.length > 0 ? (firing.length === 1 ? "fires" : "fire") : "resolved";
  const summary = record.alerts[0]?.annotations["summary"] ?? record.alerts[0]?.annotations["message"];
  return [target, `${list.join(", ")}${more} ${fires}`, summary ? mrkdwn(summary, 300) : ""]
    .filter((line) => line !== "")
    .join("\n");
}

function ask(record: IncidentRecord, plan: Plan, words: WordsContext): Block[] {
  const blocks: Block[] = [section(`*${mrkdwn(plan.sentence, 400)}*`)];
  if (record.previousPlan) {
    const lines = planDifference(record.previousPlan, plan).map((line) => `• ${mrkdwn(line, 200)}`);
    const why =
      record.says === ""
        ? "This is a new plan."
        : `The plan before this one no longer held: ${mrkdwn(record.says, 300)}`;
    blocks.push(section([why, ...lines].join("\n")));
  }
  blocks.push(section(planLines(plan).join("\n")));
  const found = diagnosis(record);
  if (found !== "") blocks.push(section(found));
  if (record.others.length > 0)
    blocks.push(
      context(
        `Not taken: ${record.others
          .slice(0, 5)
          .map((other) => mrkdwn(other, 120))
          .join("; ")}`,
      ),
    );
  blocks.push(context(guardLine(record)));
  if (record.needed > 1 || record.approvals.length > 0) {
    blocks.push(
      context(
        `${record.approvals.length} of ${record.needed} approvals: ${record.approvals.map((a) => mrkdwn(a.name, 60)).join(", ") || "nobody yet"}`,
      ),
    );
  }
  blocks.push(
    actions(record, words, [
      ["approve", `Approve ${plan.verb}`, "primary"],
      ["deny", "Deny", "danger"],
    ]),
  );
  return blocks;
}

function planLines(plan: Plan): string[] {
  const lines = plan.changes
    .slice(0, 4)
    .map((change) => `${code(change.field, 60)} ${mrkdwn(change.from, 400)} → ${mrkdwn(change.to, 400)}`);
  lines.push(
    `Loses: ${mrkdwn(plan.loses, 300)}`,
    `Takes: ${mrkdwn(plan.takes, 120)}`,
    `Undo: ${mrkdwn(plan.undo, 300)}`,
  );
  for (const line of plan.evidence.slice(0, 4)) lines.push(`• ${mrkdwn(line, 300)}`);
  if (plan.dryRun !== "") lines.push(mrkdwn(plan.dryRun, 200));
  lines.push(`Plan ${code(plan.digest.slice(0, 8))}`);
  return lines;
}

function told(record: IncidentRecord, words: WordsContext): Block[] {
  const blocks: Block[] = [];
  if (record.wouldHave !== null) blocks.push(section(`*${mrkdwn(record.wouldHave, 600)}*`));
  if (record.reason !== null)
    blocks.push(section(`${mrkdwn(capital(reasons[record.reason]), 200)}. ${mrkdwn(record.says, 800)}`));
  else if (record.says !== "") blocks.push(section(mrkdwn(record.says, 800)));
  if (
    record.plan &&
    (record.state !== "suppressed" ||
      record.wouldHave !== null ||
      record.reason === "proposed" ||
      record.reason === "no-pager")
  ) {
    blocks.push(section([`*${mrkdwn(record.plan.sentence, 400)}*`, ...planLines(record.plan)].join("\n")));
  }
  if (record.handOff !== null)
    blocks.push(section(`To change elsewhere:\n\`\`\`${handOffLines(record.handOff)}\`\`\``));
  if (record.approvals.length > 0)
    blocks.push(context(`Approved by ${record.approvals.map((a) => mrkdwn(a.name, 60)).join(", ")}`));
  if (record.run) {
    for (const step of record.run.steps) blocks.push(context(`✓ ${code(step.name)} ${mrkdwn(step.says, 120)}`));
    const look = record.run.looks.at(-1);
    if (look) blocks.push(context(`Look ${record.run.looks.length}: ${mrkdwn(look.says, 200)}`));
  }
  const found = diagnosis(record);
  if (found !== "") blocks.push(section(found));
  if (record.guards.some((guard) => guard.holds)) blocks.push(context(guardLine(record)));
  if (record.state === "running" && !record.run?.abort)
    blocks.push(actions(record, words, [["abort", `Abort ${record.plan?.verb ?? "run"}`, "danger"]]));
  if (record.state === "held" && record.reason === "expired" && !record.resolved)
    blocks.push(actions(record, words, [["replan", "New plan", "primary"]]));
  return blocks;
}

/** Text to copy, line by line: inert text has no line breaks of its own. */
function handOffLines(text: string): string {
  const lines = text.split("\n").map((line) => mrkdwn(line.replace(/`/g, "'"), 300));
  return lines.join("\n").slice(0, 2000);
}

function diagnosis(record: IncidentRecord): string {
  return headlineWithLog(record.diagnosis)
    .slice(0, 4)
    .map((line) => `> ${mrkdwn(line, 400)}`)
    .join("\n");
}

function guardLine(record: IncidentRecord): string {
  const held = record.guards.filter((guard) => guard.holds);
  if (held.length > 0) {
    return held
      .slice(0, 3)
      .map((g) => `Held by ${mrkdwn(g.guard, 40)}: expected ${mrkdwn(g.expected, 120)}, found ${mrkdwn(g.found, 120)}`)
      .join("\n");
  }
  const shown = record.guards.slice(0, 14).map((g) => `${mrkdwn(g.guard, 30)} ${mrkdwn(g.found, 40)}`);
  return `All ${record.guards.length} guards say yes: ${shown.join(" · ")}`;
}

function footer(record: IncidentRecord, words: WordsContext): string {
  const parts = [code(record.id)];
  if (words.url !== "") parts.push(`<${words.url}/incidents/${encodeURIComponent(record.id)}|story>`);
  const alert = record.alerts[0];
  const source = safeUrl(alert?.generatorURL);
  if (source !== null) parts.push(`<${source.replace(/\|/g, "%7C").replace(/>/g, "%3E")}|metric>`);
  const written = safeUrl(alert?.annotations["runbook_url"]);
  if (written !== null) parts.push(`<${written}|written runbook>`);
  if (record.page === "sent") parts.push("PagerDuty knows");
  if (record.page === "wanted") parts.push("paging");
  return parts.join(" · ");
}

function actions(
  record: IncidentRecord,
  words: WordsContext,
  buttons: [id: string, label: string, style: "primary" | "danger"][],
): Block {
  const value = JSON.stringify({
    i: record.id,
    n: record.plan?.nonce ?? "",
    d: record.plan?.digest ?? "",
    m: words.seal(record),
    o: words.install,
  });
  return {
    type: "actions",
    block_id: `nightshift-${record.plan?.nonce.slice(0, 12) ?? "none"}`,
    elements: buttons.map(([id, label, style]) => ({
      type: "button",
      action_id: id,
      style,
      text: { type: "plain_text", text: label.slice(0, 70) },
      value,
    })),
  };
}

function alertNames(record: IncidentRecord): string {
  return [...new Set(record.alerts.map((a) => a.labels["alertname"] ?? ""))].slice(0, 3).join(", ");
}

/** Drops blocks from the middle until Slack takes it: the ask and its buttons stay, evidence goes first. */
function bounded(blocks: Block[]): Block[] {
  const kept = [...blocks];
  const size = () => JSON.stringify(kept).length;
  while ((kept.length > 45 || size() > MAX_TOTAL) && kept.length > 4) {
    const droppable = kept.findLastIndex(
      (block, index) => index > 2 && block["type"] !== "actions" && index < kept.length - 1,
    );
    if (droppable < 0) break;
    kept.splice(droppable, 1);
  }
  return kept;
}

function minutesLeft(ms: number): string {
  if (ms <= 0) return "no time";
  return ms < 90_000 ? `${Math.ceil(ms / 1000)} s` : `${Math.round(ms / 60_000)} min`;
}

function capital(words: string): string {
  return words.slice(0, 1).toUpperCase() + words.slice(1);
}
