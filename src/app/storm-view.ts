/** Who began to fail of late, beside how much there is: part of the composition root. */
import type { Clock } from "../clock.js";
import type { ClusterReader } from "../cluster.js";
import { type StormView, workloadOf } from "../guard/storm.js";
import type { Policy } from "../policy/policy.js";
import type { FactStore } from "../record/store.js";

/** How many workloads and nodes there are changes slowly, and a storm asks it hundreds of times. */
const COUNTED_FOR_MS = 2000;

type Counts = Pick<StormView, "managed" | "nodes" | "nodesNotReady">;

/** Errors of the function: ClusterError, UnavailableError. */
export function createStormView(w: {
  cluster: string;
  reader: ClusterReader;
  facts: FactStore;
  policy(): Policy;
  clock: Clock;
}): (withinMs: number) => Promise<StormView> {
  let counted: { at: number; counts: Promise<Counts> } | null = null;

  async function count(): Promise<Counts> {
    const namespaces = w.policy().clusters.find((c) => c.name === w.cluster)?.namespaces ?? [];
    const lists = await Promise.all([
      w.reader.list({ apiVersion: "v1", kind: "Node", namespace: "" }),
      ...namespaces.flatMap((namespace) =>
        ["Deployment", "StatefulSet", "DaemonSet"].map((kind) =>
          w.reader.list({ apiVersion: "apps/v1", kind, namespace }),
        ),
      ),
    ]);
    const [nodes = [], ...workloads] = lists;
    const managed = workloads.reduce((sum, list) => sum + list.length, 0);
    const ready = (node: (typeof nodes)[number]) =>
      (node.status?.conditions ?? []).some(
        (c: { type: string; status: string }) => c.type === "Ready" && c.status === "True",
      );
    return {
      managed: managed === 0 ? null : managed,
      nodes: nodes.length,
      nodesNotReady: nodes.filter((node) => !ready(node)).length,
    };
  }

  return async (withinMs) => {
    const now = w.clock.now();
    if (counted === null || now - counted.at > COUNTED_FOR_MS) {
      const asked = { at: now, counts: count() };
      counted = asked;
      // A failed count is not kept: whoever comes next asks anew.
      asked.counts.catch(() => {
        if (counted === asked) counted = null;
      });
    }
    const [openSince, counts] = await Promise.all([w.facts.stormOpen(), counted.counts]);
    const firing = await w.facts.firing(Math.min(now, openSince ?? now) - withinMs);
    return { newly: firing.map(workloadOf), ...counts, openSince };
  };
}
