import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { UnavailableError } from "../../../src/errors.js";
import { ClusterError, type ClusterReader, type ClusterWriter } from "../../../src/cluster.js";
import type { AnyRemedy } from "../../../src/runbook.js";
import { planOpKey } from "../../../src/execution/keys.js";
import { type Bracket, brackets } from "../../../src/execution/ports.js";
import {
  type EngineScene,
  engineScene,
  type EngineTarget,
  STEPS,
  type WorkerOptions,
} from "../../harness/engine-scene.js";

/** PROTOCOL sections 4 to 6, row by row, in one process: every point of death, freezing and waking, and what people do meanwhile. */

/** A point of the protocol, of one step or of the run. */
interface Cell {
  bracket: Bracket;
  step?: string;
}

const forever = () => new Promise<never>(() => undefined);
let scene: EngineScene;

beforeAll(async () => {
  scene = await engineScene();
});
afterAll(async () => {
  await scene.stop();
});

/** A worker that dies at the first time it comes to this point; resolves when it is dead. */
async function dies(t: EngineTarget, holder: string, at: Cell, more: WorkerOptions = {}): Promise<boolean> {
  let died: (value: boolean) => void = () => undefined;
  const death = new Promise<boolean>((resolve) => {
    died = resolve;
  });
  const worker = t.worker(holder, {
    ...more,
    async at(bracket, step) {
      if (bracket !== at.bracket || (at.step !== undefined && at.step !== step)) return;
      died(true);
      await forever();
    },
  });
  const ended = worker.finish().then(() => false);
  const reached = await Promise.race([death, ended]);
  t.presumeDead(holder);
  return reached;
}

/** A worker that freezes at this point until `wake`. */
function freezes(t: EngineTarget, holder: string, at: Cell, more: WorkerOptions = {}) {
  let reach: () => void = () => undefined;
  let wake: () => void = () => undefined;
  const reached = new Promise<void>((resolve) => {
    reach = resolve;
  });
  const awake = new Promise<void>((resolve) => {
    wake = resolve;
  });
  let once = false;
  const worker = t.worker(holder, {
    ...more,
    async at(bracket, step) {
      if (once || bracket !== at.bracket || (at.step !== undefined && at.step !== step)) return;
      once = true;
      reach();
      await awake;
    },
  });
  const ended = worker.finish().then(
    () => undefined,
    () => undefined,
  );
  return {
    reached: Promise.race([reached.then(() => true), ended.then(() => false)]),
    async wake() {
      wake();
      await ended;
    },
  };
}

const atMostOnce = (t: EngineTarget) => [...t.effects()].filter(([, n]) => n > 1);

async function closed(t: EngineTarget): Promise<void> {
  expect(t.reserved()).toEqual([]);
  const ledger = (await t.lease())?.ledger;
  expect(ledger).toMatchObject({ run: null, open: null });
}

/** Points that a first worker comes to, and those that only a successor does. */
const first = [
  "take",
  "check",
  "intent",
  "effect",
  "answer",
  "done",
  "end",
  "copy",
] as const satisfies readonly Bracket[];
const cells: Cell[] = first.flatMap((bracket): Cell[] =>
  bracket === "take" || bracket === "end" || bracket === "copy"
    ? [{ bracket }]
    : STEPS.map((step) => ({ bracket, step })),
);
const name = (cell: Cell) => `${cell.bracket}${cell.step ? ` of ${cell.step}` : ""}`;

describe("a run", () => {
  it("does each step once and ends once (I1)", async () => {
    const t = scene.target();
    await t.worker("a").finish();

    expect([...t.effects()]).toEqual(STEPS.map((step) => [step, 1]));
    expect(t.replicas()).toBe(5);
    expect(t.record()).toMatchObject({ state: "remediated" });
    await closed(t);
    expect((await t.lease())?.ledger.ends).toMatchObject([{ outcome: "remediated", told: false }]);
  });

  it("is undone once where it did not help (I1)", async () => {
    const t = scene.target();
    await t.worker("a", { verdict: "failed" }).finish();

    expect([...t.effects()]).toEqual([...STEPS.map((step) => [step, 1]), ["undo:all", 1]]);
    expect(t.replicas()).toBe(3);
    expect(t.record()).toMatchObject({ state: "held", reason: "undone", page: "wanted" });
  });
});

