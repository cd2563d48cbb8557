/** A real control plane that is played on again and again. */
import { setTimeout as sleep } from "node:timers/promises";
import type { Raw } from "../../../sandbox/kubernetes/kinds.js";
import type { Plane } from "../../cluster/plane.js";
import { type RawApi, rawApi } from "../../harness/raw-api.js";

/** What a seed leaves in these namespaces. */
const LEFT = [
  "/apis/apps/v1/*/deployments",
  "/apis/apps/v1/*/replicasets",
  "/api/v1/*/pods",
  "/api/v1/*/services",
  "/api/v1/*/events",
  "/apis/events.k8s.io/v1/*/events",
  "/apis/coordination.k8s.io/v1/*/leases",
];
const WITHIN_MS = 60_000;

/** Takes everything away that an earlier seed made there; only ever on a plane that the test itself started. */
export async function emptied(plane: Plane, namespaces: readonly string[]): Promise<RawApi> {
  if (plane.dir === null) throw new Error("not played on a cluster that somebody else made: unset KUBECONFIG_REAL");
  const admin = rawApi(plane.kubeconfig);
  for (const namespace of namespaces) {
    await admin.ask("POST", "/api/v1/namespaces", { metadata: { name: namespace } });
    const until = performance.now() + WITHIN_MS;
    for (let left = await takenAway(admin, namespace); left.length > 0; left = await takenAway(admin, namespace)) {
      if (performance.now() > until) throw new Error(`still in ${namespace}: ${left.slice(0, 5).join(", ")}`);
      await sleep(200);
    }
    await admin.ask("DELETE", `/api/v1/namespaces/${namespace}/configmaps/nightshift-control`);
  }
  return admin;
}

/** What was still there, each told to go at once. */
async function takenAway(admin: RawApi, namespace: string): Promise<string[]> {
  const left: string[] = [];
  for (const pattern of LEFT) {
    const path = pattern.replace("*", `namespaces/${namespace}`);
    const items = ((await admin.ask("GET", path)).body.items ?? []) as Raw[];
    left.push(...items.map((item) => `${path}/${item.metadata.name}`));
  }
  await Promise.all(left.map((path) => admin.ask("DELETE", path, { gracePeriodSeconds: 0 })));
  return left;
}
