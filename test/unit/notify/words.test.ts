import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { eventFaults } from "../../../sandbox/pagerduty/index.js";
import { blockFaults } from "../../../sandbox/slack/validate.js";
import { sealApproval, sealButton, verifyApproval, verifyButton } from "../../../src/approval/seal.js";
import { code, mrkdwn, safeUrl } from "../../../src/notify/escape.js";
import { pagerEvent } from "../../../src/notify/pager-event.js";
import { incidentMessage } from "../../../src/notify/slack-message.js";
import { threadReplies } from "../../../src/notify/thread.js";
import type { IncidentRecord } from "../../../src/record/incident.js";
import { stormRecord } from "../../../src/record/open.js";
import { redact } from "../../../src/log.js";
import { NOW, scene } from "../../harness/guard-scene.js";

const words = {
  url: "https://nightshift.example",
  install: "test",
  now: NOW,
  seal: () => "s".repeat(64),
  slack: true,
  storm: null,
};
const base = (): IncidentRecord => ({ ...scene("effect").context.incident, previousPlan: null });

const states: IncidentRecord["state"][] = [
  "open",
  "waiting",
  "approved",
  "running",
  "remediated",
  "held",
  "suppressed",
];
/** Our own shorthand for guards never reaches people; what others write may look like it. */
const SHORTHAND = /\bG\d\d\b/;
const hostile = fc.oneof(
  fc.string({ maxLength: 200 }).filter((text) => !SHORTHAND.test(text)),
  fc.constantFrom(
    "<!channel>",
    "<@U123>",
    "*bold* `code` <http://x|y>",
    "\u202eevil",
    "a".repeat(70_000),
    "🙂".repeat(2000),
    "&lt;&amp;",
  ),
);

const record = fc
  .record({
    state: fc.constantFrom(...states),
    text: hostile,
    other: hostile,
    lines: fc.array(hostile, { maxLength: 30 }),
    alerts: fc.integer({ min: 1, max: 200 }),
  })
  .map(({ state, text, other, lines, alerts }): IncidentRecord => {
    const r = base();
    const [alert] = r.alerts;
    if (!alert || !r.plan) throw new Error("the scene is empty");
    return {
      ...r,
      state,
      says: text,
      reason: state === "held" ? "expired" : null,
      wouldHave: state === "suppressed" ? text : null,
      handOff: other,
      others: lines,
      alerts: Array.from({ length: alerts }, (_, i) => ({
        ...alert,
        identity: `${i}@t`,
        labels: { ...alert.labels, alertname: text || "A", x: other },
        annotations: { summary: other, runbook_url: text },
      })),
      plan: {
        ...r.plan,
        sentence: text || "x",
        loses: other,
        evidence: lines,
        verb: "rollback",
        changes: r.plan.changes.map((c) => ({ ...c, from: text, to: other })),
      },
      diagnosis: { headline: lines, details: [{ title: text, lines }], logs: lines },
      guards: lines.map((line) => ({
        guard: "storm",
        at: "plan" as const,
        time: NOW,
        holds: true,
        reason: "storm" as const,
        says: line,
        expected: line,
        found: text,
      })),
      timeline: lines.map((says) => ({ at: NOW, what: "noted", says })),
    };
  });

