import { describe, expect, it } from "vitest";
import { codeBlock } from "../../../src/notify/code-block.js";
import { type Line, readLine, writeLine } from "../../../src/record/line.js";
import { periodOf, reportOf } from "../../../src/report/figures.js";
import { reportText } from "../../../src/report/text.js";
import { median } from "../../../src/report/times.js";

const NOW = Date.parse("2026-11-24T03:00:00Z");
const MINUTE = 60_000;
const DAY = 24 * 60 * MINUTE;
let count = 0;

function line(more: Partial<Line> = {}): Line {
  count += 1;
  return {
    id: `inc-${count}`,
    openedAt: NOW - DAY,
    endedAt: NOW - DAY + 8 * MINUTE,
    state: "held",
    reason: null,
    rule: "bad-deploy",
    runbook: "rollback-deployment",
    alert: "HighErrorRate",
    planned: true,
    asked: false,
    approved: null,
    wrote: false,
    held: [],
    resolvedAt: null,
    people: null,
    late: false,
    ...more,
  };
}

const asked = { asked: true, approved: "people" as const };
const ran = { ...asked, wrote: true };
const seen = { state: "suppressed" as const, reason: "observed" as const };
const lines: Line[] = [
  line({ ...ran, state: "remediated", endedAt: NOW - DAY + 6 * MINUTE, resolvedAt: NOW - DAY + 5 * MINUTE }),
  line({ ...ran, state: "remediated", endedAt: NOW - DAY + 10 * MINUTE }),
  line({ ...ran, approved: "policy", asked: false, reason: "verify-failed" }),
  line({ ...asked, reason: "forbidden" }),
  line({ ...ran, reason: "inconclusive" }),
  line({ ...ran, reason: "undone", resolvedAt: NOW - DAY + 400 * MINUTE }),
  line({ ...ran, reason: "aborted" }),
  line({ ...ran, reason: "reverted" }),
  line({ asked: true, reason: "denied" }),
  line({ asked: true, reason: "expired" }),
  line({ reason: "storm", held: ["storm", "budget"] }),
  line({ ...seen, planned: false, held: ["storm"] }),
  line({ ...asked, reason: "paused", held: ["kill-switch"] }),
  line({ reason: "no-healthy-revision", planned: false }),
  line({ ...seen, people: "agree", resolvedAt: NOW - DAY + 30 * MINUTE }),
  line({ ...seen, people: "agree", held: ["change-in-flight"], late: true }),
  line({ ...seen, people: "differ", resolvedAt: NOW - DAY + 50 * MINUTE }),
  line({ ...seen, people: "nothing", resolvedAt: NOW - DAY + 40 * MINUTE, held: ["storm"] }),
  line({ ...seen, people: "unknown", resolvedAt: NOW - DAY + 70 * MINUTE }),
  line({ ...seen, people: "due" }),
  line({ ...seen, people: "acted", planned: false }),
  line({ ...seen, people: "nothing", planned: false }),
  line({ rule: null, runbook: null, alert: "KubeJobFailed", reason: "escalated", planned: false }),
  line({ rule: null, runbook: null, alert: "KubeJobFailed", reason: "unmatched", planned: false, state: "suppressed" }),
  line({ alert: "StillOpen", state: "open", endedAt: null, planned: false, rule: "new" }),
];
const report = reportOf(periodOf(2, NOW), { lines, unread: 0, since: NOW - 30 * DAY });