describe("a worker dies", () => {
  it.each(cells.map((cell) => [name(cell), cell] as const))(
    "at %s: another finishes, each step once (H41 I1)",
    async (_, cell) => {
      const t = scene.target();
      expect(await dies(t, "a", cell)).toBe(true);
      await t.worker("b").finish();

      expect([...t.effects()]).toEqual(STEPS.map((step) => [step, 1]));
      expect(t.record()).toMatchObject({ state: "remediated" });
      await closed(t);
    },
  );

  it.each(cells.map((cell) => [name(cell), cell] as const))(
    "at %s, and its successor at every point after that: a third finishes, each step once (H41 I1)",
    async (_, cell) => {
      for (const bracket of brackets) {
        const t = scene.target();
        await dies(t, "a", cell);
        await dies(t, "b", { bracket });
        await t.worker("c").finish();

        await closed(t);
        expect([bracket, ...t.effects()]).toEqual([bracket, ...STEPS.map((step) => [step, 1])]);
        expect(t.record()).toMatchObject({ state: "remediated" });
      }
    },
  );

  it.each(cells.map((cell) => [name(cell), cell] as const))(
    "at %s, and a person puts it back, with or without the notes on it: nothing is done twice (H41 I1 I3)",
    async (_, cell) => {
      for (const strip of [false, true]) {
        const t = scene.target();
        await dies(t, "a", cell);
        const before = t.effects().size;
        t.revert(strip);
        await t.worker("b").finish();

        expect(atMostOnce(t)).toEqual([]);
        const record = t.record();
        expect(["remediated", "held"]).toContain(record?.state);
        // What was undone by a person is never written over: the first step is not repeated once it had happened.
        if (before > 0) expect(t.effects().get("first")).toBe(1);
        if (record?.state === "held") expect(record.page).toBe("wanted");
        await closed(t);
      }
    },
  );

  it.each(cells.map((cell) => [name(cell), cell] as const))(
    "at %s, and Redis forgets everything; the same alert is approved again: never a second effect (H42 I1)",
    async (_, cell) => {
      const t = scene.target();
      await dies(t, "a", cell);
      const done = new Map(t.effects());
      t.memory.flush();
      const again = t.approveAgain();
      await t.worker("b").finish(again);

      expect(atMostOnce(t)).toEqual([]);
      // A run that was begun is settled, never carried on from a ledger.
      const begun = !["take", "check", "intent"].includes(cell.bracket) || cell.step === "second";
      if (begun) expect(t.effects()).toEqual(done);
    },
  );

  it("in its undo: it goes on undoing, once (H41 I1)", async () => {
    for (const bracket of brackets) {
      const t = scene.target();
      const failed = { verdict: "failed" as const };
      await dies(t, "a", { bracket: "check", step: "undo:all" }, failed);
      await dies(t, "b", { bracket }, failed);
      await t.worker("c", failed).finish();

      expect([bracket, ...t.effects()]).toEqual([bracket, ...STEPS.map((step) => [step, 1]), ["undo:all", 1]]);
      expect(t.record()).toMatchObject({ state: "held", reason: "undone" });
      await closed(t);
    }
  });
});

