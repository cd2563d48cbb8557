import { describe, expect, it } from "vitest";
import { systemClock } from "../../../src/clock.js";
import type { IncidentRecord } from "../../../src/record/incident.js";
import type { RecordStore } from "../../../src/record/store.js";
import { createTransition } from "../../../src/record/transition.js";
import { scene } from "../../harness/guard-scene.js";

/** One record in a store that counts how often it is read. */
function store() {
  let stored: IncidentRecord = { ...scene().context.incident, state: "open", plan: null, slack: null, rev: "1" };
  let reads = 0;
  const records = {
    async get() {
      reads += 1;
      return structuredClone(stored);
    },
    async save(record: IncidentRecord) {
      if (record.rev !== stored.rev) return null;
      stored = { ...record, rev: String(Number(record.rev) + 1) };
      return structuredClone(stored);
    },
  } as unknown as RecordStore;
  const move = createTransition({
    records,
    clock: systemClock,
    nudge: async () => undefined,
    stored: () => undefined,
  });
  const id = stored.id;
  return {
    move,
    id,
    read: () => structuredClone(stored),
    reads: () => reads,
    /** Somebody else writes. */
    write: (more: Partial<IncidentRecord>) => {
      stored = { ...stored, ...more, rev: String(Number(stored.rev) + 1) };
    },
  };
}
const posted = (ts: string) => ({ type: "posted", slack: { channel: "C", ts, thread: 0 } }) as const;

describe("a transition that is handed the record as its caller knows it", () => {
  it("reads nothing while that is how it is stored, one after the other", async () => {
    const s = store();
    const one = await s.move(s.id, posted("1"), "test", s.read());
    const two = await s.move(s.id, posted("2"), "test", one.record ?? undefined);

    expect([one.changed, two.changed, s.reads()]).toEqual([true, true, 0]);
    expect(two.record?.rev).toBe(s.read().rev);
    expect(s.read().slack?.ts).toBe("2");
  });

  it("reads what somebody else wrote meanwhile and applies the event to that; nothing of theirs is written over (I4)", async () => {
    const s = store();
    const known = s.read();
    s.write({ severity: "warning" });
    const moved = await s.move(s.id, posted("1"), "test", known);

    expect(moved.changed).toBe(true);
    expect(s.reads()).toBe(1);
    expect(s.read()).toMatchObject({ severity: "warning", slack: { ts: "1" } });
  });

  it("never says no by what a caller remembers", async () => {
    const s = store();
    const known = { ...s.read(), state: "held" as const };
    const moved = await s.move(s.id, { type: "held", reason: "escalated", says: "a person's" }, "test", known);

    expect(moved).toMatchObject({ changed: true, record: { state: "held", reason: "escalated" } });
    expect(await s.move(s.id, { type: "held", reason: "escalated", says: "" }, "test", known)).toMatchObject({
      changed: false,
      why: "it is held",
    });
  });

  it("takes the record of another incident for no record at all", async () => {
    const s = store();
    const moved = await s.move(s.id, posted("1"), "test", { ...s.read(), id: "inc-other" });

    expect([moved.changed, s.reads()]).toEqual([true, 1]);
  });
});
