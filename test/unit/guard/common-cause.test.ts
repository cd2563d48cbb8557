import { describe, expect, it } from "vitest";
import type { KubeObject } from "../../../src/cluster.js";
import { commonCause } from "../../../src/guard/common-cause.js";
import type { StormWorkload } from "../../../src/guard/storm.js";
import { memoryCluster } from "../../harness/memory-cluster.js";

const NOW = Date.parse("2026-11-24T03:00:00Z");
const MINUTE = 60_000;
const NAMES = ["cart", "pay", "search", "mail"];
const ready = (yes: boolean) => ({ conditions: [{ type: "Ready", status: yes ? "True" : "False" }] });
const node = (name: string, up = true): Partial<KubeObject> => ({
  apiVersion: "v1",
  kind: "Node",
  metadata: { name, uid: `uid-${name}`, resourceVersion: "1" },
  status: ready(up),
});

function pod(of: { app: string; node: string; up?: boolean; namespace?: string }): Partial<KubeObject> {
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: {
      name: `${of.app}-${of.node}`,
      namespace: of.namespace ?? "shop",
      uid: `uid-${of.app}-${of.node}`,
      resourceVersion: "1",
      labels: { app: of.app },
    },
    spec: { nodeName: of.node },
    status: ready(of.up ?? true),
  };
}

function deployment(app: string, env: Record<string, string>): Partial<KubeObject> {
  return {
    apiVersion: "apps/v1",
    kind: "Deployment",
    metadata: { name: app, namespace: "shop", uid: `uid-${app}`, resourceVersion: "1" },
    spec: {
      selector: { matchLabels: { app } },
      template: {
        spec: {
          containers: [
            {
              name: "main",
              image: "x",
              env: Object.entries(env).map(([name, value]) => ({ name, value })),
              envFrom: [{ configMapRef: { name: "shared" } }],
            },
          ],
        },
      },
    },
  };
}

function service(name: string, namespace = "shop"): Partial<KubeObject> {
  return {
    apiVersion: "v1",
    kind: "Service",
    metadata: { name, namespace, uid: `uid-svc-${name}`, resourceVersion: "1" },
    spec: { selector: { app: name } },
  };
}

function shared(time: string, data: Record<string, string> = { LEVEL: "info" }): Partial<KubeObject> {
  return {
    apiVersion: "v1",
    kind: "ConfigMap",
    metadata: {
      name: "shared",
      namespace: "shop",
      uid: "uid-shared",
      resourceVersion: "1",
      creationTimestamp: "2026-01-01T00:00:00Z",
      managedFields: [{ manager: "kubectl-edit", time, fieldsV1: { "f:data": { "f:LEVEL": {} } } }],
    },
    data,
  };
}

const OLD = shared("2026-01-01T00:00:00Z");
const workloads: StormWorkload[] = NAMES.map((name, i) => ({
  cluster: "prod",
  kind: "Deployment",
  namespace: "shop",
  name,
  since: NOW - 20_000 + i * 1000,
}));
const healthy = (env: Record<string, string> = {}) => [
  node("n1"),
  node("n2"),
  node("n3"),
  OLD,
  ...NAMES.flatMap((app, i) => [deployment(app, env), pod({ app, node: `n${(i % 3) + 1}`, up: false })]),
];
const ask = (objects: Partial<KubeObject>[], of = workloads) =>
  commonCause({ workloads: of, namespaces: ["shop"], cluster: memoryCluster(objects), since: NOW - 20_000 });

describe("what many failing workloads have in common", () => {
  it("is nothing where nothing can be told, and says so (H38)", async () => {
    expect(await ask(healthy())).toEqual({ cause: null, evidence: [] });
  });

  it("is the nodes that are not ready (H38)", async () => {
    const found = await ask([...healthy(), node("n4", false), node("n5", false)]);

    expect(found.cause).toBe("2 of 5 nodes not ready: n4, n5");
  });

  it("is no single node on which none of them runs", async () => {
    expect((await ask([...healthy(), node("n4", false)])).cause).toBeNull();
  });

  it.each([
    ["by its name", "postgres://app:secret@postgres:5432/shop", "postgres", "shop"],
    ["by name and namespace", "http://auth.platform.svc.cluster.local/v1", "auth", "platform"],
  ])("is the service that all of them call %s and behind which nobody is ready (H17)", async (_, url, name, home) => {
    const dead = [service(name, home), pod({ app: name, node: "n1", up: false, namespace: home })];
    const found = await commonCause({
      workloads,
      namespaces: ["shop", "platform"],
      cluster: memoryCluster([...healthy({ URL: url }), ...dead]),
      since: NOW - 20_000,
    });

    expect(found).toEqual({
      cause: `Service ${home}/${name}: none of its 1 pods is ready`,
      evidence: ["4 of 4 workloads are configured to call it"],
    });
    expect(JSON.stringify(found)).not.toContain("secret");
  });

  it("finds whom they call in their ConfigMaps too", async () => {
    const map = shared("2026-01-01T00:00:00Z", { REDIS: "redis:6379" });
    const objects = healthy().filter((one) => one.kind !== "ConfigMap");

    expect((await ask([...objects, map, service("redis")])).cause).toBe(
      "Service shop/redis: there is no pod behind it",
    );
  });

  it("names a service that all of them call as worth a look where it seems well (H17)", async () => {
    const found = await ask([
      ...healthy({ URL: "http://postgres:5432" }),
      service("postgres"),
      pod({ app: "postgres", node: "n1" }),
    ]);

    expect(found).toEqual({
      cause: null,
      evidence: ["4 of 4 workloads are configured to call Service shop/postgres: look at it"],
    });
  });

  it("takes no word for a service because it holds its name", async () => {
    expect(await ask([...healthy({ NAME: "my-postgres-client" }), service("postgres")])).toEqual({
      cause: null,
      evidence: [],
    });
  });

  it("is the node on which their unready pods lie", async () => {
    const objects = [node("n1"), node("n2"), OLD];
    for (const app of NAMES)
      objects.push(deployment(app, {}), pod({ app, node: "n1", up: false }), pod({ app, node: "n2" }));

    expect((await ask(objects)).cause).toBe("node n1: the pods that are not ready lie there");
  });

  it("is the one that began well before the others", async () => {
    const [first, ...others] = workloads;
    if (!first) throw new Error("no workload");
    const began = [{ ...first, since: NOW - 3 * MINUTE }, ...others];

    expect((await ask(healthy(), began)).cause).toBe("Deployment shop/cart began to fail 3 min before all others");
  });

  it("is a ConfigMap that all of them read and that was changed shortly before (H28)", async () => {
    const objects = healthy().filter((one) => one.kind !== "ConfigMap");
    const changed = shared(new Date(NOW - 5 * MINUTE).toISOString());

    expect(await ask([...objects, changed])).toEqual({
      cause: "ConfigMap shop/shared was changed 5 min before (by kubectl-edit, keys LEVEL)",
      evidence: ["4 of 4 workloads read it"],
    });
  });

  it("leaves out what may not be read", async () => {
    const cluster = memoryCluster([...healthy(), node("n4", false), node("n5", false)]);
    for (const kind of ["Pod", "Service", "ConfigMap", "Deployment"]) cluster.forbid(kind);

    expect((await commonCause({ workloads, namespaces: ["shop"], cluster, since: NOW })).cause).toBe(
      "2 of 5 nodes not ready: n4, n5",
    );
  });
});
