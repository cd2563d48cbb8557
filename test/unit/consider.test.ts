import { describe, expect, it } from "vitest";
import { known } from "../../src/app/policy.js";
import { emptyLedger, type Ledger } from "../../src/execution/ledger.js";
import { silentLog } from "../../src/log.js";
import type { JobEnd } from "../../src/execution/ports.js";
import { oneLook } from "../../src/one-look.js";
import { considerIncident, considerOpened } from "../../src/pipeline-consider.js";
import type { PipelinePorts } from "../../src/pipeline-ports.js";
import { loadRunbooks } from "../../src/plan/registry.js";
import { parsePolicy } from "../../src/policy/file.js";
import type { IncidentRecord } from "../../src/record/incident.js";
import type { Event } from "../../src/record/machine.js";
import { NOW, scene } from "../harness/guard-scene.js";

/** What an open incident becomes by what its target's Lease says, before anything else is asked. */
const runbooks = await loadRunbooks();
const policy = parsePolicy(
  `apiVersion: nightshift.dev/v1
clusters: [{ name: prod, namespaces: [shop] }]
rules:
  - name: bad-deploy
    match: ['alertname="HighErrorRate"']
    runbook: rollback-deployment
    autonomy: auto
    target: { kind: Deployment, namespace: shop, name: cart }
`,
  "policy.yaml",
  known(runbooks),
);
const record: IncidentRecord = {
  ...scene().context.incident,
  id: "inc-1",
  plan: null,
  state: "open",
  deadline: NOW + 60_000,
};
const ago = (ms: number) => new Date(NOW - ms).toISOString();
const HOUR = 3600_000;
const begun = {
  id: "run-1",
  incident: "inc-1",
  identity: record.identity,
  runbook: "rollback-deployment",
  from: "",
  steps: ["roll-back"],
  undo: false,
  begun: true,
};

interface Asked {
  events: Event[];
  /** Objects of the cluster. */
  read: string[];
  end: JobEnd;
}

/** Whatever is asked after the Lease would end the test. */
async function considered(ledger: Partial<Ledger>, more: Partial<IncidentRecord> = {}): Promise<Event[]> {
  return (await asked(ledger, { more })).events;
}

async function asked(
  ledger: Partial<Ledger>,
  of: { more?: Partial<IncidentRecord>; holderLives?: boolean; fresh?: boolean; firing?: number } = {},
): Promise<Asked> {
  const events: Event[] = [];
  const read: string[] = [];
  const one = { ...record, ...of.more };
  const reader = {
    async get({ kind }: { kind: string }) {
      read.push(kind);
      return null;
    },
  };
  const ports = {
    reader,
    facts: { stormOpen: async () => null, firing: async () => Array.from({ length: of.firing ?? 0 }, () => ({})) },
    storm: () => new Promise(() => undefined),
    clock: { now: () => NOW, monotonic: () => 0 },
    log: silentLog,
    metrics: { decideSeconds: { observe: () => undefined } },
    policy: () => policy,
    runbooks,
    records: { get: async () => one },
    leases: { read: async () => ({ holder: "", token: 3, ledger: { ...emptyLedger, ...ledger } }) },
    holderLives: async () => of.holderLives ?? false,
    alertmanagers: { activity: async () => "active" },
    async transition(_id: string, event: Event) {
      events.push(event);
      return { changed: true, record: { ...one, state: "held" } };
    },
  } as unknown as PipelinePorts;
  const end = of.fresh
    ? await considerOpened(ports, { record: one, look: oneLook(ports.reader), fresh: true })
    : await considerIncident(ports, "inc-1");
  return { events, read, end };
}

describe("an open incident whose target has a Lease", () => {
  it("has its own run begun there: Redis forgot it, and it is never planned anew (H42 I1)", async () => {
    expect(await considered({ run: begun })).toEqual([{ type: "lost" }]);
  });

  it("had a run of this very alert ended there, however long ago: a late repeat is no new alert (H37 I1)", async () => {
    const ends = [{ identity: record.identity, run: "run-1", outcome: "remediated", at: ago(90 * HOUR), told: true }];
    expect(await considered({ ends })).toEqual([
      expect.objectContaining({
        type: "held",
        reason: "done-before",
        says: expect.stringContaining("ended as remediated"),
      }),
    ]);
  });

  it("had something done to it within the cooldown, by whichever alert (H37 I1)", async () => {
    const ops = [{ key: "0f".repeat(16), fingerprint: "another", at: ago(60_000) }];
    expect(await considered({ ops })).toEqual([
      expect.objectContaining({
        type: "held",
        reason: "done-before",
        says: expect.stringContaining("within the cooldown"),
      }),
    ]);
  });

  it("has a run of another incident there that nobody holds and nobody remembers (H42)", async () => {
    const other = { ...begun, incident: "inc-other", identity: "other@2026-11-24T01:00:00Z" };
    const events = await considered({ run: other });
    expect(events.map((event) => event.type)).not.toContain("decidedByPolicy");
  });

  it("is worked on by another run: it waits, and plans nothing while it does (H49)", async () => {
    const other = { ...begun, incident: "inc-other", identity: "other@2026-11-24T01:00:00Z" };
    const busy = await asked({ run: other }, { holderLives: true });

    expect(busy).toEqual({ events: [], read: [], end: { end: "again", inMs: 5000 } });
  });

  it("was opened just now: the plan is begun before the Lease has answered, and dropped where that decides (I1)", async () => {
    const decided = await asked({ run: begun }, { fresh: true });
    expect(decided.events).toEqual([{ type: "lost" }]);
    expect(decided.read).toContain("Deployment");
  });

  it("was opened in a storm: nothing of the cluster is read for it (H38)", async () => {
    const stormy = await asked({ run: begun }, { fresh: true, firing: 100 });
    expect(stormy).toMatchObject({ events: [{ type: "lost" }], read: [] });
  });

  it("resolved meanwhile: suppressed, but only after its Lease was read (I1)", async () => {
    const resolved = { resolved: true, alerts: record.alerts.map((one) => ({ ...one, status: "resolved" as const })) };
    expect(await considered({}, resolved)).toEqual([
      expect.objectContaining({ type: "suppressed", reason: "not-active" }),
    ]);
    expect(await considered({ run: begun }, resolved)).toEqual([{ type: "lost" }]);
  });
});