describe("a frozen worker wakes", () => {
  it.each(cells.map((cell) => [name(cell), cell] as const))(
    "at %s, after another has finished: it does nothing and says nothing (H40 H46 I3)",
    async (_, cell) => {
      const t = scene.target();
      const a = freezes(t, "a", cell);
      expect(await a.reached).toBe(true);
      t.presumeDead("a");
      await t.worker("b").finish();
      const record = t.record();
      await a.wake();

      expect([...t.effects()]).toEqual(STEPS.map((step) => [step, 1]));
      expect(t.record()).toMatchObject({ state: "remediated", rev: record?.rev });
      await closed(t);
    },
  );

  it.each(cells.map((cell) => [name(cell), cell] as const))(
    "at %s, after another has finished and a person has put it back: it does nothing (H40 I3)",
    async (_, cell) => {
      const t = scene.target();
      const a = freezes(t, "a", cell);
      await a.reached;
      t.presumeDead("a");
      await t.worker("b").finish();
      t.revert(true);
      await a.wake();

      expect(t.replicas()).toBe(3);
      expect(atMostOnce(t)).toEqual([]);
    },
  );

  it.each(cells.filter((cell) => "step" in cell).map((cell) => [name(cell), cell] as const))(
    "at %s, while its successor is dead in the middle: each step once in the end (H40 I1)",
    async (_, cell) => {
      for (const bracket of ["fence", "take", "look", "settle", "check", "intent", "effect", "answer"] as const) {
        const t = scene.target();
        const a = freezes(t, "a", cell);
        await a.reached;
        t.presumeDead("a");
        await dies(t, "b", { bracket });
        await a.wake();
        await t.worker("c").finish();

        expect(atMostOnce(t)).toEqual([]);
        expect(["remediated", "held"]).toContain(t.record()?.state);
        await closed(t);
      }
    },
  );

  it.each(["intent", "effect"] as const)(
    "at %s, after a pause took its Lease: it writes nothing (H46 I6)",
    async (bracket) => {
      const t = scene.target();
      let paused = false;
      const check = () => (paused ? { reason: "paused" as const, says: "paused by ann" } : null);
      const a = freezes(t, "a", { bracket, step: "first" }, { check });
      await a.reached;
      paused = true;
      expect(await t.revoke()).toBe(1);
      await a.wake();

      expect(t.effects().size).toBe(0);
      expect(t.replicas()).toBe(3);
    },
  );
});

