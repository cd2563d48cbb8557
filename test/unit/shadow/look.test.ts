import { describe, expect, it } from "vitest";
import type { KubeObject } from "../../../src/cluster.js";
import { excusesFor } from "../../../src/shadow/excuses.js";
import { lookAt } from "../../../src/shadow/look.js";
import { hpa, node, object, podOf, stall } from "../../runbooks/shop.js";

const NOW = Date.parse("2026-11-24T03:00:00Z");

describe("a look at a workload", () => {
  it("sees template, replicas, bounds and pods, and changes nothing", async () => {
    const { cluster, target } = stall({ replicas: 3, more: [hpa(2, 6)] });
    const before = cluster.world();

    const sight = await lookAt(target, cluster, NOW);

    expect(sight).toMatchObject({ at: NOW, notRead: [], workload: { replicas: 3, paused: false, settled: true } });
    expect(sight.pods).toHaveLength(3);
    expect(sight.bounds.map((one) => [one.field, one.value])).toEqual([
      ["/spec/minReplicas", 2],
      ["/spec/maxReplicas", 6],
    ]);
    expect(cluster.world()).toEqual(before);
  });

  it("knows another object of the same name by its UID", async () => {
    const { cluster, target } = stall({});
    expect((await lookAt({ ...target, uid: "another" }, cluster, NOW)).workload).toBeNull();
  });

  it.each(["ReplicaSet", "Pod", "HorizontalPodAutoscaler"])("says that it may not list %ss", async (kind) => {
    const { cluster, target } = stall({});
    cluster.forbid(kind);

    const sight = await lookAt(target, cluster, NOW);

    expect(sight.notRead[0]).toMatch(/^no right to list /);
    if (kind === "Pod") expect(sight.pods).toBeNull();
  });

  it("keeps no list of hundreds of pods", async () => {
    const more = Array.from({ length: 400 }, (_, i) => podOf(100 + i));
    const { cluster, target } = stall({ more });
    expect((await lookAt(target, cluster, NOW)).pods).toBeNull();
  });
});

describe("why a pod left", () => {
  const gone = { name: "server-1", uid: "pod-1", node: "node-b" };
  const event = (reason: string, uid = "pod-1") =>
    object("v1", "Event", { name: `e-${reason}`, reason, involvedObject: { kind: "Pod", uid } });
  const asked = async (more: Partial<KubeObject>[], forbid?: string) => {
    const { cluster, target } = stall({ more });
    if (forbid) cluster.forbid(forbid);
    return (await excusesFor([gone], { namespace: target.namespace, cluster }))["pod-1"];
  };

  it("nothing says that the cluster did it", async () => {
    expect(await asked([])).toBeNull();
    expect(await asked([event("Killing"), event("Preempted", "another")])).toBeNull();
  });

  it.each(["TaintManagerEviction", "Preempted", "Evicted", "ScaleDown"])("the cluster did it: %s", async (reason) => {
    expect(await asked([event(reason)])).toMatch(/^the cluster took it away/);
  });

  it("its node was going", async () => {
    expect(await asked([node("node-b", 8, { spec: { unschedulable: true } })])).toMatch(/node-b was going/);
    expect(await asked([node("node-b", 8, { ready: false })])).toMatch(/node-b was going/);
  });

  it.each(["Event", "Node"])("it cannot be told without the right to list %ss", async (kind) => {
    expect(await asked([], kind)).toBe("?");
  });
});
