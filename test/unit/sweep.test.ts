import { describe, expect, it } from "vitest";
import type { Alert } from "../../src/alert/alert.js";
import { emptyLedger, type Ledger } from "../../src/execution/ledger.js";
import type { LeaseView } from "../../src/execution/lease.js";
import { silentLog } from "../../src/log.js";
import type { Job } from "../../src/queue/jobs.js";
import type { IncidentRecord } from "../../src/record/incident.js";
import { apply, type Event } from "../../src/record/machine.js";
import { sweep, type SweepPorts } from "../../src/sweep.js";
import { NOW, scene } from "../harness/guard-scene.js";

/** One round of the sweep over a few records, Leases and alerts, all in memory. */
const { context } = scene();
const MINUTE = 60_000;
const open: IncidentRecord = {
  ...context.incident,
  id: "inc-1",
  plan: null,
  state: "open",
  updatedAt: NOW,
  deadline: NOW + MINUTE,
};
const [alert] = open.alerts;
if (alert === undefined || open.target === null) throw new Error("the scene has no alert or no target");
const { target } = open;
const beginning = {
  id: "run-1",
  incident: "inc-1",
  identity: open.identity,
  runbook: "r",
  from: "",
  steps: [],
  undo: false,
};
const running = play({ ...open, plan: context.plan }, [
  { type: "decidedByPolicy", plan: context.plan, approval: approval(), guards: [], others: [] },
  { type: "start", token: 1, run: "run-1", active: true },
]);

function approval() {
  const { nonce, digest } = context.plan;
  return { by: "policy", name: "the policy", at: NOW, nonce, digest, mac: "" };
}

function play(from: IncidentRecord, events: Event[]): IncidentRecord {
  return events.reduce((record, event) => {
    const change = apply(record, event, NOW);
    if (!change.changed) throw new Error(change.why);
    return change.record;
  }, from);
}

const lease = (ledger: Partial<Ledger>, over: Partial<LeaseView> = {}): LeaseView => ({
  name: "nightshift-t-1",
  resourceVersion: "1",
  holder: "a",
  token: 1,
  renewTime: "",
  durationSeconds: 35,
  ledger: { ...emptyLedger, ...ledger },
  target,
  raw: {} as never,
  ...over,
});

function world(of: {
  records?: IncidentRecord[];
  leases?: LeaseView[];
  unreadable?: number;
  alive?: string[];
  active?: Alert[];
  after?: number;
  pagerAway?: boolean;
}) {
  const records = new Map((of.records ?? []).map((record) => [record.id, record]));
  const leases = of.leases ?? [];
  const jobs: Job[] = [];
  const opened: string[] = [];
  const pages: string[] = [];
  const metric = { set: () => undefined, inc: () => undefined };
  const active = (of.active ?? []).map((one) => ({ ...one, receivers: [] }));
  const ports = {
    clock: { now: () => NOW + (of.after ?? MINUTE), monotonic: () => 0 },
    log: silentLog,
    metrics: {
      incidents: metric,
      storms: metric,
      asks: metric,
      oldestAsk: metric,
      askOverdue: metric,
      pages: metric,
      sweeps: metric,
    },
    settings: { url: "" },
    engine: {},
    policy: () => ({ rules: [] }),
    pager: {
      async send(event: { dedupKey: string }) {
        if (of.pagerAway) throw new Error("PagerDuty is away");
        pages.push(event.dedupKey);
      },
    },
    facts: { heartbeats: async () => ({}) },
    records: {
      attention: async () => [...records.keys()],
      get: async (id: string) => records.get(id) ?? null,
      forget: async () => undefined,
      byIdentity: async (identity: string) =>
        [...records.values()].find((record) => record.identity === identity)?.id ?? null,
      byMillisecond: async () => null,
      create: async (record: IncidentRecord) => {
        records.set(record.id, record);
        return { created: true };
      },
    },
    leases: {
      all: async (unreadable: (error: Error) => void) => {
        for (let i = 0; i < (of.unreadable ?? 0); i += 1) unreadable(new Error("not a ledger"));
        return leases;
      },
      write: async (name: string, view: LeaseView, next: object) => {
        const at = leases.findIndex((one) => one.name === name);
        leases[at] = { ...view, ...next };
        return leases[at];
      },
    },
    holderLives: async (view: LeaseView) => (of.alive ?? []).includes(view.holder),
    alertmanagers: {
      active: async () => active,
      activity: async (identity: string) =>
        (of.active ?? []).some((one) => one.identity === identity) ? "active" : "not-active",
    },
    async transition(id: string, event: Event) {
      const change = apply(records.get(id) as IncidentRecord, event, ports.clock.now());
      if (change.changed) records.set(id, change.record);
      return change;
    },
    add: async (job: Job) => void jobs.push(job),
    open: async (alerts: readonly Alert[]) => void opened.push(...alerts.map((one) => one.identity)),
    revive: async () => [],
  };
  return {
    jobs,
    opened,
    pages,
    lease: () => leases[0],
    record: (id = "inc-1") => records.get(id),
    missing: new Set<string>(),
    async round(): Promise<boolean> {
      return sweep(ports as unknown as SweepPorts, this.missing);
    },
  };
}

