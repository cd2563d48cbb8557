import { createHash } from "node:crypto";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { linkHash } from "../../src/record/chain.js";
import { CHAIN_SCRIPT } from "../../src/store/chain-script.js";
import { program } from "../../sandbox/processes.js";
import { startTrail } from "../harness/trail.js";

const missing = program("redis-server") === null ? "no redis-server on this machine" : null;
const APPEND = `${CHAIN_SCRIPT} append(KEYS[1], ARGV[1], ARGV[2], ARGV[3]) return redis.call('HGETALL', KEYS[1] .. ':head')`;
const sealed = (text: string) => `${createHash("sha256").update(text).digest("hex")}${text}`;
const START = "00112233445566ff";

describe.skipIf(missing !== null)(`the audit chain in Redis${missing === null ? "" : ` (not run: ${missing})`}`, () => {
  let world: Awaited<ReturnType<typeof startTrail>>;
  let worker: ReturnType<typeof world.worker>;

  beforeAll(async () => {
    world = await startTrail();
    worker = world.worker();
  });
  afterAll(() => world?.stop());
  beforeEach(async () => {
    await world.redis.flushall();
  });

  /** An incident and `more` further transitions of it: 1 + more entries. */
  async function history(id: string, more: number): Promise<void> {
    await worker.opens(id);
    for (let n = 0; n < more; n += 1)
      expect((await worker.moves(id, { type: "overdue", says: `late ${n}`, deadline: n }, "sweep")).changed).toBe(true);
  }

  it("has no gap and no fork under many writers, and every stored transition has one entry", async () => {
    const workers = Array.from({ length: 6 }, () => world.worker());
    await Promise.all(workers.map((one, n) => one.opens(`inc-${n}`)));
    const done = await Promise.all(
      workers.flatMap((one, n) =>
        Array.from({ length: 30 }, (_, m) =>
          // Half of them on one record, so that commits are refused and tried again in between.
          one.moves(m % 2 === 0 ? "inc-0" : `inc-${n}`, { type: "overdue", says: `${n}/${m}`, deadline: m }, `w${n}`),
        ),
      ),
    );
    const says: string[] = [];
    await world.trail.read((link) => says.push((JSON.parse(link.text) as { says: string }).says));

    expect(done.every(({ changed }) => changed)).toBe(true);
    expect(await world.verify()).toMatchObject({ intact: true, entries: 186, first: { seq: 1 }, last: { seq: 186 } });
    expect(new Set(says).size).toBe(186);
  });

  it("says who, why, which run and which plan; nothing that looks like a secret", async () => {
    await worker.opens("inc-words");
    await worker.moves(
      "inc-words",
      { type: "suppressed", reason: "observed", says: "seen with Bearer abcdefgh12345678" },
      "consider",
    );
    const texts: string[] = [];
    await world.trail.read((link) => texts.push(link.text));

    expect(JSON.parse(texts[1] ?? "")).toMatchObject({
      incident: "inc-words",
      event: "suppressed",
      from: "open",
      to: "suppressed",
      who: "consider",
      run: null,
      plan: null,
      says: expect.stringMatching(/seen with Bearer\[redacted\]$/),
    });
    expect(texts.join()).not.toContain("abcdefgh12345678");
  });

  it("hashes in Lua as Node does: any text, and numbers beyond 32 bits", async () => {
    let prev = START.repeat(4);
    for (let seq = 1; seq <= 300; seq += 1) {
      const text = JSON.stringify({
        seq,
        noise: createHash("sha512").update(String(seq)).digest("base64"),
        æ: "☂\ud83d\ude00",
      });
      const [, number, , hash] = (await world.redis.eval(APPEND, 1, "s", sealed(text), "1000", START)) as string[];
      prev = linkHash(prev, text);
      expect([number, hash]).toEqual([String(seq), prev]);
    }
    await world.redis.hset("s:head", "seq", String(2 ** 32 + 6), "hash", "f".repeat(64));
    const far = (await world.redis.eval(APPEND, 1, "s", sealed("x"), "1000", START)) as string[];
    expect(far).toContain(linkHash("f".repeat(64), "x"));
    expect(far).toContain(String(2 ** 32 + 7));
  });

  it("finds an entry that was altered", async () => {
    await history("inc-altered", 9);
    await world.rewrite((entries) =>
      entries.map(([id, fields], at) => [id, at === 4 ? fields.map((f) => f.replace("late 3", "late 33")) : fields]),
    );
    const report = await world.verify();

    expect(report).toMatchObject({ intact: false, faultCount: 1, entries: 10 });
    expect(report.faults[0]).toMatchObject({
      seq: 5,
      incident: "inc-altered",
      says: expect.stringContaining("was altered"),
    });
  });

  it("finds an entry that was altered together with its hash", async () => {
    await history("inc-rehashed", 9);
    await world.rewrite((entries) =>
      entries.map(([id, fields], at) => {
        if (at !== 4) return [id, fields];
        const [, seq = "", , prev = "", , , , text = ""] = fields;
        const other = text.replace("late 3", "late 33");
        return [id, ["seq", seq, "prev", prev, "hash", linkHash(prev, other), "entry", other]];
      }),
    );
    const report = await world.verify();

    expect(report).toMatchObject({ intact: false, faultCount: 1 });
    expect(report.faults[0]).toMatchObject({ seq: 6, says: expect.stringContaining("does not continue entry 5") });
  });

  it("finds entries that were removed from the middle, and moved", async () => {
    await history("inc-gap", 9);
    const [id = ""] = (await world.redis.xrange(world.stream, "-", "+"))[3] ?? [];
    await world.redis.xdel(world.stream, id);
    const gap = await world.verify();
    await world.redis.flushall();
    await history("inc-moved", 9);
    await world.rewrite((entries) =>
      entries.map(([place, fields], at) => [place, at === 3 || at === 4 ? (entries[7 - at]?.[1] ?? fields) : fields]),
    );
    const moved = await world.verify();

    expect(gap).toMatchObject({ intact: false, faultCount: 1 });
    expect(gap.faults[0]).toMatchObject({
      seq: 4,
      says: expect.stringMatching(/between entries 3 and 5: 1 entry is missing/),
    });
    expect(moved).toMatchObject({ intact: false, entries: 10 });
    expect(moved.faults.map((fault) => fault.says).join("\n")).toMatch(/stands after entry 5: out of order/);
  });

  it("finds entries that were cut off at the front, and at the end", async () => {
    await history("inc-front", 9);
    await world.redis.xtrim(world.stream, "MAXLEN", 4);
    const front = await world.verify();
    await world.redis.flushall();
    await history("inc-end", 9);
    const [id = ""] = (await world.redis.xrange(world.stream, "-", "+"))[9] ?? [];
    await world.redis.xdel(world.stream, id);
    const end = await world.verify();
    await worker.moves("inc-end", { type: "overdue", says: "on", deadline: 1 }, "sweep");

    expect(front.faults).toMatchObject([{ seq: 1, says: expect.stringContaining("entries 1 to 6 were removed") }]);
    expect(end.faults).toMatchObject([
      { seq: 10, says: expect.stringContaining("10 to 10 were removed from the end") },
    ]);
    expect((await world.verify()).faults).toMatchObject([{ seq: 10, says: expect.stringContaining("missing") }]);
  });

  it("finds by a kept head that the end was cut off together with Redis' own head", async () => {
    await history("inc-back", 9);
    const sound = await world.keep();
    await worker.moves("inc-back", { type: "overdue", says: "what must not be known", deadline: 1 }, "sweep");
    const kept = await world.keep();
    await world.redis.xdel(world.stream, kept.id);
    await world.redis.hset(`${world.stream}:head`, "seq", sound.seq, "hash", sound.hash, "id", sound.id);
    await worker.moves("inc-back", { type: "overdue", says: "something else", deadline: 1 }, "sweep");

    expect((await world.verify()).intact).toBe(true);
    const report = await world.verify([sound, kept]);
    expect(report.anchors.map(({ where }) => where)).toEqual(["in-chain", "lost"]);
    expect(report.faults[0]).toMatchObject({
      seq: 11,
      says: expect.stringMatching(/history from entry 11 .* was lost or replaced/),
    });
    expect([await world.trail.whereIs(sound), await world.trail.whereIs(kept)]).toEqual(["in-chain", "lost"]);
  });

  it("notices by a kept head that Redis was flushed, also once the new chain is longer (H42)", async () => {
    await history("inc-flushed", 4);
    const kept = await world.keep();
    await world.redis.flushall();
    const empty = await world.verify([kept]);
    await history("inc-after", 9);
    const longer = await world.verify([kept]);

    expect((await world.verify()).intact).toBe(true);
    for (const report of [empty, longer])
      expect(report.faults).toMatchObject([{ says: expect.stringMatching(/entry 5\) is not in the chain/) }]);
    expect(await world.trail.whereIs(kept)).toBe("lost");
  });

  it("notices by a kept head that Redis came back with an older snapshot (H42)", async () => {
    await history("inc-snapshot", 4);
    const sound = await world.keep();
    await world.snapshot();
    await worker.moves("inc-snapshot", { type: "overdue", says: "forgotten", deadline: 1 }, "sweep");
    const kept = await world.keep();
    await world.restore();
    for (let n = 0; n < 4; n += 1)
      await worker.moves("inc-snapshot", { type: "overdue", says: `another ${n}`, deadline: 1 }, "sweep");

    expect(await world.verify()).toMatchObject({ intact: true, entries: 9 });
    const report = await world.verify([sound, kept]);
    expect(report.faults).toMatchObject([
      { seq: 6, says: expect.stringMatching(/history from entry 6 .* was lost or replaced/) },
    ]);
  });

  it("can be verified after it was cut at its length, from what remains; heads that were cut off are no fault", async () => {
    const anchors = [];
    for (let n = 0; n < 1000; n += 1) {
      await world.redis.eval(APPEND, 1, world.stream, sealed(JSON.stringify({ incident: "inc", at: n })), "100", START);
      if (n === 10 || n === 990) anchors.push(await world.keep());
    }
    const report = await world.verify(anchors, 100);

    expect(report).toMatchObject({ intact: true, last: { seq: 1000 } });
    expect(report.first?.seq).toBeGreaterThan(700);
    expect(report.anchors.map(({ where }) => where)).toEqual(["trimmed", "in-chain"]);
    expect(await Promise.all(anchors.map((anchor) => world.trail.whereIs(anchor)))).toEqual(["trimmed", "in-chain"]);
  });

  it("never stops a record from being stored: a head that is no head begins a chain, and is found", async () => {
    await history("inc-wrong", 2);
    for (const wrong of [
      ["hash", "no hash"],
      ["seq", "many"],
    ] as const) {
      await world.redis.hset(`${world.stream}:head`, ...wrong);
      expect((await worker.moves("inc-wrong", { type: "overdue", says: "x", deadline: 1 }, "sweep")).changed).toBe(
        true,
      );
    }
    await world.redis.set(`${world.stream}:head`, "text");
    expect((await worker.moves("inc-wrong", { type: "overdue", says: "y", deadline: 1 }, "sweep")).changed).toBe(true);
    expect((await world.verify()).faults[0]).toMatchObject({
      seq: 1,
      says: expect.stringContaining("a new chain begins after entry 3"),
    });
    await world.redis.set(world.stream, "text");
    expect((await worker.moves("inc-wrong", { type: "overdue", says: "z", deadline: 1 }, "sweep")).changed).toBe(true);
  });
});
