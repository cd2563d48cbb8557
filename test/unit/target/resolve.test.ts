import { describe, expect, it } from "vitest";
import { ClusterError, type KubeObject } from "../../../src/cluster.js";
import { ownersOf } from "../../../src/owner/owners.js";
import { resolveTarget } from "../../../src/target/resolve.js";
import type { NamedTarget } from "../../../src/target/target.js";
import { memoryCluster } from "../../harness/memory-cluster.js";

const N = "mcp-production";
const own = (kind: string, name: string, uid: string, apiVersion = "apps/v1") => ({
  ownerReferences: [{ apiVersion, kind, name, uid, controller: true }],
});
const meta = (name: string, more: object = {}) => ({ name, namespace: N, ...more }) as KubeObject["metadata"];

/** The platform: one Deployment behind a Service of another name, a StatefulSet, an HPA, an Ingress, a Job of a CronJob. */
const platform: Partial<KubeObject>[] = [
  {
    kind: "Deployment",
    metadata: meta("mcp-typescript-api", { uid: "d1" }),
    spec: { template: { metadata: { labels: { app: "api" } } } },
  },
  {
    kind: "ReplicaSet",
    metadata: meta("mcp-typescript-api-6f9c8d7b54", { uid: "r1", ...own("Deployment", "mcp-typescript-api", "d1") }),
  },
  {
    kind: "Pod",
    metadata: meta("mcp-typescript-api-6f9c8d7b54-2xkqp", {
      uid: "p1",
      labels: { app: "api" },
      ...own("ReplicaSet", "mcp-typescript-api-6f9c8d7b54", "r1"),
    }),
    status: { podIP: "10.0.0.1" },
  },
  { kind: "Service", metadata: meta("mcp-typescript-api-service"), spec: { selector: { app: "api" } } },
  { kind: "Service", metadata: meta("headless"), spec: {} },
  { kind: "StatefulSet", metadata: meta("redis", { uid: "s1" }) },
  {
    kind: "Pod",
    metadata: meta("redis-0", { uid: "p2", ...own("StatefulSet", "redis", "s1") }),
    spec: { volumes: [{ persistentVolumeClaim: { claimName: "data-redis-0" } }] },
    status: { podIP: "10.0.0.2" },
  },
  {
    kind: "HorizontalPodAutoscaler",
    metadata: meta("api-hpa"),
    spec: { scaleTargetRef: { kind: "Deployment", name: "mcp-typescript-api" }, minReplicas: 3, maxReplicas: 6 },
  },
  {
    kind: "Ingress",
    metadata: meta("mcp-api"),
    spec: { rules: [{ http: { paths: [{ backend: { service: { name: "mcp-typescript-api-service" } } }] } }] },
  },
  {
    kind: "Ingress",
    metadata: meta("two"),
    spec: {
      rules: [{ http: { paths: [{ backend: { service: { name: "a" } } }, { backend: { service: { name: "b" } } }] } }],
    },
  },
  { kind: "CronJob", metadata: meta("backup", { uid: "c1" }) },
  { kind: "Job", metadata: meta("backup-1", { uid: "j1", ...own("CronJob", "backup", "c1", "batch/v1") }) },
  // It has ended; it bears the service's label, and its address has been given to another pod.
  {
    kind: "Pod",
    metadata: meta("backup-1-7xk2p", {
      uid: "p5",
      labels: { app: "api" },
      ...own("Job", "backup-1", "j1", "batch/v1"),
    }),
    status: { phase: "Succeeded", podIP: "10.0.0.1" },
  },
  { kind: "Pod", metadata: meta("naked", { uid: "p3" }) },
  { kind: "Pod", metadata: meta("odd", { uid: "p4", ...own("Spark", "x", "u", "spark.io/v1") }) },
  { kind: "Deployment", metadata: meta("both", { uid: "d9" }) },
  { kind: "StatefulSet", metadata: meta("both", { uid: "s9" }) },
  { kind: "Node", metadata: { name: "worker-03", uid: "n1" } as KubeObject["metadata"] },
];

const resolve = (named: Partial<NamedTarget>) =>
  resolveTarget({ cluster: "c", namespace: N, name: "", ...named }, { labels: {} }, memoryCluster(platform));