describe("an answer", () => {
  const patch = (t: EngineTarget) => ({
    ...t.match,
    verb: "patch",
    body: (body: unknown) => JSON.stringify(body).includes("/spec/replicas"),
  });

  it("that never comes although the change was made: found done (I1 I8)", async () => {
    const t = scene.target();
    t.faults.add(patch(t), { do: "drop-after" }, 1);
    await t.worker("a").finish();

    expect([...t.effects()]).toEqual(STEPS.map((step) => [step, 1]));
    expect(t.record()).toMatchObject({ state: "remediated" });
  });

  it("that never comes, nothing was made of it: it is done again, once (I1)", async () => {
    const t = scene.target();
    t.faults.add(patch(t), { do: "drop-before" }, 1);
    await t.worker("a").finish();

    expect([...t.effects()]).toEqual(STEPS.map((step) => [step, 1]));
    expect(t.record()).toMatchObject({ state: "remediated" });
  });

  it("that is late: the request still under way is void once it was fenced (H40 I1)", async () => {
    const t = scene.target();
    const held = t.faults.add(patch(t), { do: "hold" }, 1);
    await t.worker("a").finish();
    await held.release();

    expect([...t.effects()]).toEqual(STEPS.map((step) => [step, 1]));
    expect(t.replicas()).toBe(5);
  });

  it("that is late, after a person has put back what was done since: still void (H40 I1)", async () => {
    const t = scene.target();
    const held = t.faults.add(patch(t), { do: "hold" }, 1);
    await t.worker("a").finish();
    t.revert(true);
    await held.release();

    expect(t.replicas()).toBe(3);
    expect(atMostOnce(t)).toEqual([]);
  });

  it("that never comes, and a person put it back without a trace before it was looked at: held, and said so (I8)", async () => {
    const t = scene.target();
    t.faults.add(patch(t), { do: "drop-after" }, 1);
    let reverted = false;
    const worker = t.worker("a", {
      async at(bracket) {
        if (bracket !== "answer" || reverted) return;
        reverted = true;
        t.revert(true);
      },
    });
    await worker.finish();

    expect([...t.effects()]).toEqual([["first", 1]]);
    expect(t.record()).toMatchObject({ state: "held", reason: "cannot-tell", page: "wanted" });
    expect(t.record()?.says).toMatch(
      /it cannot be told whether this was done: Deployment shop\/cart-\d+ \/spec\/replicas: 3 → 5/,
    );
  });

  it("that was never looked at, and the object was made anew under its name: nobody can tell, and nothing is sent (I8 H33)", async () => {
    const t = scene.target();
    await dies(t, "a", { bracket: "answer", step: "first" });
    const live = structuredClone(scene.kubernetes.get("Deployment", "shop", t.target.name)) as Record<string, any>;
    scene.kubernetes.remove("Deployment", "shop", t.target.name);
    scene.kubernetes.seed({
      ...live,
      metadata: { ...live["metadata"], uid: "another", annotations: {}, generation: 1 },
    });
    await t.worker("b").finish();

    expect(t.effects().get("first")).toBe(1);
    expect(t.record()).toMatchObject({ state: "held", reason: "cannot-tell", page: "wanted" });
  });

  it("that cannot be told any more is not asked about again by whoever comes after the one who said so (I1 I8)", async () => {
    const t = scene.target();
    await dies(t, "a", { bracket: "answer", step: "first" });
    t.revert(true);
    await dies(t, "b", { bracket: "copy" });
    await t.worker("c").finish();

    expect([...t.effects()]).toEqual([["first", 1]]);
    expect(t.record()).toMatchObject({ state: "held", reason: "cannot-tell" });
    await closed(t);
  });

  it.each([500, 503, 504])("of %i whose change was not made: fenced, looked at and done once (I1)", async (status) => {
    const t = scene.target();
    t.faults.add(patch(t), { do: "answer", status }, 1);
    await t.worker("a").finish();

    expect([...t.effects()]).toEqual(STEPS.map((step) => [step, 1]));
  });

  it.each([403, 409, 422])("of %i by a proxy that had handed the request on: found done, once (I1)", async (status) => {
    const t = scene.target();
    const writer = (of: ClusterWriter): ClusterWriter => ({
      ...of,
      async jsonPatch(...request) {
        await of.jsonPatch(...request);
        throw new ClusterError(status, "Proxy", "not from the API server");
      },
    });
    await t.worker("a", { writer }).finish();

    expect([...t.effects()]).toEqual(STEPS.map((step) => [step, 1]));
    expect(t.record()).toMatchObject({ state: "remediated" });
    expect((await t.lease())?.ledger.ops).toHaveLength(2);
  });

  it("of 409 by a proxy whose own request lands later, and a person sets the value back: not made again (I1)", async () => {
    const t = scene.target();
    const held = t.faults.add(patch(t), { do: "hold" }, 1);
    let refused = 0;
    const worker = t.worker("a", {
      // A proxy of its own: it hands the first request on, and answers by itself before that arrives.
      writer: (writer) => ({
        ...writer,
        async jsonPatch(...of) {
          refused += 1;
          if (refused > 1) return writer.jsonPatch(...of);
          void writer.jsonPatch(...of).catch(() => undefined);
          await held.met();
          throw new ClusterError(409, "Conflict", "by the proxy");
        },
      }),
      async at(bracket) {
        // After the worker has looked for its key, and before it looks at the world again.
        if (bracket !== "check" || refused !== 1) return;
        await held.release();
        t.revert();
      },
    });
    await worker.finish();

    expect(t.effects().get("first")).toBe(1);
  });

  it("that never comes, while a pause is set: what happened stands in the ledger (I1 I6)", async () => {
    const t = scene.target();
    let paused = false;
    const writer = (of: ClusterWriter): ClusterWriter => ({
      ...of,
      async jsonPatch(...request) {
        await of.jsonPatch(...request);
        paused = true;
        throw new ClusterError(null, "Timeout", "no answer");
      },
    });
    const check = () => (paused ? { reason: "paused" as const, says: "paused by ann" } : null);
    await t.worker("a", { writer, check }).finish();

    expect([...t.effects()]).toEqual([["first", 1]]);
    expect(t.record()).toMatchObject({ state: "held", reason: "paused" });
    expect((await t.lease())?.ledger.ops).toHaveLength(1);
  });

  it("of 403: nothing more is tried, a person is told", async () => {
    const t = scene.target();
    t.faults.add(patch(t), { do: "answer", status: 403, reason: "Forbidden" });
    await t.worker("a").finish();

    expect(t.effects().size).toBe(0);
    expect(t.record()).toMatchObject({ state: "held", reason: "forbidden", page: "wanted" });
    await closed(t);
  });
});

