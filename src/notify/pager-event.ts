/** What PagerDuty is told, rendered from the record as it stands. Log lines never go there. */
import { inert } from "../alert/inert.js";
import { iso } from "../clock.js";
import { nameOf } from "../cluster.js";
import type { IncidentRecord } from "../record/incident.js";
import { reasons } from "../record/reasons.js";
import { safeUrl } from "./escape.js";
import type { PagerEvent, WordsContext } from "./notify.js";
import { stormPage } from "./storm-words.js";

const SUMMARY = 1000;

export function pagerEvent(record: IncidentRecord, words: Pick<WordsContext, "url" | "slack" | "storm">): PagerEvent {
  if (record.storm) return stormPage(record, record.storm, words);
  const name = record.target ? nameOf(record.target) : names(record);
  const alert = record.alerts[0];
  const links = [
    words.url === "" ? null : { href: `${words.url}/incidents/${record.id}`, text: "Nightshift: the story" },
    link(alert?.generatorURL, "The metric"),
    link(alert?.annotations["runbook_url"], "Written runbook"),
  ].filter((one) => one !== null);
  return {
    action: "trigger",
    dedupKey: record.dedupKey,
    summary: inert(summary(record, name), SUMMARY),
    source: inert(record.cluster || "nightshift", 200),
    severity: record.pageSeverity,
    ...(record.target ? { component: inert(record.target.name, 200), group: inert(record.target.namespace, 200) } : {}),
    class: inert(alert?.labels["alertname"] ?? "", 200),
    timestamp: iso(record.openedAt),
    details: details(record, words),
    links,
  };
}

function summary(record: IncidentRecord, name: string): string {
  if (record.state === "waiting" && record.plan)
    return `${record.plan.sentence}? Needs ${record.needed} approval${record.needed === 1 ? "" : "s"}; ${record.plan.loses} is lost; ${names(record)} fires`;
  const why =
    record.reason === null ? record.says : `${reasons[record.reason]}${record.says === "" ? "" : `: ${record.says}`}`;
  return `${name}: ${names(record)} needs a person. ${why}`;
}

function details(record: IncidentRecord, words: Pick<WordsContext, "slack">): Record<string, unknown> {
  const list = (lines: readonly string[], most: number) => lines.slice(0, most).map((line) => inert(line, 500));
  const { plan } = record;
  return {
    incident: record.id,
    alerts: list(
      record.alerts.map(
        (a) =>
          `${a.labels["alertname"] ?? ""} ${a.status} since ${a.startsAt}: ${a.annotations["summary"] ?? a.annotations["message"] ?? ""}`,
      ),
      20,
    ),
    ...(plan
      ? {
          plan: {
            sentence: inert(plan.sentence, 500),
            changes: list(
              plan.changes.map((c) => `${nameOf(c.object)} ${c.field}: ${c.from} → ${c.to}`),
              10,
            ),
            loses: inert(plan.loses, 300),
            takes: inert(plan.takes, 100),
            undo: inert(plan.undo, 300),
            digest: plan.digest,
            expires: iso(plan.expiresAt),
          },
        }
      : {}),
    ...(record.state === "waiting"
      ? {
          answer: words.slack
            ? "approve or deny in Slack, or with `nightshift run`"
            : "Slack is not configured: approve with `nightshift run --approve`",
        }
      : {}),
    ...(record.handOff === null ? {} : { hand_off: list(record.handOff.split("\n"), 60) }),
    diagnosis: list(record.diagnosis?.headline ?? [], 4),
    more: (record.diagnosis?.details ?? [])
      .slice(0, 8)
      .map((part) => ({ title: inert(part.title, 100), lines: list(part.lines, 15) })),
    held_by: list(
      record.guards.filter((g) => g.holds).map((g) => `${g.guard}: expected ${g.expected}, found ${g.found}`),
      10,
    ),
    timeline: list(
      record.timeline.map((entry) => `${iso(entry.at)} ${entry.says}`),
      40,
    ),
  };
}

/** The resolve of what Nightshift opened itself (`paging: instead`). */
export function pagerResolve(record: IncidentRecord): PagerEvent {
  return {
    action: "resolve",
    dedupKey: record.dedupKey,
    summary: "resolved",
    source: record.cluster || "nightshift",
    severity: record.pageSeverity,
    details: {},
    links: [],
  };
}

/** The direct path: needs neither Redis nor Slack nor a record. `key` names the cause. */
export function directPage(
  cause: { key: string; summary: string; severity?: PagerEvent["severity"] },
  words: { url: string; now: number },
): PagerEvent {
  return {
    action: "trigger",
    dedupKey: cause.key.slice(0, 255),
    summary: inert(cause.summary, SUMMARY),
    source: "nightshift",
    severity: cause.severity ?? "critical",
    timestamp: iso(words.now),
    details: {},
    links: words.url === "" ? [] : [{ href: words.url, text: "Nightshift" }],
  };
}

function link(url: string | undefined, text: string): { href: string; text: string } | null {
  const safe = safeUrl(url);
  return safe === null ? null : { href: safe, text };
}

function names(record: IncidentRecord): string {
  return [...new Set(record.alerts.map((a) => a.labels["alertname"] ?? ""))].slice(0, 4).join(", ");
}
