import { describe, expect, it } from "vitest";
import { silentLog } from "../../src/log.js";
import { loadGuards, runGate } from "../../src/guard/gate.js";
import { loadRunbooks } from "../../src/plan/registry.js";
import { makePlan } from "../../src/plan/plan.js";
import type { AnyRemedy, PlanDraft, Target } from "../../src/runbook.js";
import type { ClusterReader } from "../../src/cluster.js";
import { scene } from "../harness/guard-scene.js";
import * as rollback from "./scene.js";
import { type Asking, drafted, hpa, NAME, owning, type ShopSeed, stall } from "./shop.js";

/** Safety is not refusal: for every remedy there is an ordinary world in which all guards at their defaults say yes. */

interface Ordinary {
  draft: PlanDraft;
  target: Target;
  cluster: ClusterReader;
}

const inTheShop =
  (seed: ShopSeed, asking: Asking = {}) =>
  async (remedy: AnyRemedy): Promise<Ordinary> => {
    const shop = stall(seed);
    return { draft: await drafted(remedy, shop, asking), target: shop.target, cluster: shop.cluster };
  };

const worlds: Record<string, ((remedy: AnyRemedy) => Promise<Ordinary>)[]> = {
  "rollback-deployment": [
    async () => {
      const cluster = rollback.shop([
        { number: 41, age: 6 * rollback.DAY, template: rollback.template("v1") },
        { number: 42, age: 10 * rollback.MINUTE, template: rollback.template("v2") },
      ]);
      return { draft: rollback.drafted(await rollback.plan(cluster)), target: rollback.target, cluster };
    },
  ],
  "scale-deployment": [
    inTheShop({}, { measured: [["container_cpu_usage_seconds_total", 0.9]] }),
    inTheShop({ replicas: 6, more: [hpa(2, 6)] }, { owners: [owning("hpa", "auto")] }),
  ],
  "restart-workload": [
    inTheShop({}),
    inTheShop({ kind: "StatefulSet", replicas: 3 }),
    inTheShop({ kind: "DaemonSet" }),
  ],
  "restart-pod": [inTheShop({ ready: 3 }, { labels: [{ pod: `${NAME}-3` }] })],
};

const guards = await loadGuards();
const remedies = [...(await loadRunbooks()).values()].filter((one): one is AnyRemedy => one.kind === "remedy");

describe("every remedy has an ordinary world in which all guards say yes", () => {
  it.each(remedies.map((remedy) => remedy.name))("%s", async (name) => {
    const remedy = remedies.find((one) => one.name === name);
    if (remedy === undefined) throw new Error(name);
    const ordinary = worlds[name] ?? [];
    expect(ordinary.length, `no ordinary world for ${name}: add one here`).toBeGreaterThan(0);

    for (const world of ordinary) {
      const { draft, target, cluster } = await world(remedy);
      for (const at of ["plan", "effect"] as const) {
        const { context } = scene(at, rollback.NOW);
        const plan = makePlan(
          draft,
          { incident: context.incident.id, remedy, params: {}, target },
          { ms: rollback.NOW - 2000, expiresMs: 600_000, nonce: "n".repeat(32), autonomy: "approve", dryRun: "" },
        );
        const incident = { ...context.incident, target, plan };
        const policy = { ...context.policy, clusters: [{ name: target.cluster, namespaces: [target.namespace] }] };
        const gate = await runGate(
          guards,
          { ...context, plan, incident, policy, target, cluster, runbook: remedy },
          { timeoutMs: 5000, log: silentLog },
        );
        expect(gate.held, `${draft.sentence} (${at})`).toBeNull();
        expect(gate.trace).toHaveLength(guards.length);
      }
    }
  });
});
