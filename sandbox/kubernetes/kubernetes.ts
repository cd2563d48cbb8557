import type { AddressInfo } from "node:net";
import { type Clock, randomHex, systemClock } from "../../src/clock.js";
import { type Access, ANYTHING, createAccess, type Identity, type Rule } from "./access.js";
import { createLoop, type Loop } from "./controllers/loop.js";
import { nodeNamed } from "./controllers/kubelet.js";
import { createFaults, type Faults } from "./faults.js";
import { createIds } from "./ids.js";
import { apiVersionOf, kindNamed, type Raw } from "./kinds.js";
import { withDefaults } from "./defaults.js";
import { createObjects, seconds } from "./objects.js";
import { createHttp, TOKEN_PATH } from "./server.js";
import { createStore } from "./store.js";
import type { PodBehaviour, SeenRequest, World } from "./world.js";
import { createWriteLog, type WriteEntry } from "./write-log.js";

export interface KubernetesOptions {
  clock?: Clock;
  /** 0, the default, takes a free port on 127.0.0.1. */
  port?: number;
  /** Divides every duration of the controllers (start, readiness, restarts, progress deadlines). Default 1. */
  speed?: number;
  /** Milliseconds between two rounds of the controllers; null runs them only by `tick()`. Default 50. */
  tickMs?: number | null;
  identities?: readonly Identity[];
  /** Names of nodes that take Pods. Default node-1 and node-2. */
  nodes?: readonly string[];
  /** Namespaces beside default and kube-system. */
  namespaces?: readonly string[];
  /** Null for what the image's tag says. */
  behaviour?: (pod: Raw) => PodBehaviour | null;
  /** Told of every request once it is settled. */
  observe?: (request: SeenRequest) => void;
  /** The same seed gives the same UIDs and Pod names. */
  seed?: string;
}

/** A running stand-in for a Kubernetes API server. It says what it is in /version. */
export interface Kubernetes {
  url: string;
  /** An identity that may do everything. */
  adminToken: string;
  /** A kubeconfig for a token, as YAML; for the administrator without one. */
  kubeconfig(token?: string): string;
  /**
   * The same for kubectl, which sends no token over plain HTTP: here the token is a part of the server's address.
   */
  kubectlConfig(token?: string): string;
  /** Puts an object in place as it is, status included, past validation and write log. A namespace that is missing is made. */
  seed(object: Raw): Raw;
  get(kind: string, namespace: string, name: string): Raw | undefined;
  list(kind: string, namespace?: string): Raw[];
  /** Deletes at once. */
  remove(kind: string, namespace: string, name: string): void;
  /** Adds rules to an identity, by its user name. */
  grant(user: string, rules: readonly Rule[]): void;
  /** Takes all rules of an identity away. */
  revoke(user: string): void;
  addIdentity(identity: Identity): void;
  /** Accepted writes that came over HTTP, oldest first. */
  writes(): readonly WriteEntry[];
  faults: Faults;
  /** Runs the controllers now, until nothing changes any more at this instant. */
  tick(): void;
  stop(): Promise<void>;
}

/** Starts the stand-in on loopback. Errors: Error when the port is taken. */
export async function startKubernetes(options: KubernetesOptions = {}): Promise<Kubernetes> {
  const clock = options.clock ?? systemClock;
  const adminToken = randomHex(16);
  const store = createStore();
  const ids = createIds(options.seed ?? randomHex(8));
  const admin: Identity = { token: adminToken, user: "admin", groups: ["system:masters"], rules: [ANYTHING] };
  const access: Access = createAccess(store, [admin, ...(options.identities ?? [])]);
  const faults = createFaults(() => store.version);
  const log = createWriteLog(clock);
  const world: World = {
    store,
    objects: createObjects({ store, clock, ids }),
    clock,
    ids,
    access,
    faults,
    log,
    speed: options.speed ?? 1,
    behaviour: options.behaviour ?? (() => null),
    observe: options.observe ?? null,
    output: new Map(),
  };
  for (const name of ["default", "kube-system", ...(options.namespaces ?? [])])
    seed(world, { apiVersion: "v1", kind: "Namespace", metadata: { name } });
  for (const name of options.nodes ?? ["node-1", "node-2"]) seed(world, nodeNamed(name, clock.now()));

  const stopping = new AbortController();
  const loop: Loop = createLoop(world);
  const server = createHttp(world, stopping.signal);
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(options.port ?? 0, "127.0.0.1", resolve);
  });
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  loop.tick();
  const tickMs = options.tickMs === undefined ? 50 : options.tickMs;
  const running = tickMs === null ? Promise.resolve() : loop.run(tickMs, stopping.signal);

  return {
    url,
    adminToken,
    kubeconfig: (token = adminToken) => kubeconfigFor(url, token),
    kubectlConfig: (token = adminToken) => kubeconfigFor(`${url}${TOKEN_PATH}${token}`, token),
    seed: (object) => seed(world, object),
    get: (kind, namespace, name) => store.get(kindNamed(kind), namespace, name),
    list: (kind, namespace) => [...store.list(kindNamed(kind), namespace)],
    remove: (kind, namespace, name) => void store.remove(kindNamed(kind), namespace, name),
    grant: access.grant,
    revoke: access.revoke,
    addIdentity: access.add,
    writes: () => log.entries,
    faults,
    tick: loop.tick,
    async stop() {
      stopping.abort();
      faults.clear();
      await running;
      server.closeAllConnections();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}

function seed(world: World, object: Raw): Raw {
  const kind = kindNamed(object.kind);
  const namespace: string = kind.namespaced ? (object.metadata.namespace ?? "default") : "";
  if (kind.namespaced && world.store.get(kindNamed("Namespace"), "", namespace) === undefined) {
    seed(world, { apiVersion: "v1", kind: "Namespace", metadata: { name: namespace } });
  }
  const old = world.store.get(kind, namespace, object.metadata.name);
  const metadata = {
    uid: world.ids.uid(),
    creationTimestamp: seconds(world.clock.now()),
    ...(kind.generation === "none" ? {} : { generation: 1 }),
    ...old?.metadata,
    ...object.metadata,
    ...(kind.namespaced ? { namespace } : {}),
  };
  return world.store.put(kind, withDefaults(kind, { ...object, apiVersion: apiVersionOf(kind), metadata }));
}

function kubeconfigFor(url: string, token: string): string {
  return `apiVersion: v1
kind: Config
clusters: [{name: stand-in, cluster: {server: "${url}", insecure-skip-tls-verify: true}}]
users: [{name: stand-in, user: {token: "${token}"}}]
contexts: [{name: stand-in, context: {cluster: stand-in, user: stand-in}}]
current-context: stand-in
`;
}
