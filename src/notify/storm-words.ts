/** What is told of a storm: how wide it is, the suspected common cause, and that nothing is changed meanwhile. */
import { inert } from "../alert/inert.js";
import { iso } from "../clock.js";
import type { IncidentRecord, StormMember, StormState } from "../record/incident.js";
import { context, header, section } from "./blocks.js";
import { code, mrkdwn } from "./escape.js";
import type { Block, PagerEvent, SlackMessage, WordsContext } from "./notify.js";

const SHOWN_SUBJECTS = 15;
const SHOWN_ALERTS = 5;

interface Width {
  /** Workloads, the first to fail first. */
  subjects: string[];
  /** Names of alerts with how many incidents each, the most frequent first. */
  alerts: [name: string, count: number][];
  total: number;
}

/** The one message of a storm. It has no buttons: there is nothing to say yes to. */
export function stormMessage(record: IncidentRecord, storm: StormState, words: WordsContext): SlackMessage {
  const width = widthOf(words);
  const over = storm.overAt !== null;
  const title = over ? `Storm over: ${workloads(width)}` : `Storm: ${workloads(width)} began to fail at once`;
  const blocks: Block[] = [header(title)];
  if (over) blocks.push(section(mrkdwn(record.timeline.at(-1)?.says ?? "it is over", 400)));
  else
    blocks.push(
      section(
        `*Nightshift changes nothing* until it has been quiet for ${minutes(storm.quietMs)}: ${mrkdwn(storm.tripped, 300)}.`,
      ),
    );
  blocks.push(
    section(
      [
        `Suspected common cause: *${storm.cause === null ? "none could be told" : mrkdwn(storm.cause, 300)}*`,
        ...storm.evidence.map((line) => `• ${mrkdwn(line, 300)}`),
      ].join("\n"),
    ),
    section(`${width.total} incidents: ${alertsText(width, (name) => code(name, 80))}`),
  );
  if (width.subjects.length > 0)
    blocks.push(
      section(
        subjectLines(width, (subject) => code(subject, 120))
          .map((line) => `• ${line}`)
          .join("\n"),
      ),
    );
  blocks.push(
    context(
      [
        code(record.id),
        `since ${iso(record.openedAt).slice(11, 19)}`,
        "after it is over: `nightshift run INCIDENT --new-plan`",
        ...(record.page === "sent" ? ["PagerDuty knows"] : record.page === "wanted" ? ["paging"] : []),
      ].join(" · "),
    ),
  );
  const cause = storm.cause === null ? "" : `; suspected: ${storm.cause}`;
  return { text: mrkdwn(`${title}${cause}`, 500), blocks };
}

/** The one page of a storm; the same key whenever it is sent again. */
export function stormPage(
  record: IncidentRecord,
  storm: StormState,
  words: Pick<WordsContext, "url" | "storm">,
): PagerEvent {
  const width = widthOf(words);
  const cause = storm.cause === null ? "no common cause could be told" : `suspected common cause: ${storm.cause}`;
  return {
    action: "trigger",
    dedupKey: record.dedupKey,
    summary: inert(
      `Storm: ${workloads(width)} began to fail at once; ${cause}. Nightshift changes nothing until it has been quiet for ${minutes(storm.quietMs)}`,
      1000,
    ),
    source: inert(record.cluster || "nightshift", 200),
    severity: record.pageSeverity,
    class: "storm",
    timestamp: iso(record.openedAt),
    details: {
      incident: record.id,
      tripped: inert(storm.tripped, 500),
      suspected_cause: inert(storm.cause ?? "none could be told", 500),
      evidence: storm.evidence.map((line) => inert(line, 500)),
      incidents: width.total,
      alerts: alertsText(width, (name) => inert(name, 80)),
      workloads: subjectLines(width, (subject) => inert(subject, 200)),
    },
    links: words.url === "" ? [] : [{ href: `${words.url}/incidents/${record.id}`, text: "Nightshift: the story" }],
  };
}

function widthOf(words: Pick<WordsContext, "storm">): Width {
  const members: readonly StormMember[] = words.storm?.members ?? [];
  const counts = new Map<string, number>();
  for (const { alertname } of members) counts.set(alertname, (counts.get(alertname) ?? 0) + 1);
  return {
    subjects: [...new Set(members.map((one) => one.subject))].filter((subject) => subject !== ""),
    alerts: [...counts].sort((a, b) => b[1] - a[1]),
    total: words.storm?.total ?? 0,
  };
}

function workloads(width: Width): string {
  const n = width.subjects.length;
  return n === 0 ? "many workloads" : `${n} workload${n === 1 ? "" : "s"}`;
}

function alertsText(width: Width, name: (text: string) => string): string {
  const shown = width.alerts.slice(0, SHOWN_ALERTS).map(([alert, n]) => `${name(alert)} ${n}×`);
  const more = width.alerts.length - SHOWN_ALERTS;
  return shown.join(", ") + (more > 0 ? ` and ${more} more alerts` : "");
}

function subjectLines(width: Width, name: (text: string) => string): string[] {
  const lines = width.subjects.slice(0, SHOWN_SUBJECTS).map(name);
  const more = width.subjects.length - SHOWN_SUBJECTS;
  return more > 0 ? [...lines, `and ${more} more`] : lines;
}

function minutes(ms: number): string {
  return ms < 120_000 ? `${Math.round(ms / 1000)} s` : `${Math.round(ms / 60_000)} min`;
}
