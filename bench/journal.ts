/**
 * What writing down costs per step, beside the one write that it is for: the intent and the result in the target's Lease,
 * and the result in the record. The ways are the product's own; Redis is real, the API server the one that the run is for.
 */
import { randomBytes } from "node:crypto";
import { systemClock } from "../src/clock.js";
import { HeldLease } from "../src/execution/held-lease.js";
import { createLeaseStore } from "../src/execution/lease.js";
import { emptyLedger } from "../src/execution/ledger.js";
import type { IncidentRecord } from "../src/record/incident.js";
import { createTransition } from "../src/record/transition.js";
import { connectRedis } from "../src/store/redis.js";
import { createRecordStore } from "../src/store/records.js";
import { serve } from "./child.js";
import { type Figure, figure, median } from "./figures.js";
import { firing, RESTART_RULE } from "./fire.js";
import { NAMESPACES, prepare, targetsOf } from "./targets.js";
import { policyOf, startWorld } from "./world.js";

export async function journal(options: { steps: number; cluster: boolean }): Promise<Figure[]> {
  const world = await startWorld({ policy: policyOf(NAMESPACES, RESTART_RULE), cluster: options.cluster });
  const running: { stop(): Promise<unknown> }[] = [world];
  try {
    const [target, other] = targetsOf("target", 2);
    if (!target || !other) throw new Error("no targets");
    const k = await prepare(world.kubeconfig, [target, other]);
    running.push({ stop: () => k.close() });
    const record = await runUnderWay(world, target);

    const redis = connectRedis(`unix://${world.socket}`, () => undefined);
    running.push({ stop: async () => redis.disconnect() });
    const records = createRecordStore(redis, "{nightshift}", (bytes) => randomBytes(bytes).toString("hex"));
    const transition = createTransition({ records, clock: systemClock, nudge: async () => {}, stored: () => {} });
    const leases = createLeaseStore(k, "nightshift", { clock: systemClock, durationSeconds: 35 });
    const taken = await leases.write("bench-journal", null, { holder: "bench", token: 1, ledger: emptyLedger });
    if (taken === null) throw new Error("the Lease was taken by somebody else");
    const held = new HeldLease(leases, taken, systemClock);
    const ref = { apiVersion: "apps/v1", kind: "Deployment", ...other };
    const object = { ...ref, uid: "00000000-0000-0000-0000-000000000000" };

    const times: Record<"effect" | "intent" | "done" | "record", number[]> = {
      effect: [],
      intent: [],
      done: [],
      record: [],
    };
    const timed = async (what: keyof typeof times, work: () => Promise<unknown>) => {
      const began = performance.now();
      await work();
      times[what].push(performance.now() - began);
    };
    for (let i = 0; i < options.steps; i += 1) {
      const at = new Date().toISOString();
      const open = { key: `key-${i}`, object, resourceVersion: "1", generation: 1, at };
      await timed("intent", () => held.put((ledger) => ({ ...ledger, open })));
      await timed("effect", () => k.mergePatch(ref, { metadata: { annotations: { "bench/step": String(i) } } }));
      const op = { key: open.key, fingerprint: "f", at };
      await timed("done", () => held.put((ledger) => ({ ...ledger, open: null, ops: [op] })));
      const step = { type: "stepDone", token: record.run?.token ?? 0, step: `step-${i}`, says: "done", at: 0 } as const;
      await timed("record", async () => {
        if (!(await transition(record.id, step, "bench")).changed) throw new Error("the step could not be noted");
      });
    }
    held.stop();
    const effect = median(times.effect);
    const parts = [median(times.intent), median(times.done), median(times.record)] as const;
    const beside = (name: string, value: number) =>
      figure({ name: `journal/${name}`, unit: "ms", value, floor: effect });
    return [
      beside("per step: all of it, beside the one write to the target", parts[0] + parts[1] + parts[2]),
      beside("per step: the intent in the Lease", parts[0]),
      beside("per step: the result in the Lease", parts[1]),
      beside("per step: the result in the record", parts[2]),
    ];
  } finally {
    for (const one of running.reverse()) await one.stop();
  }
}

/** A real record in the middle of a real run, left by a Nightshift that has ended. */
async function runUnderWay(
  world: Awaited<ReturnType<typeof startWorld>>,
  target: { namespace: string; name: string },
): Promise<IncidentRecord> {
  const served = await serve(world.env);
  const door = firing(world, served.url);
  try {
    await door.fire(target);
    for (let i = 0; i < 1000; i += 1) {
      const answer = await fetch(`${served.url}/api/v1/incidents`);
      const [record] = ((await answer.json()) as { incidents: IncidentRecord[] }).incidents;
      if (record?.state === "running" && record.run?.effectAt) return record;
      await new Promise((done) => setTimeout(done, 20));
    }
    throw new Error("the run did not begin");
  } finally {
    await door.close();
    await served.stop();
  }
}
