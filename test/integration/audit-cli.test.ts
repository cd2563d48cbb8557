import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Redis } from "ioredis";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Kubernetes, startKubernetes } from "../../sandbox/kubernetes/kubernetes.js";
import { linkHash } from "../../src/record/chain.js";
import type { IncidentRecord } from "../../src/record/incident.js";
import { alertmanagerProgram, until } from "../harness/processes.js";
import { badRelease, errorRate, startWorld, testPolicy, type World } from "../harness/world.js";

const missing = alertmanagerProgram() === null ? "no Alertmanager on this machine" : null;
const root = fileURLToPath(new URL("../../", import.meta.url));
const NAMESPACE = "audited";
const RULE = "    autonomy: approve\n    approval: { from: ['slack-user:U1'], count: 1, expires: 5m }";
const TRAIL = "{nightshift}:trail";

describe.skipIf(missing !== null)(
  `audit on the command line${missing === null ? "" : ` (not run: ${missing})`}`,
  () => {
    let kubernetes: Kubernetes;
    let world: World;
    let redis: Redis;
    let healthy = false;
    let record: IncidentRecord;
    const dir = mkdtempSync(join(tmpdir(), "audit-cli-"));

    beforeAll(async () => {
      kubernetes = await startKubernetes();
      writeFileSync(join(dir, "kubeconfig"), kubernetes.kubeconfig());
      world = await startWorld({ kubeconfig: join(dir, "kubeconfig"), policy: testPolicy([NAMESPACE], RULE) });
      redis = new Redis({ path: world.redis.url.slice("unix://".length) } as object);
      const service = "shop";
      errorRate(world.prometheus, () => (healthy ? 0 : 0.4), [{ namespace: NAMESPACE, service }]);
      await badRelease(world.k, { namespace: NAMESPACE, name: service });
      const labels = {
        alertname: "HighErrorRate",
        namespace: NAMESPACE,
        service,
        severity: "critical",
        note: "password=hunter2hunter2",
      };
      await world.fire(labels);
      const ask = await world.incident(
        "the ask",
        (r) => r.state === "waiting" && r.slack !== null && r.page === "sent",
      );
      const message = world.slack.messages.find((m) => m.ts === ask.slack?.ts);
      if (message === undefined) throw new Error("no message");
      await world.slack.press(message, "approve", { user: "U1" });
      await until("the effect", async () =>
        kubernetes.writes().some((w) => w.kind === "Deployment" && w.templateChanged && w.op !== null),
      );
      healthy = true;
      await world.resolve(labels);
      record = await world.incident("the end", (r) => r.id === ask.id && r.state === "remediated", 90_000);
      // It is told of last; from here on nothing is written any more.
      let before = -1;
      await until("quiet", async () => {
        const length = await redis.xlen(TRAIL);
        const same = length === before;
        before = length;
        if (!same) await new Promise((done) => setTimeout(done, 1500));
        return same;
      });
      await world.app.stop();
    }, 180_000);

    afterAll(async () => {
      redis?.disconnect();
      await world?.stop();
      await kubernetes?.stop();
      rmSync(dir, { recursive: true, force: true });
    }, 60_000);

    /** The built command line beside the running stand-ins, which live in this process: never wait for it synchronously. */
    function nightshift(args: string[], env: Record<string, string> = {}) {
      return new Promise<{ code: number | null; out: string; err: string }>((resolve) => {
        const child = spawn(process.execPath, [join(root, "bin/nightshift.js"), "audit", ...args], {
          cwd: dir,
          env: { PATH: process.env["PATH"] ?? "", HOME: dir, ...world.env, ...env },
        });
        let [out, err] = ["", ""];
        child.stdout.on("data", (chunk: Buffer) => (out += chunk.toString()));
        child.stderr.on("data", (chunk: Buffer) => (err += chunk.toString()));
        child.once("exit", (code) => resolve({ code, out, err }));
      });
    }
    const headOf = async () => (await redis.hmget(`${TRAIL}:head`, "seq", "hash")).join(":");

    it("exports alert, plan, approval, guards, effect, verification, page and every transition", async () => {
      const ran = await nightshift(["export", record.id, "--json"]);
      expect(ran).toMatchObject({ code: 0, err: "" });
      const file = JSON.parse(ran.out) as Record<string, never> & {
        transitions: {
          seq: number;
          entry: string;
          prev: string;
          hash: string;
          event: string;
          who: string;
          plan: string;
        }[];
        guards: { guard: string; expected: string; found: string }[];
        verification: { symptom: string }[];
      };

      expect(file).toMatchObject({
        incident: { id: record.id, state: "remediated", target: { namespace: NAMESPACE, name: "shop" } },
        alerts: [{ labels: { alertname: "HighErrorRate", service: "shop", note: "password=[redacted]" } }],
        plan: {
          digest: record.plan?.digest,
          digestHolds: true,
          steps: record.plan?.steps,
          sentence: record.plan?.sentence,
        },
        approvals: { needed: 1, given: [{ by: "slack:U1", seal: "holds", ofThisPlan: true }] },
        run: { id: record.run?.id },
        effects: {
          read: true,
          operations: record.plan?.steps.map((step) => ({ step })),
          open: null,
          ends: [{ run: record.run?.id, outcome: "remediated" }],
        },
        pages: { state: "sent", dedupKey: record.dedupKey, told: [{ says: expect.any(String) }] },
        transitionsComplete: true,
        chain: { verdict: "intact" },
      });
      expect(file.guards.length).toBeGreaterThan(10);
      expect(file.guards.every((guard) => guard.expected !== "" && guard.found !== "")).toBe(true);
      expect(file.verification.length).toBeGreaterThanOrEqual(2);
      expect(file.transitions.map(({ event }) => event)).toEqual(
        expect.arrayContaining(["opened", "asked", "yes", "start", "stepDone", "look", "ended", "paged"]),
      );
      expect(file.transitions.find(({ event }) => event === "yes")).toMatchObject({
        who: "slack:U1",
        plan: record.plan?.digest,
      });
      expect(file.transitions.find(({ event }) => event === "start")).toMatchObject({ run: record.run?.id });
      // Each can be checked with what stands in the file alone.
      for (const one of file.transitions) expect(linkHash(one.prev, one.entry)).toBe(one.hash);
      for (const secret of [
        "hunter2hunter2",
        record.approvals[0]?.mac ?? "no mac",
        world.env["NIGHTSHIFT_SECRET"] ?? "",
      ])
        expect(ran.out).not.toContain(secret);
    }, 60_000);

    it("exports by the run's id, for people, and into a new file that nobody else reads", async () => {
      const words = await nightshift(["export", record.run?.id ?? ""]);
      const out = join(dir, "incident.json");
      const written = await nightshift(["export", record.id.slice(0, 12), "--out", out]);
      const again = await nightshift(["export", record.id, "--out", out]);

      expect(words).toMatchObject({ code: 0, err: "" });
      expect(words.out).toMatch(/approved by slack:U1 at .*: seal holds/);
      expect(words.out).toMatch(/effect .* roll-?back/);
      expect(words.out).toMatch(/yes \(waiting → approved\) by slack:U1/);
      expect(words.out).not.toContain("hunter2hunter2");
      expect(written).toMatchObject({ code: 0, out: "" });
      expect(JSON.parse(readFileSync(out, "utf8"))).toMatchObject({ incident: { id: record.id } });
      expect(statSync(out).mode & 0o077).toBe(0);
      expect(again.code).toBe(1);
      expect(again.err).toMatch(/incident\.json: expected a file that can be made new/);
      expect((await nightshift(["export", "inc-nothing"])).code).toBe(1);
    }, 60_000);

    it("exports without the cluster and with another key, and says what it could not do", async () => {
      const ran = await nightshift(["export", record.id, "--json"], {
        KUBECONFIG: join(dir, "nothing"),
        NIGHTSHIFT_SECRET: "some-other-secret-than-the-install-has",
      });

      expect(JSON.parse(ran.out)).toMatchObject({
        effects: { read: false, why: expect.stringMatching(/./) },
        approvals: { given: [{ seal: expect.stringMatching(/^does not hold/) }] },
      });
    }, 60_000);

    it("verifies with exit 0 and compares with the head that was kept at the stop, and with a head of the log", async () => {
      const ran = await nightshift(["verify", "--json", "--head", await headOf()]);
      expect(ran).toMatchObject({ code: 0, err: "" });
      expect(JSON.parse(ran.out)).toMatchObject({ verdict: "intact", faultCount: 0, first: { seq: 1 } });
      expect((JSON.parse(ran.out) as { cluster: string }).cluster).toMatch(/newest at .*: in the chain/);

      const alone = await nightshift(["verify"], { KUBECONFIG: join(dir, "nothing") });
      expect(alone.code).toBe(0);
      expect(alone.out).toMatch(/^intact: \d+ entries, from 1 .*\n {2}not compared with the heads in the cluster: /);
    }, 60_000);

    it("exit 2 where it cannot be read, or the head is not one", async () => {
      const away = await nightshift(["verify", "--json"], { REDIS_URL: `unix://${join(dir, "no.sock")}` });
      const wrong = await nightshift(["verify", "--head", "latest"]);

      expect(away.code).toBe(2);
      expect(JSON.parse(away.out)).toMatchObject({ verdict: "unread" });
      expect(wrong.code).toBe(2);
      expect(wrong.err).toMatch(/expected NUMBER:HASH/);
    }, 60_000);

    it("exit 1 where an approval was written out of the history, and says where", async () => {
      const entries = await redis.xrange(TRAIL, "-", "+");
      const at = entries.findIndex(([, fields]) => fields.some((field) => field.includes('"event":"yes"')));
      await redis.xdel(TRAIL, entries[at]?.[0] ?? "");
      const ran = await nightshift(["verify", "--json"]);
      const words = await nightshift(["verify"]);

      expect(ran.code).toBe(1);
      expect(JSON.parse(ran.out)).toMatchObject({
        verdict: "broken",
        faults: [{ seq: at + 1, incident: record.id, expected: `entry ${at + 1}`, found: `entry ${at + 2}` }],
      });
      expect(words.code).toBe(1);
      expect(words.out).toMatch(/1 entry is missing: removed, or moved elsewhere/);
      expect(JSON.parse((await nightshift(["export", record.id, "--json"])).out)).toMatchObject({
        chain: { verdict: "broken" },
      });
    }, 60_000);

    it("exit 1 where Redis was flushed: the head in the cluster is not in the chain (H42)", async () => {
      const head = await headOf();
      await redis.flushall();
      const ran = await nightshift(["verify", "--head", head]);

      expect(ran.code).toBe(1);
      expect(ran.out).toMatch(
        /the head kept in the cluster at \d{4}-.* is not in the chain: history .* was lost or replaced/,
      );
      expect(ran.out).toMatch(/not in the chain$/m);
    }, 60_000);
  },
);
