import { jsonPatch } from "../../sandbox/kubernetes/patch.js";
import { listPath } from "../../src/clients/kubernetes-paths.js";
import {
  ClusterError,
  type ClusterReader,
  type JsonPatchOp,
  type KubeObject,
  type ListQuery,
  type LogQuery,
  type ObjectRef,
  refOf,
} from "../../src/cluster.js";

/** One write that reached the cluster, as the log keeps it. */
export interface MemoryWrite {
  ref: ObjectRef;
  ops: readonly JsonPatchOp[];
}

/** A ClusterReader over objects in memory, and what a test does to them from outside the code under test. */
export interface MemoryCluster extends ClusterReader {
  /** Adds or replaces an object, as somebody else would: not in the write log. */
  seed(object: Partial<KubeObject>): KubeObject;
  /** Takes an object away, as somebody else would. */
  remove(ref: Omit<ObjectRef, "apiVersion">): void;
  /** The writer of the test, standing for the engine's. Logged. Errors: ClusterError 404; ApiError 422 as the server's. */
  jsonPatch(ref: ObjectRef, ops: readonly JsonPatchOp[]): Promise<KubeObject>;
  /** What a container has written. */
  setLogs(pod: string, text: string, of?: { previous?: boolean }): void;
  /** From now on this kind answers 403; `Log` stands for pods/log. */
  forbid(kind: string): void;
  /** Every write, oldest first. */
  writes(): readonly MemoryWrite[];
  /** Every object as it stands, to compare before with after. */
  world(): KubeObject[];
}

/**
 * Seeds `objects`; what they lack in uid and resourceVersion is made up. `fail` makes a list fail. Reads hand out
 * copies, so that code which changes what it has read changes nothing here, as with a real server.
 */
export function memoryCluster(
  objects: Partial<KubeObject>[],
  fail: (query: ListQuery) => Error | null = () => null,
): MemoryCluster {
  const all: KubeObject[] = [];
  const logs = new Map<string, string>();
  const forbidden = new Set<string>();
  const written: MemoryWrite[] = [];
  let version = 0;

  const find = (ref: Omit<ObjectRef, "apiVersion">) =>
    all.findIndex(
      (o) => o.kind === ref.kind && o.metadata.name === ref.name && (o.metadata.namespace ?? "") === ref.namespace,
    );
  const check = (kind: string, verb: string) => {
    // What the real client has no path for cannot be asked here either.
    if (kind !== "Log" && listPath("v1", kind, "") === null)
      throw new ClusterError(400, "BadRequest", `${kind}: no such kind is known`);
    if (forbidden.has(kind)) throw new ClusterError(403, "Forbidden", `${verb} ${kind}: forbidden`);
  };
  const put = (object: Partial<KubeObject>): KubeObject => {
    version += 1;
    const copy = structuredClone(object) as KubeObject;
    const at = copy.metadata === undefined ? -1 : find(refOf(copy));
    const uid = copy.metadata?.uid ?? all[at]?.metadata.uid ?? `uid-${version}`;
    const whole = { ...copy, metadata: { ...copy.metadata, uid, resourceVersion: String(version) } };
    if (at === -1) all.push(whole);
    else all[at] = whole;
    return structuredClone(whole);
  };
  for (const object of objects) put(object);

  return {
    seed: put,
    remove(ref) {
      const at = find(ref);
      if (at !== -1) all.splice(at, 1);
    },
    async get(ref) {
      check(ref.kind, "get");
      const found = all[find(ref)];
      return found === undefined ? null : structuredClone(found);
    },
    async list(query) {
      const error = fail(query);
      if (error !== null) throw error;
      check(query.kind, "list");
      return structuredClone(
        all.filter(
          (o) =>
            o.kind === query.kind &&
            (query.namespace === "" || o.metadata.namespace === query.namespace) &&
            selected(o, query.labelSelector) &&
            fields(o, query.fieldSelector),
        ),
      );
    },
    async logs(query: LogQuery) {
      check("Log", "get");
      return logs.get(`${query.pod} ${query.previous}`) ?? "";
    },
    can: async () => true,
    async jsonPatch(ref, ops) {
      const found = all[find(ref)];
      if (found === undefined) throw new ClusterError(404, "NotFound", `${ref.kind} ${ref.name} not found`);
      const patched = jsonPatch(found as never, ops) as unknown as KubeObject;
      written.push({ ref, ops: structuredClone([...ops]) });
      return put(patched);
    },
    setLogs(pod, text, of) {
      logs.set(`${pod} ${of?.previous ?? false}`, text);
    },
    forbid(kind) {
      forbidden.add(kind);
    },
    writes: () => written,
    world: () => structuredClone(all),
  };
}

/** Equality-based label selectors, as far as the code under test uses them. */
function fields(object: KubeObject, selector: string | undefined): boolean {
  return (selector ?? "")
    .split(",")
    .filter(Boolean)
    .every((part) => {
      const [, field = "", sign, value] = /^([\w.]+)(!?=)(.*)$/.exec(part) ?? [];
      if (sign === undefined) throw new Error(`a field selector that this cluster cannot read: ${part}`);
      const found = field
        .split(".")
        .reduce<unknown>((at, key) => (at as Record<string, unknown> | undefined)?.[key], object);
      return (String(found ?? "") === value) === (sign === "=");
    });
}

function selected(object: KubeObject, selector: string | undefined): boolean {
  return (selector ?? "")
    .split(",")
    .filter((part) => part !== "")
    .every((part) => {
      const [key = "", value] = part.split("=");
      return object.metadata.labels?.[key] === value;
    });
}
