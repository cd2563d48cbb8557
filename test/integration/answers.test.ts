import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import type { Fault, FaultAction } from "../../sandbox/kubernetes/faults.js";
import { type Kubernetes, startKubernetes } from "../../sandbox/kubernetes/kubernetes.js";
import type { IncidentRecord } from "../../src/record/incident.js";
import { alertmanagerProgram, until } from "../harness/processes.js";
import { badRelease, errorRate, startWorld, testPolicy, type World } from "../harness/world.js";

/** Answers of the API server that never came, came late, or said no: settled by fence and look, never by sending again. */
const missing = alertmanagerProgram() === null ? "no Alertmanager on this machine" : null;
const NAMESPACE = "answers";

interface Row {
  name: string;
  what: string;
  action: FaultAction;
  times: number;
  ends: { state: string; reason: string | null };
  effects: number;
}

const rows: Row[] = [
  {
    name: "applied",
    what: "applied, and the answer lost",
    action: { do: "drop-after" },
    times: 1,
    ends: { state: "remediated", reason: null },
    effects: 1,
  },
  {
    name: "cut",
    what: "cut before it was applied",
    action: { do: "drop-before" },
    times: 1,
    ends: { state: "remediated", reason: null },
    effects: 1,
  },
  {
    name: "error",
    what: "answered with 500",
    action: { do: "answer", status: 500 },
    times: 1,
    ends: { state: "remediated", reason: null },
    effects: 1,
  },
  {
    name: "busy",
    what: "answered with 429",
    action: { do: "answer", status: 429 },
    times: 1,
    ends: { state: "remediated", reason: null },
    effects: 1,
  },
  {
    name: "conflict",
    what: "answered with 409 twice",
    action: { do: "answer", status: 409, reason: "Conflict" },
    times: 2,
    ends: { state: "remediated", reason: null },
    effects: 1,
  },
  {
    name: "forbidden",
    what: "answered with 403",
    action: { do: "answer", status: 403, reason: "Forbidden" },
    times: 1,
    ends: { state: "held", reason: "forbidden" },
    effects: 0,
  },
  {
    name: "invalid",
    what: "answered with 422",
    action: { do: "answer", status: 422, reason: "Invalid" },
    times: 1,
    ends: { state: "held", reason: "refused" },
    effects: 0,
  },
  {
    name: "twice",
    what: "sent twice by a proxy, answered with the second one's 409",
    action: { do: "twice" },
    times: 1,
    ends: { state: "remediated", reason: null },
    effects: 1,
  },
  {
    name: "late",
    what: "still under way when the caller gave up",
    action: { do: "hold" },
    times: 1,
    ends: { state: "remediated", reason: null },
    effects: 1,
  },
];

