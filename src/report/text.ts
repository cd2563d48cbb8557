/** The report for people: every figure as a number, nothing as a share, foreign names inert. */
import { inert } from "../alert/inert.js";
import { reasons } from "../record/reasons.js";
import { READ_AFTER_MS } from "../shadow/shadow.js";
import type { Counts, Report, RuleFigures } from "./figures.js";
import type { AlertTimes } from "./times.js";

/** Rules and alerts that are shown at most; `--json` has all of them. */
const MOST_RULES = 30;
const MOST_ALERTS = 20;

export function reportText(report: Report): string[] {
  const { incidents } = report;
  const lines = [
    `${plural(report.weeks, "week")}: ${minute(report.from)} to ${minute(report.to)} UTC`,
    ...covers(report),
    `${plural(incidents.all, "incident")}: ${incidents.remediated} remediated, ${incidents.held} held for a person, ${incidents.suppressed} left alone, ${incidents.live} under way`,
  ];
  if (incidents.all === 0) return lines;
  lines.push("", "BY RULE AND RUNBOOK");
  for (const rule of report.rules.slice(0, MOST_RULES)) lines.push(...ruleText(rule));
  lines.push(...rest(report.rules.length, MOST_RULES, "rules"));
  if (report.alerts.length > 0) {
    lines.push("", "HOW LONG, MEDIAN FROM THE ALERT ON (the time for which a remedy is watched afterwards is in it)");
    lines.push(...report.alerts.slice(0, MOST_ALERTS).map(timeText));
    lines.push(...rest(report.alerts.length, MOST_ALERTS, "alerts"));
  }
  if (report.withoutRemedy.length > 0) {
    lines.push("", "NEVER A USEFUL REMEDY (nothing verified, nothing planned that people did too)");
    for (const one of report.withoutRemedy.slice(0, MOST_ALERTS))
      lines.push(
        `  ${name(one.alert)}: ${plural(one.incidents, "incident")}, ${plural(one.planned, "plan")}; ${counts(one.reasons, word)}`,
      );
    lines.push(...rest(report.withoutRemedy.length, MOST_ALERTS, "alerts"));
  }
  return lines;
}

/** The period that the figures really cover. */
function covers(report: Report): string[] {
  const out: string[] = [];
  if (report.knownSince === null) out.push("Nothing is known of this period: Nightshift has kept no incident yet.");
  else if (report.knownSince > report.from)
    out.push(
      `Covers only what came since ${minute(report.knownSince)} UTC: nothing is known of before (not installed yet, or its Redis was emptied).`,
    );
  if (report.unread > 0)
    out.push(`${plural(report.unread, "incident")} kept by another version could not be read and are not counted.`);
  return out;
}

function ruleText(figures: RuleFigures): string[] {
  const { wouldHave: would, noPlan, overruled } = figures;
  const lines = [
    `  ${figures.rule === null ? "no rule" : name(figures.rule)} · ${figures.runbook === null ? "no runbook" : name(figures.runbook)}: ${plural(figures.incidents, "incident")}`,
  ];
  const add = (text: string) => lines.push(`    ${text}`);
  if (would.plans > 0) {
    const more = [
      ...(would.due > 0 ? [`${would.due} not yet read`] : []),
      ...(would.late > 0 ? [`${would.late} read late`] : []),
    ];
    add(
      `would have acted ${would.plans}; people within ${READ_AFTER_MS / 60_000} min: the same ${would.agree}, something else ${would.differ}, nothing ${would.nothing}, unknown ${would.unknown}${more.length > 0 ? ` (${more.join(", ")})` : ""}`,
    );
    if (Object.keys(would.heldBy).length > 0)
      add(
        `of these a guard would have held: ${counts(would.heldBy)} (people did it anyway in ${would.agreeAlthoughHeld})`,
      );
  }
  if (noPlan.incidents > 0)
    add(`observed, and had no plan ${noPlan.incidents}; people changed the target in ${noPlan.acted}`);
  if (figures.asked + figures.approvedByPolicy > 0) {
    add(
      `asked ${figures.asked}, approved ${figures.approved}, by the policy ${figures.approvedByPolicy}; verified ${figures.verified}, failed ${figures.failed}, could not be told ${figures.cannotTell}, undone ${figures.undone}`,
    );
    const all = overruled.denied + overruled.aborted + overruled.reverted;
    add(
      `overruled ${all} (said no ${overruled.denied}, stopped ${overruled.aborted}, put back ${overruled.reverted}); nobody answered ${figures.expired}`,
    );
  }
  if (Object.keys(figures.heldBy).length > 0)
    add(`held by guard: ${counts(figures.heldBy)} (an incident counts at each that held it)`);
  if (Object.keys(figures.notDone).length > 0) add(`not done: ${counts(figures.notDone, word)}`);
  return lines;
}

function timeText(one: AlertTimes): string {
  const { verified, withoutUs } = one;
  const parts = [
    ...(verified.incidents > 0 ? [`verified after ${span(verified.medianMs)} (${verified.incidents})`] : []),
    ...(withoutUs.incidents > 0
      ? [
          `resolved without Nightshift after ${span(withoutUs.medianMs)} (${withoutUs.incidents}: people changed the target ${withoutUs.peopleActed}, left it alone ${withoutUs.nothingSeen}, not known ${withoutUs.notKnown})`,
        ]
      : []),
  ];
  return `  ${name(one.alert)}: ${parts.join("; ")}`;
}

function rest(all: number, most: number, what: string): string[] {
  return all > most ? [`  and ${all - most} more ${what}: see --json`] : [];
}

function counts(of: Counts, words: (key: string) => string = (key) => key): string {
  return Object.entries(of)
    .map(([key, n]) => `${name(words(key))} ${n}`)
    .join(", ");
}

function word(reason: string): string {
  return reason in reasons ? reasons[reason as keyof typeof reasons] : reason;
}

function name(text: string): string {
  return inert(text, 80) || "(no name)";
}

function plural(n: number, what: string): string {
  return `${n} ${what}${n === 1 ? "" : "s"}`;
}

function minute(iso: string): string {
  return iso.slice(0, 16).replace("T", " ");
}

function span(ms: number | null): string {
  if (ms === null) return "unknown";
  if (ms < 120_000) return `${Math.round(ms / 1000)} s`;
  if (ms < 7_200_000) return `${Math.round(ms / 60_000)} min`;
  return `${(ms / 3_600_000).toFixed(1)} h`;
}
