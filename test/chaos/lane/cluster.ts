/** What a lane plays on: the stand-in for a cluster, or a real control plane with a relay before it. */
import type { Faults } from "../../../sandbox/kubernetes/faults.js";
import type { Raw } from "../../../sandbox/kubernetes/kinds.js";
import { startKubernetes } from "../../../sandbox/kubernetes/kubernetes.js";
import type { SeenRequest } from "../../../sandbox/kubernetes/world.js";
import type { Plane } from "../../cluster/plane.js";
import { startRelay } from "../../harness/relay/relay.js";
import { emptied } from "./emptied.js";
import { createWorkload, seedWorkload, type Workload, type WorkloadOf } from "./workloads.js";

export const APPS = "shop";
export const OWN = "nightshift";
export const ACCOUNT = "system:serviceaccount:nightshift:";
/** Divides the durations of the stand-in's controllers. */
const SPEED = 20;

export interface LaneCluster {
  get(kind: string, namespace: string, name: string): Raw | undefined;
  list(kind: string, namespace?: string): Raw[];
  faults: Faults;
  /** For `front` or `hands`; for the administrator without a name. */
  kubeconfig(token?: string): string;
  build(of: WorkloadOf): Promise<Workload>;
  /** How long the release before must have been well, for the policy. */
  health: string;
  /** Resolves when everything that was answered has been told of. */
  settled(): Promise<void>;
  stop(): Promise<void>;
}

export interface ClusterOptions {
  seed: number;
  observe(seen: SeenRequest): void;
}

const tokens = ["front", "hands"].map((token) => ({ token, user: `${ACCOUNT}nightshift-${token}` }));

export async function standIn({ seed, observe }: ClusterOptions): Promise<LaneCluster> {
  const rules = [{ verbs: ["*"], groups: ["*"], resources: ["*"] }];
  const kubernetes = await startKubernetes({
    speed: SPEED,
    seed: String(seed),
    namespaces: [OWN, APPS],
    identities: tokens.map((one) => ({ ...one, rules })),
    observe,
  });
  return {
    get: kubernetes.get,
    list: kubernetes.list,
    faults: kubernetes.faults,
    kubeconfig: kubernetes.kubeconfig,
    build: (of) => seedWorkload(kubernetes, of),
    health: "1m",
    settled: async () => undefined,
    stop: () => kubernetes.stop(),
  };
}

/** The plane is emptied of what the seed before left. Errors: Error where it stays. */
export async function onPlane(plane: Plane, { observe }: ClusterOptions): Promise<LaneCluster> {
  const admin = await emptied(plane, [OWN, APPS]);
  for (const { user } of tokens)
    await admin.ask("POST", "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", {
      metadata: { name: user.replaceAll(":", "-") },
      roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: "cluster-admin" },
      subjects: [{ apiGroup: "rbac.authorization.k8s.io", kind: "User", name: user }],
    });
  const relay = await startRelay({
    kubeconfig: plane.kubeconfig,
    identities: tokens,
    followed: [
      { kind: "Deployment", namespace: APPS },
      { kind: "Pod", namespace: APPS },
      { kind: "Lease", namespace: OWN },
    ],
    observe,
  });
  return {
    get: relay.get,
    list: relay.list,
    faults: relay.faults,
    kubeconfig: relay.kubeconfig,
    build: (of) => createWorkload(admin, relay, of),
    health: "0s",
    settled: relay.settled,
    async stop() {
      await relay.stop();
      await admin.close();
    },
  };
}