describe("the report's figures", () => {
  it("counts what became of every incident of a rule and runbook", () => {
    expect(report.rules[0]).toMatchObject({
      rule: "bad-deploy",
      runbook: "rollback-deployment",
      incidents: 22,
      asked: 10,
      approved: 8,
      approvedByPolicy: 1,
      verified: 2,
      failed: 2,
      cannotTell: 1,
      undone: 1,
      overruled: { denied: 1, aborted: 1, reverted: 1 },
      expired: 1,
      heldBy: { storm: 2, budget: 1, "kill-switch": 1 },
      notDone: { "no-healthy-revision": 1 },
      wouldHave: {
        plans: 6,
        agree: 2,
        differ: 1,
        nothing: 1,
        unknown: 1,
        due: 1,
        late: 1,
        heldBy: { "change-in-flight": 1, storm: 1 },
        agreeAlthoughHeld: 1,
      },
      noPlan: { incidents: 2, acted: 1 },
    });
    expect(report.incidents).toEqual({ all: 25, remediated: 2, held: 12, suppressed: 10, live: 1 });
  });

  it("puts the median until verified beside the median without Nightshift, each with how many", () => {
    expect(report.alerts).toEqual([
      {
        alert: "HighErrorRate",
        verified: { incidents: 2, medianMs: 8 * MINUTE },
        withoutUs: { incidents: 4, medianMs: 45 * MINUTE, peopleActed: 2, nothingSeen: 1, notKnown: 1 },
      },
    ]);
    expect(median([])).toBeNull();
    expect(median([5])).toBe(5);
    expect(median([9, 1, 5])).toBe(5);
  });

  it("names the alerts that never had a useful remedy, but none that is still open", () => {
    expect(report.withoutRemedy).toEqual([
      { alert: "KubeJobFailed", incidents: 2, planned: 0, reasons: { escalated: 1, unmatched: 1 } },
    ]);
  });

  it("says since when anything is known", () => {
    const since = (at: number | null, unread = 0) => reportOf(periodOf(2, NOW), { lines, unread, since: at });
    expect(report.complete).toBe(true);
    expect(reportText(report).join("\n")).not.toMatch(/Covers only|not counted/);
    expect(since(NOW - 3 * DAY)).toMatchObject({ complete: false, knownSince: "2026-11-21T03:00:00.000Z" });
    expect(reportText(since(NOW - 3 * DAY))[1]).toMatch(/^Covers only what came since 2026-11-21 03:00 UTC/);
    expect(reportText(since(null))[1]).toMatch(/^Nothing is known of this period/);
    expect(since(NOW - 30 * DAY, 3).complete).toBe(false);
    expect(reportText(since(NOW - 30 * DAY, 3))[1]).toMatch(/^3 incidents kept by another version/);
  });

  it("shows numbers, never shares, and says so of every figure", () => {
    const text = reportText(report).join("\n");

    expect(text).toMatch(/2 weeks: 2026-11-10 03:00 to 2026-11-24 03:00 UTC/);
    expect(text).toMatch(
      /would have acted 6; people within 30 min: the same 2, something else 1, nothing 1, unknown 1 \(1 not yet read, 1 read late\)/,
    );
    expect(text).toMatch(/a guard would have held: change-in-flight 1, storm 1 \(people did it anyway in 1\)/);
    expect(text).toMatch(/asked 10, approved 8, by the policy 1; verified 2, failed 2, could not be told 1, undone 1/);
    expect(text).toMatch(/overruled 3 \(said no 1, stopped 1, put back 1\); nobody answered 1/);
    expect(text).toMatch(/verified after 8 min \(2\); resolved without Nightshift after 45 min \(4: /);
    expect(text).not.toMatch(/%|saved|NaN|undefined|null/);
  });

  it("shows hostile names inert, in the terminal and in Slack", () => {
    const name = "a\u001b[31m\u202e<!channel>```x```\n*b*";
    const hostile = [line({ alert: name, rule: name, planned: false, reason: "escalated" })];
    const text = reportText(reportOf(periodOf(1, NOW), { lines: hostile, unread: 0, since: 0 }));
    const slack = codeBlock(text, 2900, "more");

    expect(text.join("")).not.toMatch(/[\u001b\u202e]|a\n/);
    expect(slack).not.toMatch(/[<>\u001b\u202e]/);
    expect(slack.match(/```/g)).toHaveLength(2);
  });

  it("fits into Slack's answer and says where the rest is", () => {
    const many = Array.from({ length: 200 }, (_, i) => line({ rule: `rule-${i}`, alert: `Alert${i}` }));
    const text = reportText(reportOf(periodOf(1, NOW), { lines: many, unread: 0, since: 0 }));

    const slack = codeBlock(text, 2900, "The rest: `nightshift report --weeks 1`");

    expect(slack.length).toBeLessThanOrEqual(2900);
    expect(slack).toMatch(/```\nThe rest: `nightshift report --weeks 1`$/);
  });
});

describe("an incident's line", () => {
  it.each(lines.map((one) => [one.reason ?? one.state, one] as const))("is read as it was written: %s", (_, one) => {
    expect(readLine(one.id, writeLine(one))).toEqual(one);
    expect(writeLine(one).length).toBeLessThan(250);
  });

  it("of another version, cut short or no line at all is not read", () => {
    const text = writeLine(line());
    for (const bad of [
      text.replace("[1,", "[2,"),
      text.slice(0, -3),
      "{}",
      "[1]",
      "null",
      text.replace('"held"', '"lost"'),
    ])
      expect(readLine("inc-1", bad)).toBeNull();
  });
});
