import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { IncidentRecord } from "../../../src/record/incident.js";
import { apply, type Event, needsAttention } from "../../../src/record/machine.js";
import { newRecord, stormRecord } from "../../../src/record/open.js";
import { NOW, scene } from "../../harness/guard-scene.js";

const { context } = scene();
const plan = context.plan;
const open: IncidentRecord = { ...context.incident, plan: null, state: "open" };
const alert = context.incident.alerts[0];
if (alert === undefined) throw new Error("the scene has no alert");
const approval = { by: "slack:U1", name: "ann", at: NOW, nonce: plan.nonce, digest: plan.digest, mac: "m" };

const events: Event[] = [
  { type: "firing", alert, rule: "bad-deploy" },
  { type: "firing", alert: { ...alert, identity: "other@t", fingerprint: "other" }, rule: null },
  { type: "resolved", identity: alert.identity, endsAt: null, lastSeen: NOW },
  { type: "lost" },
  { type: "suppressed", reason: "observed", says: "" },
  { type: "held", reason: "storm", says: "" },
  { type: "held", reason: "storm", says: "", joined: "storm-1" },
  { type: "asked", plan, needed: 1, page: true, guards: [], others: [] },
  { type: "decidedByPolicy", plan, approval: { ...approval, by: "policy" }, guards: [], others: [] },
  { type: "yes", approval },
  { type: "yes", approval: { ...approval, nonce: "old" } },
  { type: "no", nonce: plan.nonce, says: "" },
  { type: "expired", nonce: plan.nonce },
  { type: "replan", by: "ann" },
  { type: "start", token: 1, run: "run-1", active: true },
  { type: "start", token: 1, run: "run-1", active: false },
  { type: "resume", token: 2 },
  { type: "resume", token: 1 },
  { type: "stepDone", token: 1, step: "roll-back", says: "done", at: NOW },
  { type: "changedWorld", token: 1, says: "", guards: [] },
  { type: "stopped", token: 1, reason: "paused", says: "", guards: [] },
  { type: "ended", run: "run-1", outcome: "remediated", reason: null, says: "" },
  { type: "ended", run: "run-1", outcome: "held", reason: "inconclusive", says: "" },
  { type: "abort", by: "ann" },
  { type: "stillFiring", says: "" },
  { type: "orphan", run: "run-1", says: "" },
  { type: "memoryLost", says: "restored" },
  { type: "paged", why: "held" },
];

const look: Event = { type: "look", token: 1, look: { at: NOW, world: "good", symptom: "gone", says: "" }, memo: null };
const toTheRun: Event[] = [
  { type: "decidedByPolicy", plan, approval: { ...approval, by: "policy" }, guards: [], others: [] },
  { type: "start", token: 1, run: "run-1", active: true },
];

/** Whoever writes into it is thrown at. */
function frozen<T>(value: T): T {
  if (typeof value === "object" && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value);
    for (const part of Object.values(value)) frozen(part);
  }
  return value;
}

function play(...list: Event[]): IncidentRecord {
  let record = open;
  for (const event of list) {
    const change = apply(record, event, NOW);
    if (change.changed) record = change.record;
  }
  return record;
}

function step(record: IncidentRecord, event: Event): IncidentRecord {
  const change = apply(record, event, NOW);
  return change.changed ? change.record : record;
}

const asked: Event = { type: "asked", plan, needed: 1, page: true, guards: [], others: [] };
const yes: Event = { type: "yes", approval };
const start: Event = { type: "start", token: 1, run: "run-1", active: true };

