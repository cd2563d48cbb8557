import { readdirSync, readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { check } from "./checker/check.js";
import { runOf } from "./checker/effects.js";
import { type History, type HistoryEvent, type Invariant, invariants, type RequestEvent } from "./checker/history.js";

/** The checker itself: a true history passes, and one doctored history for each way to break an invariant does not. */

const UID = "uid-cart";
const RUN = runOf({ incident: "inc-1", nonce: "n1" });
const IDENTITY = "f1@2026-11-25T10:00:00.123456789Z";

function request(at: number, over: Partial<RequestEvent>): RequestEvent {
  return {
    kind: "request",
    at,
    done: at,
    bot: true,
    verb: "get",
    object: "Deployment",
    namespace: "shop",
    name: "cart",
    subresource: "",
    dryRun: false,
    cached: false,
    status: 200,
    answered: true,
    insists: "",
    op: null,
    fence: false,
    before: null,
    after: null,
    lease: null,
    url: "/apis/apps/v1/namespaces/shop/deployments/cart",
    body: "",
    ...over,
  };
}

const seen = (resourceVersion: string, template: string) => ({
  uid: UID,
  resourceVersion,
  template,
  replicas: 3,
  leaving: false,
});
const read = (at: number, version: string) => request(at, { after: seen(version, "bad") });
const lease = (at: number, over: Partial<NonNullable<RequestEvent["lease"]>> = {}) =>
  request(at, {
    verb: "update",
    object: "Lease",
    namespace: "nightshift",
    name: "nightshift-t-1",
    lease: { name: "nightshift-t-1", target: UID, holder: "a", token: 1, run: RUN, open: null, ops: [], ...over },
  });
const intent = (version: string) => ({ open: { key: "k1", resourceVersion: version, uid: UID } });
const write = (at: number, over: Partial<RequestEvent> = {}) =>
  request(at, {
    verb: "patch",
    insists: "10",
    op: { key: "k1", run: RUN, step: "roll-back" },
    before: seen("10", "bad"),
    after: seen("11", "good"),
    ...over,
  });
const fence = (at: number) =>
  request(at, { verb: "patch", fence: true, before: seen("10", "bad"), after: seen("12", "bad") });
const webhook = (at: number, answer: number | null = 202): HistoryEvent => ({
  kind: "webhook",
  at,
  from: "a",
  alerts: [{ fingerprint: "f1", startsAt: "2026-11-25T10:00:00.123456789Z", status: "firing" }],
  answer,
});
const click = (at: number): HistoryEvent => ({ kind: "click", at, answer: "approve", incident: "inc-1", nonce: "n1" });
const page = (at: number): HistoryEvent => ({ kind: "page", at, action: "trigger", key: "d1", summary: "a page" });

function history(events: HistoryEvent[], over: Partial<History> = {}): History {
  return {
    seed: 1,
    own: "nightshift",
    budget: { effects: 2, withinMs: 3_600_000 },
    hostile: ["$(touch /tmp/pwned)"],
    targets: [
      { name: "cart", uid: UID, fingerprint: "f1", autonomy: "approve", step: "roll-back", floor: 2 },
      { name: "other", uid: "uid-other", fingerprint: "f2", autonomy: "auto", step: "restart", floor: 2 },
    ],
    events,
    end: {
      outstanding: null,
      firing: [],
      incidents: [
        {
          id: "inc-1",
          identities: [IDENTITY],
          state: "remediated",
          reason: null,
          page: "sent",
          dedupKey: "d1",
          uid: UID,
          runId: RUN,
          joined: null,
        },
      ],
    },
    ...over,
  };
}

const good = () => [
  webhook(0),
  webhook(5),
  page(50),
  click(100),
  lease(110),
  read(120, "10"),
  lease(130, intent("10")),
  write(140),
  lease(150, { ops: ["k1"] }),
  { kind: "ready", at: 160, uid: UID, ready: 3 } as HistoryEvent,
];
const incident = (over: Partial<History["end"]["incidents"][number]>) => {
  const whole = history(good());
  const [first] = whole.end.incidents;
  return history(good(), { end: { ...whole.end, incidents: first === undefined ? [] : [{ ...first, ...over }] } });
};
/** The true story with some of its events taken out and others put in. */
const doctored = (change: (events: HistoryEvent[]) => HistoryEvent[]) => history(change(good()));
const without = (at: number) => (events: HistoryEvent[]) => events.filter((event) => event.at !== at);
const held = { state: "held", reason: "cannot-tell", page: "wanted" };

const rows: { invariant: Invariant; what: string; history: () => History; says: RegExp }[] = [
  {
    invariant: "I1",
    what: "the effect happens twice",
    history: () => doctored((e) => [...e, write(190, { before: seen("11", "good"), after: seen("13", "good") })]),
    says: /2 effects of step roll-back on cart/,
  },
  {
    invariant: "I1",
    what: "the same step is done again under another operation and run",
    history: () =>
      doctored((e) => [
        ...e,
        write(190, {
          op: { key: "k2", run: "run-2", step: "roll-back" },
          before: seen("11", "x"),
          after: seen("13", "x"),
        }),
      ]),
    says: /2 effects/,
  },
  {
    invariant: "I2",
    what: "nobody read before the write",
    history: () => doctored(without(120)),
    says: /no live read/,
  },
  {
    invariant: "I2",
    what: "the read was served from a cache",
    history: () => doctored((e) => [...without(120)(e), request(120, { after: seen("10", "bad"), cached: true })]),
    says: /no live read/,
  },
  {
    invariant: "I2",
    what: "the read was eleven seconds old",
    history: () => doctored((e) => [...without(120)(e), read(-10_900, "10")]),
    says: /no live read/,
  },
  {
    invariant: "I2",
    what: "the write insisted on nothing",
    history: () => doctored((e) => [...without(140)(e), write(140, { insists: "" })]),
    says: /insists on nothing/,
  },
  {
    invariant: "I3",
    what: "a frozen worker writes after its Lease was taken over",
    history: () => doctored((e) => [...e, lease(135, { ...intent("10"), holder: "b", token: 2 })]),
    says: /from token 1 to 2/,
  },
  {
    invariant: "I3",
    what: "a write has no intent",
    history: () => doctored(without(130)),
    says: /no intent for it/,
  },
  {
    invariant: "I3",
    what: "nobody said yes",
    history: () => doctored(without(100)),
    says: /nobody said yes/,
  },
  {
    invariant: "I3",
    what: "the yes was for another plan",
    history: () => doctored((e) => [...without(100)(e), { ...click(100), nonce: "n0" } as HistoryEvent]),
    says: /nobody said yes/,
  },
  {
    invariant: "I3",
    what: "a person changed the target between yes and write",
    history: () => doctored((e) => [...e, { kind: "human", at: 125, uid: UID, what: "another template" }]),
    says: /changed by a person after the yes/,
  },
  {
    invariant: "I4",
    what: "pods fall below the floor",
    history: () =>
      doctored((e) => [
        { kind: "ready", at: 1, uid: UID, ready: 3 },
        ...e,
        { kind: "ready", at: 200, uid: UID, ready: 1 },
      ]),
    says: /fell to 1 ready pods .* the floor is 2/,
  },
  {
    invariant: "I4",
    what: "it is scaled down",
    history: () => doctored((e) => [...without(140)(e), write(140, { after: { ...seen("11", "good"), replicas: 2 } })]),
    says: /scaled down from 3 to 2/,
  },
  {
    invariant: "I5",
    what: "two instances are writable",
    history: () =>
      doctored((e) => [
        ...e,
        { kind: "database", at: 300, instance: "pg-0", writable: true },
        { kind: "database", at: 301, instance: "pg-1", writable: true },
      ]),
    says: /pg-0 and pg-1 are writable/,
  },
  {
    invariant: "I6",
    what: "something is written six seconds after the pause",
    history: () => doctored((e) => [{ kind: "pause", at: -5900, on: true }, ...e]),
    says: /after everything was paused/,
  },
  {
    invariant: "I7",
    what: "an accepted alert has no incident",
    history: () => incident({ identities: [] }),
    says: /no incident holds it/,
  },
  {
    invariant: "I7",
    what: "an alert fires on that was forgotten with the store",
    history: () => {
      const lost = incident({ identities: [] });
      lost.events.push({ kind: "nemesis", at: 160, name: "flush-redis", what: "FLUSHALL", forgets: true });
      lost.end.firing = ["f1@2026-11-25T10:00:00.123Z"];
      return lost;
    },
    says: /no incident holds it/,
  },
  {
    invariant: "I7",
    what: "an incident never ends",
    history: () => incident({ state: "waiting" }),
    says: /is waiting at the end/,
  },
  {
    invariant: "I7",
    what: "what is held was never paged",
    history: () => ({ ...incident(held), events: without(50)(good()) }),
    says: /PagerDuty never got its page/,
  },
  {
    invariant: "I7",
    what: "it says remediated and nothing was written",
    history: () => doctored(without(140)),
    says: /says remediated, and nothing was ever written/,
  },
  {
    invariant: "I7",
    what: "it was left alone without a reason",
    history: () => incident({ state: "suppressed" }),
    says: /without a reason/,
  },
  {
    invariant: "I7",
    what: "a write is told of nowhere",
    history: () => incident({ state: "suppressed", reason: "not-active" }),
    says: /no incident or page says so/,
  },
  {
    invariant: "I7",
    what: "it never came to rest",
    history: () => ({ ...history(good()), end: { ...history(good()).end, outstanding: "inc-1 wants a page" } }),
    says: /did not come to rest/,
  },
  {
    invariant: "I8",
    what: "it is sent again after an answer that never came",
    history: () => doctored((e) => [...e, write(135, { status: null, answered: false, after: null })]),
    says: /sent again without a fence and a look/,
  },
  {
    invariant: "I8",
    what: "it is sent again after it had been applied, answer lost",
    history: () => doctored((e) => [...e, write(148, { status: 409, after: null }), fence(142), read(145, "12")]),
    says: /sent again although it had been applied/,
  },
  {
    invariant: "I9",
    what: "there are more effects than the budget allows",
    history: () => history(good(), { budget: { effects: 0, withinMs: 60_000 } }),
    says: /the budget allows 0/,
  },
  {
    invariant: "I10",
    what: "an annotation reaches an object",
    history: () => doctored((e) => [...without(140)(e), write(140, { body: "image: $(touch /tmp/pwned)" })]),
    says: /carries/,
  },
  {
    invariant: "I10",
    what: "a label reaches a selector",
    history: () =>
      doctored((e) => [
        ...e,
        request(30, { url: `/api/v1/pods?labelSelector=${encodeURIComponent("$(touch /tmp/pwned)")}` }),
      ]),
    says: /carries/,
  },
  {
    invariant: "I10",
    what: "a label becomes a mention",
    history: () =>
      doctored((e) => [...e, { kind: "slack", at: 60, method: "chat.postMessage", text: "hi <!channel>" }]),
    says: /mentions/,
  },
];

describe("the checker", () => {
  it("passes a true story, and counts it", () => {
    expect(check(history(good()))).toEqual({
      violations: [],
      webhooks: 2,
      alerts: 1,
      effects: 1,
      lost: 0,
      forgotten: 0,
      doubled: 0,
    });
  });

  it("passes a second try after fence and look, and a refused first one", () => {
    const again = doctored((e) => [
      ...without(140)(e),
      write(131, { status: 409, after: null }),
      write(132, { status: null, answered: false, after: null }),
      fence(133),
      read(134, "12"),
      lease(136, intent("12")),
      write(140, { insists: "12", before: seen("12", "bad"), after: seen("13", "good") }),
    ]);

    expect(check(again).violations).toEqual([]);
  });

  it("passes what a frozen worker sends when it wakes, as long as it is refused", () => {
    const woken = doctored((e) => [
      ...e,
      lease(145, { holder: "b", token: 2 }),
      write(190, { status: 409, after: null }),
    ]);

    expect(check(woken).violations).toEqual([]);
  });

  it("passes an eviction that arrives after a takeover, while its own intent stands, and no patch", () => {
    const taken = lease(135, { ...intent("10"), holder: "b", token: 2 });
    const late = (over: Parameters<typeof write>[1]) =>
      check(doctored((e) => [...without(140)(e), taken, write(140, over)])).violations.map((one) => one.says);

    expect(late({ subresource: "eviction", verb: "create", insists: UID })).toEqual([]);
    expect(late({}).join()).toMatch(/its Lease had gone from token 1 to 2/);
  });

  it("passes what was forgotten with the store and no longer fires, and counts it apart", () => {
    const lost = history([
      webhook(0),
      { kind: "nemesis", at: 10, name: "flush-redis", what: "FLUSHALL", forgets: true },
    ]);
    lost.end.incidents = [];

    expect(check(lost)).toMatchObject({ violations: [], lost: 0, forgotten: 1 });
  });

  it("passes a write that was told of before it was forgotten, and no other", () => {
    const forgot: HistoryEvent = { kind: "nemesis", at: 200, name: "flush-redis", what: "FLUSHALL", forgets: true };
    const told: HistoryEvent = {
      kind: "slack",
      at: 300,
      method: "chat.update",
      text: "Remediated: Deployment shop/cart",
    };
    const of = (events: HistoryEvent[]) => {
      const whole = history([...good(), ...events]);
      whole.end.incidents = [];
      return check(whole).violations.map((violation) => violation.says);
    };

    expect(of([forgot, told])).toEqual([]);
    expect(of([forgot])).toEqual(["cart was written to, and no incident or page says so"]);
    expect(of([told]).join()).toMatch(/cart was written to/);
  });

  it("takes what was seen later for later, also within one millisecond", () => {
    const says = (events: HistoryEvent[]) => check(history(events)).violations.map((violation) => violation.says);
    const settledAtOnce = [webhook(0), webhook(5), page(50), click(100), lease(110), read(120, "10")];
    const [intended, written, settled] = [lease(140, intent("10")), write(140), lease(140, { ops: ["k1"] })];

    expect(says([...settledAtOnce, intended, written, settled])).toEqual([]);
    expect(says([...settledAtOnce, intended, settled, written]).join()).toMatch(/has no intent for it/);
  });

  it.each(rows)("reports $invariant when $what", ({ invariant, history: of, says }) => {
    const { violations } = check(of());

    const found = violations.filter((violation) => violation.invariant === invariant);
    expect(found.map((violation) => violation.says).join("\n")).toMatch(says);
  });

  it("has a doctored history for every invariant", () => {
    expect(new Set(rows.map((row) => row.invariant))).toEqual(new Set(invariants));
  });

  it("counts what was lost and what was doubled", () => {
    expect(check(incident({ identities: [] })).lost).toBe(1);
    expect(
      check(doctored((e) => [...e, write(190, { before: seen("11", "good"), after: seen("13", "x") })])).doubled,
    ).toBe(1);
  });

  it("shares no code with the engine", () => {
    const folder = new URL("./checker/", import.meta.url);
    for (const file of readdirSync(folder)) {
      const imports = [...readFileSync(new URL(file, folder), "utf8").matchAll(/from "([^"]+)"/g)].map((m) => m[1]);
      expect(imports.filter((one) => !/^\.\/[a-z]+\.js$|^node:/.test(one ?? ""))).toEqual([]);
    }
  });
});