describe("resolving a target", () => {
  it.each([
    ["a pod", { kind: "Pod", name: "mcp-typescript-api-6f9c8d7b54-2xkqp" }, "Deployment/mcp-typescript-api"],
    [
      "a pod that is gone, by its ReplicaSet",
      { kind: "Pod", name: "mcp-typescript-api-6f9c8d7b54-zzzzz" },
      "Deployment/mcp-typescript-api",
    ],
    [
      "a pod whose ReplicaSet is gone as well",
      { kind: "Pod", name: "mcp-typescript-api-7b5c6d9f48-qm2zt" },
      "Deployment/mcp-typescript-api",
    ],
    ["a pod of a StatefulSet that is gone", { kind: "Pod", name: "redis-1" }, "StatefulSet/redis"],
    [
      "a service by its selector",
      { from: "service", name: "mcp-typescript-api-service" },
      "Deployment/mcp-typescript-api",
    ],
    [
      "a service that is only called like its Deployment",
      { from: "service", name: "mcp-typescript-api" },
      "Deployment/mcp-typescript-api",
    ],
    ["an HPA", { from: "hpa", name: "api-hpa" }, "Deployment/mcp-typescript-api"],
    ["an ingress", { from: "ingress", name: "mcp-api" }, "Deployment/mcp-typescript-api"],
    ["a volume claim", { from: "pvc", name: "data-redis-0" }, "StatefulSet/redis"],
    ["an instance", { from: "instance", name: "10.0.0.1:3000" }, "Deployment/mcp-typescript-api"],
    ["a job of a CronJob", { kind: "Job", name: "backup-1" }, "CronJob/backup"],
    ["a named kind", { kind: "StatefulSet", name: "both" }, "StatefulSet/both"],
    ["a node", { from: "node", namespace: "", name: "worker-03" }, "Node/worker-03"],
  ] as [string, Partial<NamedTarget>, string][])("%s leads to its workload", async (_what, named, expected) => {
    const found = await resolve(named);

    expect("target" in found ? `${found.target.kind}/${found.target.name}` : found.says).toBe(expected);
  });

  it.each([
    ["a pod that belongs to nobody", { kind: "Pod", name: "naked" }, "ambiguous-target", /belongs to no controller/],
    [
      "a pod of an owner that is not known",
      { kind: "Pod", name: "odd" },
      "ambiguous-target",
      /Spark x \(spark\.io\/v1\), a kind that is not known/,
    ],
    [
      "a name of two workloads (H33)",
      { from: "service", name: "both" },
      "ambiguous-target",
      /Deployment mcp-production\/both, StatefulSet mcp-production\/both/,
    ],
    ["a service without selector (H32)", { from: "service", name: "headless" }, "ambiguous-target", /selects no pods/],
    ["an ingress of two services", { from: "ingress", name: "two" }, "ambiguous-target", /leads to 2 services/],
    ["what is not there", { kind: "Deployment", name: "nope" }, "target-not-found", /is not in the cluster/],
    [
      "an address that no pod has",
      { from: "instance", name: "10.9.9.9:80" },
      "target-not-found",
      /the workload behind instance/,
    ],
  ] as [string, Partial<NamedTarget>, string, RegExp][])(
    "%s is a reason, not a guess",
    async (_what, named, reason, says) => {
      const found = await resolve(named);

      expect(found).toMatchObject({ reason });
      expect("says" in found ? found.says : "").toMatch(says);
    },
  );

  it("tells not being able to look from not found (H34)", async () => {
    const broken = memoryCluster(platform, () => new ClusterError(410, "Expired", "the second page is gone"));

    await expect(
      resolveTarget(
        { cluster: "c", namespace: N, from: "service", name: "mcp-typescript-api-service" },
        { labels: {} },
        broken,
      ),
    ).rejects.toThrow(/second page/);
  });
});

describe("owners", () => {
  const target = {
    cluster: "c",
    apiVersion: "apps/v1",
    kind: "Deployment",
    namespace: N,
    name: "mcp-typescript-api",
    uid: "d1",
  };
  const found = async (metadata: object, others: Partial<KubeObject>[] = []) => {
    const object = {
      apiVersion: "apps/v1",
      kind: "Deployment",
      metadata: { ...meta(target.name), uid: "d1", resourceVersion: "1", ...metadata },
    } as KubeObject;
    return (await ownersOf(target, object, memoryCluster(others))).map((owner) => [owner.kind, owner.handsOff]);
  };

  it.each([
    ["nobody", {}, []],
    [
      "Argo CD by its tracking id (H27)",
      { annotations: { "argocd.argoproj.io/tracking-id": "shop:apps/Deployment:x/y" } },
      [["argo-cd", true]],
    ],
    ["Argo CD by its manager", { managedFields: [{ manager: "argocd-controller" }] }, [["argo-cd", true]]],
    ["Flux", { labels: { "kustomize.toolkit.fluxcd.io/name": "apps" } }, [["flux", true]]],
    ["Helm, which is only warned of", { annotations: { "meta.helm.sh/release-name": "api" } }, [["helm", false]]],
    [
      "an operator",
      { ownerReferences: [{ apiVersion: "x/v1", kind: "Platform", name: "p", uid: "u" }] },
      [["operator", true]],
    ],
  ])("finds %s", async (_what, metadata, expected) => {
    expect(await found(metadata)).toEqual(expected);
  });

  it("finds HPA, KEDA and Rollouts that name it (H14)", async () => {
    const others: Partial<KubeObject>[] = [
      {
        kind: "HorizontalPodAutoscaler",
        metadata: meta("h"),
        spec: { scaleTargetRef: { kind: "Deployment", name: target.name }, maxReplicas: 6 },
      },
      {
        kind: "HorizontalPodAutoscaler",
        metadata: meta("other"),
        spec: { scaleTargetRef: { kind: "Deployment", name: "else" }, maxReplicas: 6 },
      },
      { kind: "ScaledObject", metadata: meta("k"), spec: { scaleTargetRef: { name: target.name } } },
      { kind: "Rollout", metadata: meta("r"), spec: { workloadRef: { kind: "Deployment", name: target.name } } },
    ];

    expect(await found({}, others)).toEqual([
      ["hpa", false],
      ["keda", false],
      ["argo-rollouts", true],
    ]);
  });
});
