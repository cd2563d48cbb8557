/** Who began to fail of late, beside how much there is: part of the composition root. */
import { shareAnswer } from "../clients/shared-answer.js";
import type { Clock } from "../clock.js";
import type { ClusterReader } from "../cluster.js";
import { recent, workloadOf } from "../guard/storm.js";
import type { PipelinePorts, StormFacts } from "../pipeline-ports.js";
import type { Policy } from "../policy/policy.js";
import type { FactStore } from "../record/store.js";

/** How many workloads and nodes there are changes slowly, and a storm asks it hundreds of times. */
const COUNTED_FOR_MS = 2000;

/** Errors of the function: ClusterError, UnavailableError. */
export function createStormView(w: {
  cluster: string;
  reader: ClusterReader;
  facts: FactStore;
  policy(): Policy;
  clock: Clock;
}): PipelinePorts["storm"] {
  const nodes = shareAnswer(async () => {
    const all = await w.reader.list({ apiVersion: "v1", kind: "Node", namespace: "" });
    const ready = (node: (typeof all)[number]) =>
      (node.status?.conditions ?? []).some(
        (c: { type: string; status: string }) => c.type === "Ready" && c.status === "True",
      );
    return { nodes: all.length, nodesNotReady: all.filter((node) => !ready(node)).length };
  }, COUNTED_FOR_MS);
  const managed = shareAnswer(async () => {
    const namespaces = w.policy().clusters.find((c) => c.name === w.cluster)?.namespaces ?? [];
    const lists = await Promise.all(
      namespaces.flatMap((namespace) =>
        ["Deployment", "StatefulSet", "DaemonSet"].map((kind) =>
          w.reader.list({ apiVersion: "apps/v1", kind, namespace }),
        ),
      ),
    );
    const all = lists.reduce((sum, list) => sum + list.length, 0);
    return all === 0 ? null : all;
  }, COUNTED_FOR_MS);

  async function factsOf(since: number): Promise<StormFacts> {
    const [open, lately] = await Promise.all([w.facts.stormOpen(), w.facts.firing(since)]);
    return { open, lately };
  }

  return async (storm, facts) => {
    const now = w.clock.now();
    const [{ open: openSince, lately }, counted] = await Promise.all([
      facts ?? factsOf(now - storm.withinMs),
      nodes.recent().answer,
    ]);
    // Once there is a storm, what fired before it counts as well.
    const before = openSince !== null && openSince < now;
    const firing = before ? await w.facts.firing(openSince - storm.withinMs) : lately;
    const newly = firing.map(workloadOf);
    // A list of every workload of every namespace is asked for only where their share decides.
    const many = recent({ newly }, storm, now).length >= storm.workloads;
    return { newly, ...counted, managed: many ? await managed.recent().answer : null, openSince };
  };
}