describe.skipIf(missing !== null)(`an effect's answer${missing === null ? "" : ` (not run: ${missing})`}`, () => {
  let kubernetes: Kubernetes;
  let world: World;
  const dir = mkdtempSync(join(tmpdir(), "answers-"));
  const fired = new Set<string>();
  let watching: NodeJS.Timeout;
  const good = (name: string) =>
    String(kubernetes.get("Deployment", NAMESPACE, name)?.spec.template.spec.containers[0].image).endsWith(":good");
  const labels = (service: string) => ({
    alertname: "HighErrorRate",
    namespace: NAMESPACE,
    service,
    severity: "critical",
  });
  const effects = (name: string) =>
    kubernetes.writes().filter((w) => w.kind === "Deployment" && w.name === name && w.templateChanged && w.op !== null);

  beforeAll(async () => {
    kubernetes = await startKubernetes();
    writeFileSync(join(dir, "kubeconfig"), kubernetes.kubeconfig());
    world = await startWorld({
      kubeconfig: join(dir, "kubeconfig"),
      policy: testPolicy([NAMESPACE], "    autonomy: auto"),
      slackMode: "none",
    });
    const names = [...rows.map((row) => row.name), "strange", "restless"];
    errorRate(
      world.prometheus,
      ({ service }) => (kubernetes.get("Deployment", NAMESPACE, service) && !good(service) ? 0.4 : 0),
      names.map((service) => ({ namespace: NAMESPACE, service })),
    );
    watching = setInterval(() => {
      for (const name of fired) if (good(name)) void world.resolve(labels(name)).catch(() => undefined);
    }, 300);
  }, 60_000);

  afterEach(() => kubernetes.faults.clear());

  afterAll(async () => {
    clearInterval(watching);
    await world?.stop();
    await kubernetes?.stop();
    rmSync(dir, { recursive: true, force: true });
  }, 60_000);

  /** The write of the template itself: neither a dry run nor a fence. */
  const isEffect = (body: unknown) => JSON.stringify(body).includes("nightshift.dev~1last-op");

  async function play(
    name: string,
    action: FaultAction,
    times: number,
  ): Promise<{ record: IncidentRecord; fault: Fault }> {
    await badRelease(world.k, { namespace: NAMESPACE, name });
    const fault = kubernetes.faults.add(
      { verb: "patch", resource: "deployments", name, body: isEffect },
      action,
      times,
    );
    fired.add(name);
    await world.fire(labels(name));
    const record = await world.incident(
      `the end of ${name}`,
      (r) => r.target?.name === name && ["remediated", "held", "suppressed"].includes(r.state),
      60_000,
    );
    return { record, fault };
  }

  it.each(rows)(
    "$what: ends $ends.state, $effects effect (I1 I8)",
    async (row) => {
      const { record, fault } = await play(row.name, row.action, row.times);
      // A request that was still under way arrives now: the fence has made it void.
      await fault.release();
      await until(
        "a round of the controllers",
        async () => kubernetes.get("Deployment", NAMESPACE, row.name) !== undefined,
      );

      expect(record, JSON.stringify(record.timeline)).toMatchObject(row.ends);
      expect(fault.hits).toBe(row.times);
      expect(effects(row.name)).toHaveLength(row.effects);
      if (row.ends.state === "held")
        await until("the page", async () => world.pager.alerts.some((a) => a.dedupKey === record.dedupKey));
      const lease = kubernetes
        .list("Lease", "nightshift")
        .find((l) => String(l.metadata.annotations?.["nightshift.dev/target"]).includes(`"${row.name}"`));
      expect(JSON.parse(lease?.metadata.annotations["nightshift.dev/ledger"])).toMatchObject({ run: null, open: null });
    },
    90_000,
  );

  it("is held and paged when it cannot be told: applied, the answer lost, and a person put it back (I8)", async () => {
    await badRelease(world.k, { namespace: NAMESPACE, name: "strange" });
    const bad = kubernetes.get("Deployment", NAMESPACE, "strange")?.spec.template;
    const fault = kubernetes.faults.add(
      { verb: "patch", resource: "deployments", name: "strange", body: isEffect },
      { do: "drop-after" },
      1,
    );
    // The fence comes next: before it, a person undoes the change, and the undo takes our annotation with it.
    const fence = kubernetes.faults.add(
      {
        verb: "patch",
        resource: "deployments",
        name: "strange",
        body: (body) => JSON.stringify(body).includes("nightshift.dev/fence"),
      },
      { do: "delay", ms: 1500 },
      1,
    );
    await world.fire(labels("strange"));
    await fault.met();
    await fence.met();
    const ref = { apiVersion: "apps/v1", kind: "Deployment", namespace: NAMESPACE, name: "strange" };
    await world.k.jsonPatch(ref, [
      { op: "replace", path: "/spec/template", value: bad },
      { op: "remove", path: "/metadata/annotations/nightshift.dev~1last-op" },
    ]);

    const record = await world.incident(
      "the end",
      (r) => r.target?.name === "strange" && ["remediated", "held"].includes(r.state),
      60_000,
    );

    expect(record).toMatchObject({ state: "held", reason: "cannot-tell" });
    await until("the page", async () =>
      world.pager.alerts.some((a) => a.dedupKey === record.dedupKey && /cannot be told/.test(a.summary)),
    );
    expect(effects("strange")).toHaveLength(1);
  }, 90_000);

  it("is held without doubt when each write was refused by a spec that kept moving (I3 I8)", async () => {
    const ref = { apiVersion: "apps/v1", kind: "Deployment", namespace: NAMESPACE, name: "restless" };
    const fault = kubernetes.faults.add(
      { verb: "patch", resource: "deployments", name: "restless", body: isEffect },
      { do: "answer", status: 409, reason: "Conflict" },
    );
    await badRelease(world.k, { namespace: NAMESPACE, name: "restless" });
    let moving = true;
    const movement = (async () => {
      await fault.met();
      for (let n = 11; moving; n += 1) await world.k.mergePatch(ref, { spec: { revisionHistoryLimit: n } });
    })();
    await world.fire(labels("restless"));
    const record = await world
      .incident("the end", (r) => r.target?.name === "restless" && ["remediated", "held"].includes(r.state))
      .finally(() => (moving = false));
    await movement;

    expect(record, JSON.stringify(record.timeline)).toMatchObject({ state: "held", reason: "changed-world" });
    expect(record.says).toContain("nothing was written");
    expect(effects("restless")).toHaveLength(0);
    await until("the page", async () => world.pager.alerts.some((a) => a.dedupKey === record.dedupKey));
  }, 90_000);
});