describe("what people read", () => {
  it("is taken by Slack and PagerDuty whatever an incident holds (H47)", () => {
    fc.assert(
      fc.property(record, (r) => {
        const message = incidentMessage(r, words);
        expect(blockFaults(message.blocks)).toEqual([]);
        for (const reply of threadReplies(r, 0)) expect(blockFaults(reply.blocks)).toEqual([]);
        const event = pagerEvent(r, words);
        const sent = {
          routing_key: "0".repeat(32),
          event_action: "trigger",
          dedup_key: event.dedupKey,
          payload: {
            summary: event.summary,
            source: event.source,
            severity: event.severity,
            custom_details: event.details,
          },
          links: event.links,
        };
        expect(eventFaults(sent)).toEqual([]);
        expect(JSON.stringify(sent).length).toBeLessThan(512 * 1024);
        expect(JSON.stringify(message.blocks)).not.toMatch(/<!channel>|<@U123>/);
        expect(JSON.stringify(message.blocks)).not.toMatch(SHORTHAND);
      }),
      { numRuns: 200 },
    );
  });

  it("is taken whatever a storm holds, and names its cause first (H38 H47)", () => {
    const member = fc.record({ incident: hostile, alertname: hostile, subject: hostile, at: fc.constant(NOW) });
    fc.assert(
      fc.property(
        hostile,
        fc.array(hostile, { maxLength: 6 }),
        fc.array(member, { maxLength: 60 }),
        (cause, evidence, members) => {
          const opened = stormRecord({ cluster: "prod", openSince: NOW, tripped: cause, quietMs: 900_000, now: NOW });
          const r: IncidentRecord = {
            ...opened,
            storm: { tripped: cause, cause, evidence, quietMs: 900_000, overAt: null },
          };
          const told = { ...words, storm: { members, total: members.length } };
          const message = incidentMessage(r, told);
          const event = pagerEvent(r, told);
          expect(blockFaults(message.blocks)).toEqual([]);
          expect(event.summary.length).toBeLessThanOrEqual(1024);
          expect(event.dedupKey).toBe(`nightshift/storm-${NOW}`);
          expect(JSON.stringify(message.blocks)).not.toMatch(/<!channel>|<@U123>/);
          expect(JSON.stringify(message.blocks).length).toBeLessThan(13_200);
          expect(JSON.stringify(event.details).length).toBeLessThan(100_000);
        },
      ),
      { numRuns: 100 },
    );
  });

  it("keeps the lines of what is to be changed elsewhere", () => {
    const handOff = "git revert 1234\n  image: shop/cart:41\n<!channel>";
    const r = { ...base(), state: "held" as const, reason: "owned-by-gitops" as const, handOff };

    expect(JSON.stringify(incidentMessage(r, words).blocks)).toContain("git revert 1234\\n");
    expect(JSON.stringify(incidentMessage(r, words).blocks)).not.toContain("<!channel>");
    expect(pagerEvent(r, words).details["hand_off"]).toEqual([
      "git revert 1234",
      "  image: shop/cart:41",
      "<!channel>",
    ]);
  });

  it("says verb, target, cost and expiry in an ask's first 120 characters", () => {
    const r = { ...base(), state: "waiting" as const };
    const text = incidentMessage(r, words).text.slice(0, 120);

    expect(text).toMatch(/^Rollback cart\? about 2 min, loses what revision 42 brought, 10 min left$/);
  });

  it.each([
    ["waiting", null, ["Approve rollback", "Deny"]],
    ["running", null, ["Abort rollback"]],
    ["held", "expired", ["New plan"]],
    ["held", "storm", []],
    ["remediated", null, []],
    ["suppressed", null, []],
  ] as const)("shows a %s (%s) incident with the buttons %o", (state, reason, expected) => {
    const message = incidentMessage({ ...base(), state, reason }, words);
    const labels = message.blocks
      .filter((b) => b["type"] === "actions")
      .flatMap((b) => (b["elements"] as { text: { text: string } }[]).map((e) => e.text.text));

    expect(labels).toEqual(expected);
  });

  it("keeps foreign text from formatting, mentioning or linking (H47)", () => {
    expect(mrkdwn("<!channel> *x* <http://e|f> & \u202e")).not.toMatch(/<|>|\u202e/);
    expect(code("a`b<c>")).toBe("`a'b&lt;c&gt;`");
    expect(safeUrl("javascript:alert(1)")).toBeNull();
    expect(safeUrl("https://x/|<y>")).toBeNull();
    expect(safeUrl("https://runbooks.example/a?b=c")).toBe("https://runbooks.example/a?b=c");
  });

  it.each([
    ["a password in a URL", "postgresql://mcp_user:secure_password@postgres:5432/db", "secure_password"],
    ["an assignment", "DB_PASSWORD=hunter22 retrying", "hunter22"],
    ["a bearer token", "Authorization: Bearer abcdef0123456789", "abcdef0123456789"],
    ["a Slack token", "xoxb-1234567890-abcdef", "1234567890-abcdef"],
    ["a JWT", "token eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abc-DEF", "eyJzdWIiOiIxIn0"],
    ["an AWS key", "AKIAIOSFODNN7EXAMPLE", "AKIAIOSFODNN7EXAMPLE"],
    ["JSON", '{"api_key": "s3cr3tvalue"}', "s3cr3tvalue"],
  ])("hides %s", (_what, text, secret) => {
    expect(redact(text)).not.toContain(secret);
    expect(redact(text)).toContain("[redacted]");
  });
});

describe("seals", () => {
  const button = { install: "a", incident: "i", nonce: "n", digest: "d" };
  const approval = { incident: "i", nonce: "n", digest: "d", by: "slack:U1", at: 1 };

  it("fit what they were made for and nothing else (H45)", () => {
    expect(verifyButton("k", button, sealButton("k", button))).toBe(true);
    for (const other of [{ install: "b" }, { incident: "j" }, { nonce: "m" }, { digest: "e" }])
      expect(verifyButton("k", { ...button, ...other }, sealButton("k", button))).toBe(false);
    expect(verifyButton("other", button, sealButton("k", button))).toBe(false);
    expect(verifyApproval("k", approval, sealApproval("k", approval))).toBe(true);
    expect(verifyApproval("k", { ...approval, by: "slack:U2" }, sealApproval("k", approval))).toBe(false);
    expect(verifyApproval("k", approval, sealButton("k", button))).toBe(false);
    expect(verifyButton("k", button, "")).toBe(false);
  });
});