describe("the world", () => {
  it("is another one just before the write: nothing is written, the plan is made anew once, then a person is told (H44 I3)", async () => {
    const t = scene.target();
    let edited = false;
    const worker = t.worker("a", {
      async at(bracket) {
        if (bracket !== "effect" || edited) return;
        edited = true;
        t.revert();
        const live = structuredClone(scene.kubernetes.get("Deployment", "shop", t.target.name)) as never as {
          spec: { replicas: number };
          metadata: { generation: number };
        };
        live.spec.replicas = 9;
        live.metadata.generation += 1;
        scene.kubernetes.seed(live as never);
      },
    });
    await worker.finish();

    expect(t.effects().size).toBe(0);
    expect(t.replicas()).toBe(9);
    expect(["open", "held"]).toContain(t.record()?.state);
  });

  it("is looked at again before each step: a guard that holds at the second stops there (I6)", async () => {
    const t = scene.target();
    let asked = 0;
    await t
      .worker("a", {
        check() {
          asked += 1;
          return asked > 1 ? { reason: "paused", says: "paused by ann" } : null;
        },
      })
      .finish();

    expect([...t.effects()]).toEqual([["first", 1]]);
    expect(t.record()).toMatchObject({ state: "held", reason: "paused", page: "wanted" });
    await closed(t);
  });

  it("holds one run of a target at a time: two workers of one job do each step once (I2)", async () => {
    const t = scene.target();
    await Promise.all([t.worker("a").finish(), t.worker("b").finish()]);

    expect([...t.effects()]).toEqual(STEPS.map((step) => [step, 1]));
    expect(t.record()).toMatchObject({ state: "remediated" });
  });

  it("knows a second episode of the alert as another operation, and the same one as done (I1)", async () => {
    const t = scene.target();
    await t.worker("a").finish();
    t.revert();
    t.memory.flush();
    const same = t.approveAgain();
    await t.worker("b").finish(same);
    expect(t.replicas()).toBe(3);
    const later = t.approveAgain("2026-11-24T09:00:00Z");
    await t.worker("c").finish(later);

    expect(t.replicas()).toBe(5);
    expect([...t.effects()]).toEqual(STEPS.map((step) => [step, 2]));
  });
});

describe("an operation's key", () => {
  it("is the same for every plan of one alert on one object, and another for any other (I1)", () => {
    const t = scene.target();
    const plan = t.record()?.plan;
    const later = t.memory.get(t.approveAgain())?.plan;
    if (!plan || !later) throw new Error("no plan");

    expect(later.nonce).not.toBe(plan.nonce);
    expect(planOpKey("f@t", later, "first")).toBe(planOpKey("f@t", plan, "first"));
    expect(planOpKey("f@t", plan, "second")).not.toBe(planOpKey("f@t", plan, "first"));
    expect(planOpKey("f@later", plan, "first")).not.toBe(planOpKey("f@t", plan, "first"));
    expect(planOpKey("f@t", { ...plan, target: { ...plan.target, uid: "other" } }, "first")).not.toBe(
      planOpKey("f@t", plan, "first"),
    );
  });
});

