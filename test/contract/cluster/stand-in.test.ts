import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Clock } from "../../../src/clock.js";
import type { FaultAction, FaultMatch } from "../../../sandbox/kubernetes/faults.js";
import type { Raw } from "../../../sandbox/kubernetes/kinds.js";
import { type Kubernetes, startKubernetes } from "../../../sandbox/kubernetes/kubernetes.js";
import { deployment, JSON_PATCH, MERGE_PATCH, standIn, type Subject } from "./subject.js";

/** What the stand-in has beside a real API server: a clock in the test's hand, a log of writes, faults, rights at runtime. */

describe("the stand-in alone", () => {
  const noon = Date.parse("2026-03-01T12:00:00Z");
  let now = noon;
  const clock: Clock = { now: () => now, monotonic: () => now, sleep: async () => undefined };
  let kubernetes: Kubernetes;
  let api: Subject;
  const path = "/apis/apps/v1/namespaces/shop/deployments/cart";
  const live = () => kubernetes.get("Deployment", "shop", "cart") as Raw;
  const pods = () => kubernetes.list("Pod", "shop");
  const later = (ms: number) => {
    now += ms;
    kubernetes.tick();
  };
  const annotate = (key: string, value: string) =>
    api.call("PATCH", path, { metadata: { annotations: { [key]: value } } }, MERGE_PATCH);
  const fault = (match: FaultMatch, action: FaultAction, times?: number) =>
    kubernetes.faults.add({ name: "cart", ...match }, action, times);

  beforeEach(async () => {
    now = noon;
    kubernetes = await startKubernetes({
      clock,
      tickMs: null,
      seed: "test",
      namespaces: ["shop"],
      identities: [{ token: "writer-token", user: "system:serviceaccount:nightshift:writer", rules: [] }],
      behaviour: (pod) =>
        pod.spec.containers[0].image === "cart:v1.4.2"
          ? { kind: "crash", exitCode: 78, logs: ["boot", "FATAL no DATABASE_URL"] }
          : null,
    });
    api = standIn(kubernetes);
    await api.call("POST", "/apis/apps/v1/namespaces/shop/deployments", deployment("cart", { image: "cart:v1" }));
    later(0);
    later(1000);
  });
  afterEach(async () => {
    await api.stop();
  });

  it("says that it is none", async () => {
    expect((await api.call("GET", "/version")).body.gitVersion).toContain("standin");
  });

  it("moves by its clock alone, and the same way each time", async () => {
    expect(pods().every((pod) => pod.status.containerStatuses[0].ready)).toBe(true);
    const other = await startKubernetes({ clock, tickMs: null, seed: "test", namespaces: ["shop"] });
    other.seed(deployment("x") as Raw);
    const again = await startKubernetes({ clock, tickMs: null, seed: "test", namespaces: ["shop"] });
    again.seed(deployment("x") as Raw);
    expect(again.get("Deployment", "default", "x")?.metadata.uid).toBe(
      other.get("Deployment", "default", "x")?.metadata.uid,
    );
    await other.stop();
    await again.stop();
  });

  it("crashes an image as its behaviour says: exit code, rising restarts, log of the last container", async () => {
    await api.call(
      "PATCH",
      path,
      [{ op: "replace", path: "/spec/template/spec/containers/0/image", value: "cart:v1.4.2" }],
      JSON_PATCH,
    );
    later(0);
    later(1000);
    later(1000);
    const bad = () => pods().find((pod) => pod.spec.containers[0].image === "cart:v1.4.2") as Raw;
    expect(bad().status.containerStatuses[0]).toMatchObject({
      restartCount: 1,
      lastState: { terminated: { exitCode: 78, reason: "Error" } },
    });
    later(1000);
    expect(bad().status.containerStatuses[0].state.waiting.reason).toBe("CrashLoopBackOff");
    later(10_000);
    expect(bad().status.containerStatuses[0].restartCount).toBe(2);
    const log = await api.call("GET", `/api/v1/namespaces/shop/pods/${bad().metadata.name}/log?previous=true`);
    expect(log.text).toBe("boot\nFATAL no DATABASE_URL\n");
    expect(live().status).toMatchObject({ readyReplicas: 2, updatedReplicas: 1 });
  });

  it("logs every accepted write: whose, whether the template changed, whether it was a fence, and the operation", async () => {
    const from = kubernetes.writes().length;
    await annotate("nightshift.dev/fence", "7 worker-a");
    await annotate("nightshift.dev/fence", "7 worker-a");
    const body = [
      { op: "replace", path: "/spec/template/spec/containers/0/image", value: "cart:v2" },
      { op: "add", path: "/metadata/annotations/nightshift.dev~1last-op", value: '{"key":"k"}' },
    ];
    await api.call("PATCH", path, body, JSON_PATCH);
    await api.call("PATCH", path, [{ op: "test", path: "/spec/replicas", value: 9 }], JSON_PATCH);
    await api.call("PATCH", `${path}?dryRun=All`, { spec: { replicas: 9 } }, MERGE_PATCH);
    await api.call("GET", path);
    expect(kubernetes.writes().slice(from)).toEqual([
      expect.objectContaining({
        user: "admin",
        verb: "patch",
        kind: "Deployment",
        namespace: "shop",
        name: "cart",
        templateChanged: false,
        fenceOnly: true,
        op: null,
        changed: true,
      }),
      expect.objectContaining({ verb: "patch", templateChanged: false, fenceOnly: false, changed: false }),
      expect.objectContaining({
        templateChanged: true,
        fenceOnly: false,
        op: '{"key":"k"}',
        at: "2026-03-01T12:00:01Z",
      }),
    ]);
  });

  it("gives a right and takes it back while it runs", async () => {
    const write = () =>
      api.call("PATCH", path, { metadata: { labels: { a: String(now) } } }, { ...MERGE_PATCH, token: "writer-token" });
    const user = "system:serviceaccount:nightshift:writer";
    expect((await write()).status).toBe(403);
    kubernetes.grant(user, [{ verbs: ["patch"], groups: ["apps"], resources: ["deployments"], namespaces: ["shop"] }]);
    expect((await write()).status).toBe(200);
    expect(
      (await api.call("PATCH", path.replace("shop", "default"), {}, { ...MERGE_PATCH, token: "writer-token" })).status,
    ).toBe(403);
    kubernetes.revoke(user);
    expect((await write()).status).toBe(403);
    expect(() => kubernetes.grant("nobody", [])).toThrow("no identity is called nobody");
  });

  it("drop-after: the caller learns nothing, the write is there", async () => {
    fault({ verb: "patch" }, { do: "drop-after" }, 1);
    await expect(annotate("a", "1")).rejects.toThrow();
    expect(live().metadata.annotations["a"]).toBe("1");
    expect((await annotate("a", "2")).status).toBe(200);
  });

  it("drop-before: the caller learns nothing, nothing is there", async () => {
    const dropped = fault({ verb: "patch" }, { do: "drop-before" }, 1);
    await expect(annotate("a", "1")).rejects.toThrow();
    expect(live().metadata.annotations?.["a"]).toBeUndefined();
    expect(dropped.hits).toBe(1);
  });

  it("answer: nothing is applied and the status is the one that was ordered", async () => {
    const broken = fault(
      { verb: ["patch", "update"] },
      { do: "answer", status: 503, reason: "ServiceUnavailable", retryAfterSeconds: 1 },
    );
    const answer = await annotate("a", "1");
    expect([answer.status, answer.body.reason, answer.headers["retry-after"]]).toEqual([
      503,
      "ServiceUnavailable",
      "1",
    ]);
    expect(live().metadata.annotations?.["a"]).toBeUndefined();
    broken.remove();
    expect((await annotate("a", "1")).status).toBe(200);
  });

  it("hold: the write lands late, and a fence in between makes it void", async () => {
    const version = live().metadata.resourceVersion as string;
    const held = fault({ verb: "patch", body: (body) => Array.isArray(body) }, { do: "hold" }, 2);
    const late = api.call("PATCH", path, [{ op: "replace", path: "/spec/replicas", value: 3 }], JSON_PATCH);
    const guarded = api.call(
      "PATCH",
      path,
      [
        { op: "replace", path: "/metadata/resourceVersion", value: version },
        { op: "replace", path: "/spec/replicas", value: 9 },
      ],
      JSON_PATCH,
    );
    await held.met(2);
    expect(live().spec.replicas).toBe(2);
    await annotate("nightshift.dev/fence", "1");
    await held.release();
    expect([(await late).status, (await guarded).status, live().spec.replicas]).toEqual([200, 409, 3]);
  });

  it("stale: reads show the world of before, writes still meet the present one", async () => {
    const old = live().metadata.resourceVersion as string;
    const stale = fault({ verb: ["get", "list"] }, { do: "stale" });
    await annotate("a", "1");
    expect((await api.call("GET", path)).body.metadata.resourceVersion).toBe(old);
    const list = await api.call("GET", "/apis/apps/v1/namespaces/shop/deployments?fieldSelector=metadata.name%3Dcart");
    expect(list.body.items[0].metadata.annotations?.["a"]).toBeUndefined();
    expect((await api.call("PATCH", path, { metadata: { resourceVersion: old } }, MERGE_PATCH)).status).toBe(409);
    stale.remove();
    expect((await api.call("GET", path)).body.metadata.annotations["a"]).toBe("1");
  });
});
