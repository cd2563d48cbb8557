import { describe, expect, it } from "vitest";
import { createStormView } from "../../src/app/storm-view.js";
import { type Clock, systemClock } from "../../src/clock.js";
import type { ClusterReader, KubeObject, ListQuery } from "../../src/cluster.js";
import type { Policy } from "../../src/policy/policy.js";
import type { FactStore } from "../../src/record/store.js";
import { NOW } from "../harness/guard-scene.js";

const storm = { workloads: 3, withinMs: 60_000, quietMs: 60_000, share: 0.3 };
const clock: Clock = { ...systemClock, now: () => NOW };

function viewing(of: { firing: number; open?: number | null; down?: number }) {
  const lists: string[] = [];
  const since: number[] = [];
  const reader = {
    async list({ kind, namespace }: ListQuery) {
      lists.push(`${kind} ${namespace}`);
      if (kind !== "Node") return [{}, {}];
      const node = (ready: boolean) => ({
        status: { conditions: [{ type: "Ready", status: String(ready)[0] === "t" ? "True" : "False" }] },
      });
      return Array.from({ length: 4 }, (_, i) => node(i >= (of.down ?? 0))) as unknown as KubeObject[];
    },
  } as unknown as ClusterReader;
  const facts = {
    stormOpen: async () => of.open ?? null,
    async firing(from: number) {
      since.push(from);
      return Array.from({ length: of.firing }, (_, i) => ({
        workload: `prod/Deployment/shop/w-${i}`,
        since: NOW - 1000,
      }));
    },
  } as unknown as FactStore;
  const policy = () => ({ clusters: [{ name: "prod", namespaces: ["shop", "pay"] }] }) as unknown as Policy;
  return { view: createStormView({ cluster: "prod", reader, facts, policy, clock }), lists, since };
}

describe("who began to fail of late", () => {
  it("is not compared with every workload there is while too few did for a storm", async () => {
    const v = viewing({ firing: 2, down: 1 });

    expect(await v.view(storm)).toMatchObject({ managed: null, nodes: 4, nodesNotReady: 1, openSince: null });
    expect(v.lists).toEqual(["Node "]);
  });

  it("is compared with all workloads once there are enough, counted once for many who ask (G08)", async () => {
    const v = viewing({ firing: 3 });
    const views = await Promise.all([v.view(storm), v.view(storm)]);
    await v.view(storm);

    expect(views.map((one) => one.managed)).toEqual([12, 12]);
    expect(v.lists.filter((list) => list === "Deployment shop")).toHaveLength(1);
    expect(v.lists).toHaveLength(7);
  });

  it("reaches back to before the storm while there is one", async () => {
    const v = viewing({ firing: 1, open: NOW - 120_000 });

    expect(await v.view(storm)).toMatchObject({ openSince: NOW - 120_000 });
    expect(v.since.at(-1)).toBe(NOW - 180_000);
  });

  it("takes what its caller has just asked Redis, and does not ask again", async () => {
    const v = viewing({ firing: 0 });
    const lately = [{ workload: "prod/Deployment/shop/cart", since: NOW }];
    const view = await v.view(storm, Promise.resolve({ open: null, lately }));

    expect(view.newly.map((one) => one.name)).toEqual(["cart"]);
    expect(v.since).toEqual([]);
  });
});
