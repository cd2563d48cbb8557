import { Queue } from "bullmq";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { readConfig } from "../../src/config.js";
import type { IncidentRecord } from "../../src/record/incident.js";
import { alertmanagerProgram } from "../harness/processes.js";
import { type Asked, type Hand, type Hands, startHands } from "../harness/workers.js";
import { startWorld, testPolicy, type World } from "../harness/world.js";
import { policyRules } from "./crash/play.js";
import { HANDS, NAMESPACE, startStandIn, type Stage } from "./crash/stage.js";
import { type CrashWorld, worlds } from "./crash/worlds.js";

/** Workers that stand still and wake again, and workers that are asked to end: two real processes, real signals. */
const missing = alertmanagerProgram() === null ? "no Alertmanager on this machine" : null;

describe.skipIf(missing !== null)(`a worker stopped in time${missing === null ? "" : ` (not run: ${missing})`}`, () => {
  let stage: Stage;
  let world: World;
  let hands: Hands;
  let asked: (hand: Hand, of: Asked & { name: string }) => Promise<void> = async () => undefined;
  const sick = new Map<string, { world: CrashWorld; labels: Record<string, string>; mended: boolean }>();
  let mending: NodeJS.Timeout;

  beforeAll(async () => {
    stage = await startStandIn();
    world = await startWorld({
      kubeconfig: stage.kubeconfig,
      policy: testPolicy([NAMESPACE], policyRules()),
      env: { NIGHTSHIFT_ROLE: "front" },
    });
    for (const { alertname } of worlds)
      world.prometheus.rules.push({ name: alertname, query: `sick_${alertname} > 0` });
    world.prometheus.answer((expr) =>
      expr.startsWith("sick_")
        ? [...sick.values()].map(({ labels, mended }) => ({ metric: labels, value: mended ? 0 : 1 }))
        : null,
    );
    mending = setInterval(() => void mend(), 300);
    hands = await startHands({
      count: 2,
      env: { ...world.env, KUBECONFIG_HANDS: stage.handsKubeconfig },
      async asked(hand, of) {
        const answer = await fetch(`http://127.0.0.1:${world.port}/api/v1/incidents/${of.incident}`);
        await asked(hand, { ...of, name: ((await answer.json()) as IncidentRecord).target?.name ?? "" });
      },
    });
  }, 90_000);

  afterAll(async () => {
    clearInterval(mending);
    await hands?.stop();
    await world?.stop();
    await stage?.stop();
  }, 60_000);

  async function mend(): Promise<void> {
    for (const [name, one] of sick) {
      if (one.mended || effectsOn(name, one.world) === 0 || !(await one.world.worked(stage, name))) continue;
      one.mended = true;
      await world.resolve(one.labels);
    }
  }

  const effectsOn = (name: string, of: CrashWorld) => stage.effects().filter((effect) => of.mine(effect, name)).length;
  const worldNamed = (name: string) => worlds.find((one) => one.name === name) as CrashWorld;

  async function fire(of: CrashWorld, name: string): Promise<void> {
    await of.build(stage, name);
    const labels = { alertname: of.alertname, namespace: NAMESPACE, severity: "critical", name };
    const all = { ...labels, ...(await of.labels?.(stage, name)) };
    sick.set(name, { world: of, labels: all, mended: false });
    await world.fire(all);
    if (of.autonomy === "auto") return;
    const ask = await world.incident("an ask", (r) => r.target?.name === name && r.state === "waiting" && !!r.slack);
    const shown = world.slack.messages.find((m) => m.ts === ask.slack?.ts && m.threadTs === null);
    if (shown) await world.slack.press(shown, "approve", { user: "U1" });
  }

  const end = (name: string) =>
    world.incident(
      `the end of ${name}`,
      (r) => r.target?.name === name && ["remediated", "held", "suppressed"].includes(r.state),
      90_000,
    );

  async function ledgerOf(name: string): Promise<{ run: unknown; open: unknown; ops: unknown[]; ends: unknown[] }> {
    const lease = (await stage.leases()).find((one) =>
      String(one.metadata.annotations?.["nightshift.dev/target"]).includes(`"name":"${name}"`),
    );
    return JSON.parse(lease?.metadata.annotations["nightshift.dev/ledger"]) as never;
  }

  const writes: Record<string, { verb: string; resource: string; subresource?: string }> = {
    rollback: { verb: "patch", resource: "deployments" },
    evict: { verb: "create", resource: "pods", subresource: "eviction" },
  };

  it.each(["rollback", "evict"])(
    "%s: frozen right before its write, overtaken, woken: one effect (H40 H46)",
    async (what) => {
      const of = worldNamed(what);
      const name = `${what}-frozen`;
      // Counts requests, also those that are refused; fences and dry runs are none.
      const requests = stage.kubernetes?.faults.add(
        {
          ...writes[what],
          namespace: NAMESPACE,
          user: HANDS,
          body: (body) => !/dryRun|"nightshift.dev\/fence"/.test(JSON.stringify(body)),
        },
        { do: "delay", ms: 0 },
      );
      let frozen: Hand | null = null;
      let noticed: () => void = () => undefined;
      const woke = new Promise<void>((done) => (noticed = done));
      asked = async (hand, { bracket, name: about }) => {
        if (about !== name) return;
        // It sends what it was about to send, or looks again because its look is old by now.
        if ((bracket === "answer" || bracket === "check") && hand === frozen) noticed();
        if (bracket !== "effect" || frozen !== null) return;
        frozen = hand;
        await hand.freeze();
      };

      try {
        await fire(of, name);
        const record = await end(name);
        expect(record, JSON.stringify(record.timeline)).toMatchObject({ state: "remediated" });
        expect(frozen).not.toBeNull();
        const before = await ledgerOf(name);
        expect([requests?.hits, effectsOn(name, of)]).toEqual([1, 1]);

        (frozen as Hand | null)?.thaw();
        await woke;

        expect([1, 2], "the woken worker sends its write once at most").toContain(requests?.hits);
        expect(effectsOn(name, of)).toBe(1);
        const after = await world.until("the woken worker to let go", async () => {
          const now = await ledgerOf(name);
          return now.open === null && now.run === null && now;
        });
        expect(after).toMatchObject({ ops: before.ops });
        expect(after.ends).toHaveLength(1);
        // A message or the resolved alert may come after the end and writes to the record too: neither changes the run.
        const told = ({ state, reason, says, endedAt, run, page, timeline }: IncidentRecord) => {
          return {
            state,
            reason,
            says,
            endedAt,
            run,
            page,
            timeline: timeline.filter((line) => line.what !== "resolved"),
          };
        };
        expect(told(await end(name))).toEqual(told(record));
        requests?.remove();
      } finally {
        (frozen as Hand | null)?.thaw();
      }
    },
    150_000,
  );

  it("SIGTERM hands the run over at once, with no attempt used and nobody paged; a kill takes longer (H40)", async () => {
    const queue = new Queue("runs", {
      connection: { path: new URL(world.redis.url).pathname } as never,
      prefix: `${readConfig(world.env, true).redisPrefix}:queue`,
    });
    /** Milliseconds from the worker's end to the other's first question, and what BullMQ counted against the job. */
    async function handedOver(name: string, leave: (hand: Hand) => Promise<void>) {
      const of = worldNamed("restart-deployment");
      let left: { hand: Hand; at: number } | null = null;
      let told: (of: { ms: number; attempts: number }) => void = () => undefined;
      const taken = new Promise<{ ms: number; attempts: number }>((done) => (told = done));
      asked = async (hand, { name: about, incident }) => {
        if (about !== name) return;
        if (left === null) {
          left = { hand, at: 0 };
          await leave(hand);
          left.at = performance.now();
        } else if (hand !== left.hand) {
          const ms = performance.now() - left.at;
          const job = (await queue.getJobs(["active"])).find((one) => one.data.incident === incident);
          told({ ms, attempts: job?.attemptsMade ?? -1 });
        }
      };
      await world.until("two workers", async () => hands.serving().length >= 2);
      await fire(of, name);
      const result = await taken;
      const record = await end(name);
      expect(record, JSON.stringify(record.timeline)).toMatchObject({ state: "remediated", page: "none" });
      expect(effectsOn(name, of)).toBe(1);
      // Alertmanager's one group is one key at PagerDuty: what counts is that no page names it.
      expect(world.pager.calls.filter(({ body }) => JSON.stringify(body).includes(name))).toEqual([]);
      return result;
    }
    try {
      let ended = Promise.resolve();
      const asked = await handedOver("handed-over", async (hand) => {
        ended = hand.terminate();
        // The call in hand lasts until the worker knows that it is to end.
        await new Promise((done) => setTimeout(done, 1500));
      });
      await ended;
      const killed = await handedOver("killed", (hand) => hand.kill());

      console.log(`resumed after SIGTERM ${Math.round(asked.ms)} ms, after SIGKILL ${Math.round(killed.ms)} ms`);
      expect(asked.attempts).toBe(0);
      expect(asked.ms / killed.ms).toBeLessThan(0.5);
    } finally {
      await queue.close();
    }
  }, 150_000);
});
