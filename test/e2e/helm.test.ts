import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { planeMissing, type Plane, startPlane } from "../cluster/plane.js";
import { chart, helm, helmProgram } from "../harness/helm.js";
import { until } from "../harness/processes.js";
import { type RawApi, rawApi } from "../harness/raw-api.js";

const missing =
  planeMissing() ??
  (helmProgram() === null ? "no Helm on this machine: tools/get helm (Go 1.26, two minutes, once)" : null);
const OWN = "nightshift";

/** Install, upgrade, roll back and uninstall by the real Helm on a real API server, as docs/install.md says. */
describe.skipIf(missing !== null)(`a release of the chart${missing === null ? "" : ` (not run: ${missing})`}`, () => {
  let plane: Plane;
  let admin: RawApi;

  beforeAll(async () => {
    plane = await startPlane();
    admin = rawApi(plane.kubeconfig);
    for (const name of ["shop", "payments"])
      expect((await admin.ask("POST", "/api/v1/namespaces", { metadata: { name } })).status).toBe(201);
  }, 120_000);

  afterAll(async () => {
    await admin?.close();
    await plane?.stop();
  }, 60_000);

  const run = (verb: string, ...args: string[]) =>
    helm(verb, "nightshift", ...args, "--namespace", OWN, "--kubeconfig", plane.kubeconfig);
  const namespaces = (value: unknown) => ["--set-json", `namespaces=${JSON.stringify(value)}`];
  const bindings = async (namespace: string) => {
    const { body } = await admin.ask("GET", `/apis/rbac.authorization.k8s.io/v1/namespaces/${namespace}/rolebindings`);
    return (body.items as { metadata: { name: string } }[]).map((one) => one.metadata.name);
  };
  const control = `/api/v1/namespaces/${OWN}/configmaps/nightshift-control`;

  it("installs observing, and its pods start", async () => {
    const ran = run("install", chart, "--create-namespace", ...namespaces([{ name: "shop" }]));
    expect([ran.code, ran.says]).toEqual([0, expect.stringContaining("It observes: nothing can be written")]);
    expect(await bindings("shop")).toEqual(["nightshift-reader"]);
    for (const name of ["nightshift-front", "nightshift-hands"]) {
      const path = `/apis/apps/v1/namespaces/${OWN}/deployments/${name}`;
      await until(`${name}'s pods`, async () => (await admin.ask("GET", path)).body.status.availableReplicas === 2);
    }
  }, 60_000);

  it("keeps a pause over upgrade and rollback, and binds and unbinds with the values", async () => {
    const paused = { stop: "true", pauses: '[{"scope":"all","by":"ada","why":"a change","until":null}]' };
    await admin.ask("POST", `/api/v1/namespaces/${OWN}/configmaps`, {
      metadata: { name: "nightshift-control" },
      data: paused,
    });

    const opened = run("upgrade", chart, ...namespaces([{ name: "shop", classes: ["a", "b"] }, { name: "payments" }]));
    expect([opened.code, opened.says]).toEqual([0, expect.stringContaining("It may write in: shop (a, b)")]);
    expect(await bindings("shop")).toEqual(["nightshift-class-a", "nightshift-class-b", "nightshift-reader"]);
    expect(await bindings("payments")).toEqual(["nightshift-reader"]);
    expect((await admin.ask("GET", control)).body.data).toEqual(paused);

    expect(run("rollback", "1")).toMatchObject({ code: 0 });
    expect(await bindings("shop")).toEqual(["nightshift-reader"]);
    expect(await bindings("payments")).toEqual([]);
    expect((await admin.ask("GET", control)).body.data).toEqual(paused);
  }, 60_000);

  it("leaves the kill switch, the Leases and nothing else behind", async () => {
    await admin.ask("POST", `/apis/coordination.k8s.io/v1/namespaces/${OWN}/leases`, {
      metadata: { name: "nightshift-t-0123456789abcdef0123" },
    });

    expect(run("uninstall")).toMatchObject({ code: 0 });

    expect((await admin.ask("GET", control)).status).toBe(200);
    const { body } = await admin.ask("GET", `/apis/coordination.k8s.io/v1/namespaces/${OWN}/leases`);
    expect(body.items).toHaveLength(1);
    expect(await bindings("shop")).toEqual([]);
    for (const kind of ["clusterroles", "clusterrolebindings"]) {
      const left = await admin.ask("GET", `/apis/rbac.authorization.k8s.io/v1/${kind}`);
      const names = (left.body.items as { metadata: { name: string } }[]).map((one) => one.metadata.name);
      expect(names.filter((name) => name.startsWith("nightshift"))).toEqual([]);
    }
    const policies = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies";
    expect((await admin.ask("GET", policies)).body.items).toEqual([]);
    // Now it may go.
    await until("the kill switch to be free", async () => (await admin.ask("DELETE", control)).status === 200, 10_000);
  }, 60_000);
});