describe("an eviction", () => {
  const seedPod = (name: string) => {
    const spec = { containers: [{ name: "main", image: "x" }] };
    const seeded = scene.kubernetes.seed({
      apiVersion: "v1",
      kind: "Pod",
      metadata: { name, namespace: "shop" },
      spec,
    });
    return { apiVersion: "v1", kind: "Pod", namespace: "shop", name, uid: String(seeded.metadata.uid) };
  };
  /** Its plan's first step is the eviction, and there is no other. */
  const evicts = ({ ports }: ReturnType<EngineTarget["worker"]>, object: ReturnType<typeof seedPod>) => {
    const remedy = ports.runbook("grow");
    if (remedy?.kind !== "remedy") throw new Error("no remedy");
    ports.runbook = () => ({
      ...remedy,
      async execute({ step }) {
        await step("first", async () => ({ object, evict: true, changed: () => null }));
      },
    });
  };

  it("takes the pod that it names by its UID, or none (I1)", async () => {
    const seeded = scene.kubernetes.seed({
      apiVersion: "v1",
      kind: "Pod",
      metadata: { name: "pod", namespace: "shop" },
      spec: { containers: [{ name: "main", image: "x" }] },
    });
    const pod = { apiVersion: "v1", kind: "Pod", namespace: "shop", name: "pod" };

    await expect(scene.client.evict({ ...pod, uid: "another" })).rejects.toMatchObject({ status: 409 });
    expect(scene.kubernetes.get("Pod", "shop", "pod")?.metadata.deletionTimestamp).toBeUndefined();
    await scene.client.evict({ ...pod, uid: String(seeded.metadata.uid) });
    const left = scene.kubernetes.get("Pod", "shop", "pod");
    expect(left === undefined || left.metadata.deletionTimestamp !== undefined).toBe(true);
  });

  it("that was held up asks everything again before it is sent: nothing else would keep a paused one back (H46 I6)", async () => {
    const t = scene.target();
    const ref = seedPod("held-up");
    let paused = false;
    const a = t.worker("a", {
      check: () => (paused ? { reason: "paused", says: "stopped" } : null),
      async at(bracket) {
        if (bracket !== "effect") return;
        paused = true;
        await a.ports.clock.sleep(3000);
      },
    });
    evicts(a, ref);
    await a.finish();

    expect(scene.kubernetes.get("Pod", "shop", "held-up")?.metadata.deletionTimestamp).toBeUndefined();
    expect(t.record()).toMatchObject({ state: "held", reason: "paused" });
  });

  it("that is answered with 409 while the pod stays was not made: it is asked for again, once (I1)", async () => {
    const t = scene.target();
    const ref = seedPod("conflicting");
    const refused = t.faults.add(
      { ...t.match, resource: "pods", name: "conflicting", verb: "create" },
      { do: "answer", status: 409, reason: "Conflict" },
      1,
    );
    const a = t.worker("a");
    evicts(a, ref);
    await a.finish();

    expect(refused.hits).toBe(1);
    const pod = scene.kubernetes.get("Pod", "shop", "conflicting");
    expect(pod === undefined || pod.metadata.deletionTimestamp !== undefined).toBe(true);
    expect(t.record()).toMatchObject({ state: "remediated" });
  });
});

describe("a look at what the guards judge by", () => {
  /** A worker that counts its looks. */
  function looking(t: EngineTarget, holder: string) {
    const worker = t.worker(holder);
    const { look } = worker.ports;
    let looks = 0;
    worker.ports.look = (...of) => {
      looks += 1;
      return look(...of);
    };
    return { finish: () => worker.finish(), looks: () => looks };
  }

  it("is taken once for each step, the first while the start is stored (I2)", async () => {
    const t = scene.target();
    const worker = looking(t, "a");
    await worker.finish();

    expect(t.replicas()).toBe(5);
    expect(worker.looks()).toBe(STEPS.length);
  });

  it("is not what a runbook reads once its step is done: that is the cluster as it is then (I2)", async () => {
    const t = scene.target();
    const worker = t.worker("a");
    const grow = worker.ports.runbook("grow");
    if (grow?.kind !== "remedy") throw new Error("the scene has no remedy");
    const seen: unknown[] = [];
    const read = async (cluster: ClusterReader) => (await cluster.get(t.target))?.spec?.replicas as unknown;
    const remedy: AnyRemedy = {
      ...grow,
      execute: (context) =>
        grow.execute({
          ...context,
          async step(name, prepare) {
            await context.step(name, async () => {
              await read(context.cluster);
              return prepare();
            });
            seen.push(await read(context.cluster));
          },
        }),
    };
    worker.ports.runbook = () => remedy;
    await worker.finish();

    expect(seen.slice(0, 2)).toEqual([4, 5]);
  });

  it("is not taken by who resumes a run of which no step is left: it only looks whether it helped", async () => {
    const t = scene.target();
    expect(await dies(t, "a", { bracket: "end" })).toBe(true);
    const worker = looking(t, "b");
    await worker.finish();

    expect(t.record()).toMatchObject({ state: "remediated" });
    expect(worker.looks()).toBe(0);
  });
});