const kinds = (jobs: Job[]) => jobs.map((job) => job.kind);

describe("the sweep of records", () => {
  it.each([
    ["open", open, "consider"],
    ["running", running, "carryOut"],
    ["held, its page not sent", { ...running, state: "held", page: "wanted" } as IncidentRecord, "tell"],
  ])("nudges what is %s and has no job any more (I7)", async (_what, record, kind) => {
    const w = world({ records: [record], after: 30_000 });
    expect(await w.round()).toBe(true);
    expect(kinds(w.jobs)).toEqual([kind]);
  });

  it("leaves what was written a moment ago to its own nudge", async () => {
    const w = world({ records: [running], after: 1000 });
    await w.round();
    expect(w.jobs).toEqual([]);
  });

  it("ends an ask whose time is up, also when its job was lost (H45)", async () => {
    const asked = play(open, [{ type: "asked", plan: context.plan, needed: 1, page: true, guards: [], others: [] }]);
    const w = world({ records: [asked], after: context.plan.expiresAt - NOW + 1 });
    await w.round();
    expect(w.record()).toMatchObject({ state: "held", reason: "expired", page: "wanted" });
  });

  it("brings a person where it was left alone as inactive and fires on (I7 H37)", async () => {
    const left = { ...play(open, [{ type: "suppressed", reason: "not-active", says: "" }]), endedAt: NOW };
    const w = world({ records: [left], active: [alert], after: 11 * MINUTE });
    await w.round();
    expect(w.record()).toMatchObject({ state: "held", reason: "still-firing", page: "wanted" });
  });
});

describe("the sweep of Leases", () => {
  const begun = { ...beginning, begun: true };

  it("clears a run that was never begun and that nobody holds", async () => {
    const w = world({ leases: [lease({ run: { ...beginning, begun: false } })] });
    await w.round();
    expect(w.lease()).toMatchObject({ holder: "", token: 2, ledger: { run: null } });
  });

  it.each([false, true])("leaves a live holder's run alone, begun: %s (H40)", async (so) => {
    const w = world({ leases: [lease({ run: { ...beginning, begun: so } })], alive: ["a"] });
    await w.round();
    expect(w.lease()).toMatchObject({ holder: "a", token: 1, ledger: { run: { begun: so } } });
    expect([w.jobs, w.record()]).toEqual([[], undefined]);
  });

  it("rebuilds the record of a begun run that was forgotten, to be settled (H42 I7)", async () => {
    const w = world({ leases: [lease({ run: begun })] });
    await w.round();
    expect(w.record()).toMatchObject({ state: "running", lost: true });
    expect(w.jobs).toEqual([expect.objectContaining({ kind: "carryOut", incident: "inc-1" })]);
  });

  it("takes up a begun run whose record says something else (H42)", async () => {
    const w = world({ leases: [lease({ run: begun })], records: [{ ...open, updatedAt: NOW + MINUTE }] });
    await w.round();
    expect(w.record()).toMatchObject({ state: "running", lost: true });
  });

  it("tells an end that no record shows, and notes that it did (I7)", async () => {
    const end = {
      identity: "gone@t",
      run: "run-9",
      outcome: "held(cannot-tell)",
      at: "2026-11-24T03:00:00Z",
      told: false,
    };
    const w = world({ leases: [lease({ ends: [end] }, { holder: "" })] });
    await w.round();
    expect(w.pages).toEqual(["nightshift/ended-run/run-9"]);
    expect(w.lease()?.ledger.ends).toEqual([{ ...end, told: true }]);
    await w.round();
    expect(w.pages).toHaveLength(1);
  });

  it("notes no end as told that PagerDuty did not take (I7 H48)", async () => {
    const end = {
      identity: "gone@t",
      run: "run-9",
      outcome: "held(cannot-tell)",
      at: "2026-11-24T03:00:00Z",
      told: false,
    };
    const w = world({ leases: [lease({ ends: [end] }, { holder: "" })], pagerAway: true });
    expect(await w.round()).toBe(false);
    expect(w.lease()?.ledger.ends).toEqual([end]);
  });

  it("is not stopped by a Lease that cannot be read", async () => {
    const w = world({ leases: [lease({ run: begun })], unreadable: 1 });
    expect(await w.round()).toBe(true);
    expect(w.record()).toMatchObject({ lost: true });
  });
});

describe("catching up", () => {
  it("takes an alert that fires and that nobody knows, once it was missing twice (H36 I7)", async () => {
    const w = world({ active: [alert] });
    await w.round();
    expect(w.opened).toEqual([]);
    await w.round();
    expect(w.opened).toEqual([alert.identity]);
  });
});
