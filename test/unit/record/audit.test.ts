import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { sha256 } from "../../../src/plan/digest.js";
import { entryText, type Head, type Link, linkHash } from "../../../src/record/chain.js";
import { createChainCheck } from "../../../src/record/chain-check.js";
import type { IncidentRecord } from "../../../src/record/incident.js";
import { apply, type Event } from "../../../src/record/machine.js";
import { keepHead, type KeptHeads } from "../../../src/record/kept-heads.js";
import { whyOf } from "../../../src/record/why.js";
import { NOW, scene } from "../../harness/guard-scene.js";

const { context } = scene();
const entry = { at: NOW, incident: "inc-1", event: "asked", from: "open", to: "waiting", who: "consider", says: "why" };

/** A sound chain of `length` entries whose first is number `from`. */
function chain(length: number, from = 1): Link[] {
  const links: Link[] = [];
  let prev = "0".repeat(64);
  for (let seq = 1; seq < from + length; seq += 1) {
    const text = entryText({ ...entry, says: `number ${seq}` }, context.incident);
    const hash = linkHash(prev, text);
    if (seq >= from) links.push({ id: `${seq}-0`, seq, prev, hash, text });
    prev = hash;
  }
  return links;
}

function check(links: readonly Link[], head: Head | null = links.at(-1) ?? null, least?: number) {
  const checking = createChainCheck([], least);
  for (const link of links) checking.take(link);
  return checking.end({ head, length: links.length });
}

describe("the audit chain", () => {
  it("hashes the hash before and the hash of the text, as anybody can with standard tools", () => {
    const [link] = chain(1);
    if (link === undefined) throw new Error("no link");
    const bytes = Buffer.concat([Buffer.from(link.prev, "hex"), Buffer.from(sha256(link.text), "hex")]);

    expect(bytes).toHaveLength(64);
    expect(sha256(bytes as unknown as string)).toBe(link.hash);
  });

  it("names run and plan of the record, in canonical form", () => {
    const plan = context.plan;
    const run = { id: "run-1", token: 3 } as IncidentRecord["run"];

    expect(entryText(entry, { ...context.incident, plan, run })).toBe(
      `{"at":${NOW},"event":"asked","from":"open","incident":"inc-1","plan":"${plan.digest}","run":"run-1","says":"why","to":"waiting","who":"consider"}`,
    );
  });

  it("finds whatever is removed, swapped, doubled or altered, wherever it is", () => {
    const sound = chain(12);
    const head = sound.at(-1) ?? null;
    const harm = fc.record({
      what: fc.constantFrom("remove", "swap", "double", "text", "hash", "prev", "seq"),
      at: fc.nat(11),
      to: fc.nat(11),
    });
    expect(check(sound)).toMatchObject({ intact: true, faultCount: 0, entries: 12 });
    fc.assert(
      fc.property(harm, ({ what, at, to }) => {
        const links = sound.map((link) => ({ ...link }));
        const [one, other] = [links[at], links[to]];
        if (one === undefined || other === undefined || (what === "swap" && at === to)) return;
        if (what === "remove") links.splice(at, 1);
        else if (what === "swap") [links[at], links[to]] = [other, one];
        else if (what === "double") links.splice(to, 0, { ...one });
        else if (what === "text") one.text = one.text.replace("why", "who").replace("number", "no");
        else if (what === "seq") one.seq += 1;
        else one[what] = `${one[what].startsWith("a") ? "b" : "a"}${one[what].slice(1)}`;

        const report = check(links, head);
        expect(report.intact).toBe(false);
        expect(report.faults.length).toBeGreaterThan(0);
      }),
    );
  });

  it("begins anywhere once the stream was cut at its length, and nowhere but at 1 before", () => {
    const links = chain(10, 41);

    expect(check(links, undefined, 10)).toMatchObject({ intact: true, first: { seq: 41 } });
    expect(check(links, undefined, 11)).toMatchObject({ intact: false, faults: [{ expected: "entry 1" }] });
    expect(check([], null)).toMatchObject({ intact: true, entries: 0 });
    expect(check([], links[0])).toMatchObject({ intact: false });
    expect(check(links, null, 10)).toMatchObject({ intact: false });
  });

  it("lists the first faults of many, and how many there are", () => {
    const links = chain(100).map((link) => ({ ...link, text: `${link.text} ` }));

    expect(check(links)).toMatchObject({ faultCount: 100 });
    expect(check(links).faults).toHaveLength(20);
  });
});

describe("the kept heads", () => {
  const head = (seq: number): Head => ({ seq, hash: String(seq).padStart(64, "0"), id: `${seq}-0` });
  const none: KeptHeads = { v: 1, heads: [], lost: [] };
  const keep = (kept: KeptHeads, seq: number, now: number) =>
    keepHead(kept, { head: head(seq), where: kept.heads.map(() => "in-chain"), now })?.next ?? kept;

  it("are a day of hours, however often it restarts in between", () => {
    let hourly = none;
    for (let hour = 0; hour < 40; hour += 1) hourly = keep(hourly, hour + 1, hour * 3600_000);
    let crashing = hourly;
    for (let n = 0; n < 50; n += 1) crashing = keep(crashing, 100 + n, 40 * 3600_000 + n * 10_000);

    expect(hourly.heads.map(({ seq }) => seq)).toEqual(Array.from({ length: 24 }, (_, n) => n + 17));
    expect(crashing.heads.at(-1)?.seq).toBe(149);
    expect(crashing.heads.filter(({ seq }) => seq <= 40).length).toBeGreaterThanOrEqual(22);
  });

  it("are not written again where nothing is new, and tell of each lost one even when the list is full", () => {
    let kept = keep(none, 5, 0);
    expect(keepHead(kept, { head: head(5), where: ["in-chain"], now: 1 })).toBeNull();
    expect(keepHead(none, { head: null, where: [], now: 1 })).toBeNull();
    for (let n = 0; n < 15; n += 1) {
      const found = keepHead(kept, { head: head(100 + n), where: kept.heads.map(() => "lost"), now: n });
      expect(found?.lost).toMatchObject({ seq: n === 0 ? 5 : 99 + n, sound: null });
      kept = found?.next ?? kept;
    }
    expect(kept.lost).toHaveLength(10);
  });
});

describe("why a transition happened", () => {
  const open: IncidentRecord = { ...context.incident, plan: null, state: "open" };
  const [alert] = open.alerts;
  const why = (before: IncidentRecord, event: Event) => {
    const change = apply(before, event, NOW);
    if (!change.changed) throw new Error(change.why);
    return whyOf(before, change.record, event);
  };

  it("is the line that it added to the story, never the line before it", () => {
    if (alert === undefined) throw new Error("no alert");
    expect(why(open, { type: "suppressed", reason: "observed", says: "only watched" })).toMatch(/only watched$/);
    expect(why(open, { type: "firing", alert, rule: null })).toBe("HighErrorRate came again");
    const running: IncidentRecord = {
      ...open,
      state: "running",
      run: { id: "r", token: 1, startedAt: 0, effectAt: null, steps: [], looks: [], memo: null, abort: null },
    };
    const look = { at: NOW, world: "good", symptom: "present", says: "0.4 > 0.05" };
    expect(why(running, { type: "look", token: 1, look, memo: null })).toBe("looked: good, present. 0.4 > 0.05");
  });
});