describe("a person's abort", () => {
  it("is met by a worker that stood still between its start and its first look (H41 I2)", async () => {
    const t = scene.target();
    const worker = t.worker("a", {
      async at(bracket, step) {
        if (bracket !== "check" || step !== "first") return;
        await t.memory.move(t.incident, { type: "abort", by: "ann" });
        // The clock goes on by as much.
        await worker.ports.clock.sleep(200);
      },
    });
    await worker.finish();

    expect(t.effects().size).toBe(0);
    expect(t.record()).toMatchObject({ state: "held", reason: "aborted" });
  });

  it("stops it at its next safe point, on whatever worker it is (H45)", async () => {
    const t = scene.target();
    const a = freezes(t, "a", { bracket: "done", step: "first" });
    await a.reached;
    await t.memory.move(t.incident, { type: "abort", by: "ann" });
    await a.wake();

    expect([...t.effects()]).toEqual([["first", 1]]);
    expect(t.record()).toMatchObject({ state: "held", reason: "aborted", page: "wanted" });
    await closed(t);
  });

  it("is remembered by the one who takes over (H45)", async () => {
    const t = scene.target();
    await dies(t, "a", { bracket: "effect", step: "first" });
    await t.memory.move(t.incident, { type: "abort", by: "ann" });
    await t.worker("b").finish();

    expect(t.effects().size).toBe(0);
    expect(t.record()).toMatchObject({ state: "held", reason: "aborted" });
  });
});

describe("a memory that cannot be asked", () => {
  it("sends the job back, and the Lease is nobody's meanwhile: whoever has the job next need not wait (H42)", async () => {
    const t = scene.target();
    const a = t.worker("a");
    a.ports.transition = async () => {
      throw new UnavailableError("ERR_REDIS_UNREACHABLE", "Redis is away");
    };

    await expect(a.once()).rejects.toThrow("Redis is away");

    expect((await t.lease())?.holder).toBe("");
    await t.worker("b").finish();
    expect([...t.effects()]).toEqual(STEPS.map((step) => [step, 1]));
  });
});

describe("a Lease that cannot be read", () => {
  it("hides no other from whoever reads all of them (I7)", async () => {
    const t = scene.target();
    await t.worker("a").finish();
    const lease = (name: string, ledger: object) => ({
      apiVersion: "coordination.k8s.io/v1",
      kind: "Lease",
      metadata: {
        name,
        namespace: "nightshift",
        labels: { "app.kubernetes.io/component": "target-lease" },
        annotations: { "nightshift.dev/ledger": JSON.stringify(ledger) },
      },
    });
    scene.kubernetes.seed(lease("nightshift-t-broken", { v: 1, run: "none" }));
    scene.kubernetes.seed(lease("nightshift-t-newer", { v: 2 }));
    const unreadable: string[] = [];
    const all = await t.leases.all((error) => unreadable.push(error.message));
    for (const name of ["broken", "newer"]) scene.kubernetes.remove("Lease", "nightshift", `nightshift-t-${name}`);

    expect(all.map((view) => view.name)).toContain((await t.lease())?.name);
    expect(unreadable.sort()).toEqual([
      expect.stringMatching(/nightshift-t-broken: its annotation .* until a person mends or removes it/),
      expect.stringMatching(/nightshift-t-newer: its ledger has format 2, this version reads 1/),
    ]);
  });
});

describe("a shutdown", () => {
  it("hands the run over between two steps, and uses up nothing", async () => {
    const t = scene.target();
    const a = t.worker("a", {
      async at(bracket, step) {
        if (bracket === "done" && step === "first") a.stop();
      },
    });
    const end = await a.once();

    expect(end).toEqual({ end: "again", inMs: 0 });
    expect((await t.lease())?.holder).toBe("");
    await t.worker("b").finish();
    expect([...t.effects()]).toEqual(STEPS.map((step) => [step, 1]));
  });
});