describe("the record's life", () => {
  it("goes from an alert to remediated", () => {
    expect(
      play(asked, yes, start, { type: "ended", run: "run-1", outcome: "remediated", reason: null, says: "well" }),
    ).toMatchObject({ state: "remediated", page: "wanted", pageWhy: "ask" });
  });

  it("keeps an old button from approving a new plan (H45)", () => {
    expect(play(asked, { type: "yes", approval: { ...approval, nonce: "old" } }).state).toBe("waiting");
    expect(play(asked, { type: "yes", approval: { ...approval, digest: "other" } }).state).toBe("waiting");
  });

  it("counts the same person once", () => {
    const two: Event = { ...asked, needed: 2 };

    expect(play(two, yes, yes)).toMatchObject({ state: "waiting", approvals: [approval] });
    expect(play(two, yes, { type: "yes", approval: { ...approval, by: "slack:U2" } }).state).toBe("approved");
  });

  it("takes no answer after the expiry, and no expiry before it (H45)", () => {
    const waiting = play(asked);

    expect(apply(waiting, yes, plan.expiresAt).changed).toBe(false);
    expect(apply(waiting, { type: "expired", nonce: plan.nonce }, plan.expiresAt - 1).changed).toBe(false);
    expect(apply(waiting, { type: "expired", nonce: plan.nonce }, plan.expiresAt)).toMatchObject({
      record: { state: "held", reason: "expired", page: "wanted" },
    });
  });

  it("starts nothing for an alert that no Alertmanager calls active any more (H37)", () => {
    const quiet: Event = { type: "start", token: 1, run: "run-1", active: false };

    expect(play(asked, yes, quiet)).toMatchObject({ state: "suppressed", reason: "not-active", run: null });
  });

  it("takes the approvals back with their plan (I3 H45)", () => {
    const changed: Event = { type: "changedWorld", token: 1, says: "another replica count", guards: [] };
    const fresh = { ...plan, nonce: "m".repeat(32) };

    expect(play(asked, yes, start, changed)).toMatchObject({ state: "open", approvals: [], plan: null });
    expect(play(asked, yes, start, changed, { ...asked, plan: fresh }, yes)).toMatchObject({
      state: "waiting",
      approvals: [],
    });
  });

  it("wants the page of the hold although that of the ask was sent, and takes neither for the other (I7)", () => {
    const held: Event = { type: "no", nonce: plan.nonce, says: "not now" };

    expect(play(asked, held, { type: "paged", why: "ask" })).toMatchObject({ page: "wanted", pageWhy: "held" });
    expect(play(asked, { type: "paged", why: "ask" }, held, { type: "paged", why: "held" })).toMatchObject({
      page: "sent",
      pageWhy: "held",
    });
  });

  it("starts nothing once every alert of it has resolved (H37)", () => {
    const resolved: Event = { type: "resolved", identity: alert.identity, endsAt: null, lastSeen: NOW };

    expect(play(asked, yes, resolved)).toMatchObject({ state: "suppressed", reason: "resolved" });
    expect(play(resolved, { type: "firing", alert, rule: null }).resolved).toBe(true);
    expect(play(asked, yes, start, resolved)).toMatchObject({ state: "running", resolved: true });
  });

  it("is born resolved from an alert that is, and what was approved for it never starts (H37)", () => {
    const { rule } = context;
    const decision = {
      decision: "ignore" as const,
      reason: "resolved" as const,
      says: "",
      rule,
      runbook: null,
      params: null,
      target: null,
    };
    const born = newRecord({ ...alert, status: "resolved" }, { cluster: "prod", decision, target: null, now: NOW });
    const approved = { ...play(asked, yes), resolved: true };

    expect(born.resolved).toBe(true);
    expect(step(approved, start)).toMatchObject({ state: "suppressed", reason: "not-active" });
  });

  it("plans once more on a changed world, then brings a person (H44)", () => {
    const changed: Event = { type: "changedWorld", token: 1, says: "the template moved", guards: [] };
    const again = play(asked, yes, start, changed);

    expect(again).toMatchObject({ state: "open", replans: 1, plan: null, approvals: [] });
    expect(play(asked, yes, start, changed, asked, yes, start, changed)).toMatchObject({
      state: "held",
      reason: "changed-world",
    });
  });

  it("obeys no worker whose token is old (H40)", () => {
    const taken = play(asked, yes, start, { type: "resume", token: 5 });

    for (const event of [
      { type: "stepDone", token: 1, step: "x", says: "", at: NOW },
      { type: "changedWorld", token: 1, says: "", guards: [] },
      { type: "stopped", token: 1, reason: "paused", says: "", guards: [] },
      { type: "resume", token: 5 },
    ] as Event[]) {
      expect(apply(taken, event, NOW).changed).toBe(false);
    }
  });

  it("is never changed in place: who compares the old one with the new one has both (I4)", () => {
    fc.assert(
      fc.property(
        fc.constantFrom([], toTheRun),
        fc.array(fc.constantFrom(...events, look), { maxLength: 25 }),
        (first, list) => {
          let record = frozen(open);
          for (const event of [...first, ...list]) {
            const before = structuredClone(record);
            const change = apply(record, event, NOW);
            expect(record).toEqual(before);
            if (change.changed) record = frozen(change.record);
          }
        },
      ),
      { numRuns: 500 },
    );
  });

  it("wants a page for every hold, and each outcome once (I7)", () => {
    fc.assert(
      fc.property(fc.array(fc.constantFrom(...events), { maxLength: 25 }), (list) => {
        let record = open;
        for (const event of list) {
          const before = record;
          const change = apply(record, event, NOW);
          if (!change.changed) continue;
          record = change.record;
          const told = event.type === "held" && event.joined !== undefined;
          if (record.state === "held" && before.state !== "held" && !told)
            expect(record).toMatchObject({ page: "wanted", pageWhy: "held" });
          if (before.state === "remediated") expect(["remediated", "running"]).toContain(record.state);
          if (record.state === "approved") expect(record.approvals.length).toBeGreaterThan(0);
          if (record.state === "running" && !record.lost) expect(record.run).not.toBeNull();
        }
      }),
      { numRuns: 3000 },
    );
  });

  it("holds what an older store asks, and settles what runs in it (H42)", () => {
    const lost: Event = { type: "memoryLost", says: "restored" };

    expect(play(asked, lost)).toMatchObject({ state: "held", reason: "lost-memory", page: "wanted" });
    expect(play(asked, yes, lost)).toMatchObject({ state: "held", reason: "lost-memory", page: "wanted" });
    expect(play(asked, yes, start, lost)).toMatchObject({ state: "running", lost: true });
    expect(play(lost)).toMatchObject({ state: "open" });
  });

  it("leaves to the storm's page what joined it, and nothing that happens to it afterwards (H38 I7)", () => {
    const joined = play({ type: "held", reason: "storm", says: "", joined: "storm-1" });
    const orphan: Event = { type: "orphan", run: "run-1", says: "" };
    const later = [orphan, { type: "ended", run: "run-1", outcome: "held", reason: "cannot-tell", says: "" } as Event];

    expect(joined).toMatchObject({ state: "held", page: "none" });
    expect(later.reduce(step, joined)).toMatchObject({ state: "held", page: "wanted", joined: null });
    expect(step(joined, { type: "replan", by: "ann" })).toMatchObject({ state: "open", joined: null });
  });

  it("pages for a storm once, and again only when its cause is found", () => {
    const opened = stormRecord({ cluster: "prod", openSince: NOW, tripped: "many", quietMs: 60_000, now: NOW });
    const seen = (cause: string | null, page: boolean, evidence: string[] = []): Event => ({
      type: "stormSeen",
      cause,
      page,
      evidence,
    });
    const sent = (record: IncidentRecord) => step(record, { type: "paged", why: "held" });

    expect(opened).toMatchObject({ state: "held", page: "none" });
    expect(needsAttention(opened)).toBe(true);
    expect(step(opened, seen(null, false)).page).toBe("none");
    const paged = sent(step(opened, seen(null, true)));
    expect(paged.page).toBe("sent");
    expect(step(paged, seen(null, true)).page).toBe("sent");
    const named = step(paged, seen("postgres", true));
    expect(named.page).toBe("wanted");
    expect(step(sent(named), seen("another", true, ["new"]))).toMatchObject({
      page: "sent",
      storm: { cause: "another" },
    });
    expect(step(sent(named), seen(null, true, ["new"]))).toMatchObject({ page: "sent", storm: { cause: "postgres" } });
    const over = step(sent(named), { type: "stormOver", says: "over", resolve: true });
    expect(over).toMatchObject({ pageResolve: "wanted", storm: { overAt: NOW } });
    expect(apply(over, seen("late", true), NOW).changed).toBe(false);
    expect(apply(open, seen("x", true), NOW).changed).toBe(false);
    expect(apply(opened, { type: "replan", by: "ann" }, NOW).changed).toBe(false);
  });

  it("never changes the record that it was given", () => {
    for (const event of events) {
      const before = structuredClone(open);
      apply(open, event, NOW);
      expect(open).toEqual(before);
    }
  });
});
