/**
 * The shapes in which the stages see Kubernetes: raw JSON objects and three small ports. Objects stay raw (never parsed
 * into SDK classes) because a pod template must be written back exactly as it was read, unknown fields included.
 */
import { NightshiftError } from "./errors.js";

/** Names one object. `namespace` is "" for cluster-scoped kinds. */
export interface ObjectRef {
  apiVersion: string;
  kind: string;
  namespace: string;
  name: string;
}

export interface OwnerReference {
  apiVersion: string;
  kind: string;
  name: string;
  uid: string;
  controller?: boolean;
}

export interface ManagedFieldsEntry {
  manager?: string;
  operation?: string;
  time?: string;
  subresource?: string;
  fieldsV1?: Record<string, unknown>;
}

export interface ObjectMeta {
  name: string;
  namespace?: string;
  uid: string;
  resourceVersion: string;
  generation?: number;
  creationTimestamp?: string;
  deletionTimestamp?: string;
  labels?: Record<string, string>;
  annotations?: Record<string, string>;
  ownerReferences?: OwnerReference[];
  managedFields?: ManagedFieldsEntry[];
}

/** An object as the API server sent it. `spec`, `status` and `data` are whatever the kind has. */
export interface KubeObject {
  apiVersion: string;
  kind: string;
  metadata: ObjectMeta;
  // The shape depends on the kind; the readers in target/, owner/ and runbooks/ pick single fields out of it.
  // biome-ignore lint/suspicious/noExplicitAny: raw JSON of any kind
  spec?: any;
  // biome-ignore lint/suspicious/noExplicitAny: raw JSON of any kind
  status?: any;
  [field: string]: unknown;
}

export interface ListQuery {
  apiVersion: string;
  kind: string;
  /** "" lists all namespaces. */
  namespace: string;
  labelSelector?: string;
  fieldSelector?: string;
}

export interface LogQuery {
  namespace: string;
  pod: string;
  container: string;
  previous: boolean;
  tailLines: number;
}

/** One question to the API server's authorizer: may the present identity do this? */
export interface AccessQuestion {
  verb: string;
  group: string;
  resource: string;
  subresource?: string;
  namespace: string;
  name?: string;
}

/**
 * Reads. Every read is live: a quorum read without `resourceVersion=0`, never from a cache.
 * Errors: ClusterError. "Not found" is `null`, an unknown kind (no such CRD) lists as empty and gets `null`.
 */
export interface ClusterReader {
  get(ref: ObjectRef): Promise<KubeObject | null>;
  /** The whole list over all pages, or an error: half a list is never returned. */
  list(query: ListQuery): Promise<KubeObject[]>;
  logs(query: LogQuery): Promise<string>;
  can(question: AccessQuestion): Promise<boolean>;
}

export interface JsonPatchOp {
  op: "add" | "replace" | "remove" | "test";
  path: string;
  value?: unknown;
}

export interface WriteOptions {
  dryRun?: boolean;
  /** Milliseconds until the call is given up; its fate is then unknown. */
  timeoutMs?: number;
}

/** Writes to targets: used by the execution engine alone. One request per call, never retried. Errors: ClusterError. */
export interface ClusterWriter {
  jsonPatch(ref: ObjectRef, ops: readonly JsonPatchOp[], options?: WriteOptions): Promise<KubeObject>;
  mergePatch(ref: ObjectRef, body: Record<string, unknown>, options?: WriteOptions): Promise<KubeObject>;
  /** Evicts the pod if it still is the one of that UID. 429: a disruption budget allows none now; 409: another pod. */
  evict(pod: ObjectRef & { uid: string }, options?: WriteOptions): Promise<void>;
}

/** Whole objects in Nightshift's own namespace: Leases and the control ConfigMap. Errors: ClusterError. */
export interface OwnObjects {
  get(ref: ObjectRef): Promise<KubeObject | null>;
  list(query: ListQuery): Promise<KubeObject[]>;
  create(object: Record<string, unknown>): Promise<KubeObject>;
  /** PUT; the object's `metadata.resourceVersion` is the precondition (409 when it moved). */
  replace(object: Record<string, unknown>): Promise<KubeObject>;
}

/**
 * An answer of the API server that is not 2xx, or no answer at all. `status` is null when the fate of the request is
 * unknown: timeout, cut connection. 5xx are unknown too: see `fateUnknown`.
 */
export class ClusterError extends NightshiftError {
  readonly status: number | null;
  readonly reason: string;

  constructor(status: number | null, reason: string, message: string, options?: { cause?: unknown }) {
    super(status === null ? "ERR_CLUSTER_UNREACHABLE" : `ERR_CLUSTER_${status}`, message, options);
    this.status = status;
    this.reason = reason;
  }

  get conflict(): boolean {
    return this.status === 409;
  }

  get forbidden(): boolean {
    return this.status === 403 || this.status === 401;
  }

  /** True when a write may or may not have happened: no answer, or a 5xx. */
  get fateUnknown(): boolean {
    return this.status === null || this.status >= 500;
  }
}

/** "Deployment mcp-production/mcp-typescript-api". */
export function nameOf(ref: { kind: string; namespace: string; name: string }): string {
  return ref.namespace === "" ? `${ref.kind} ${ref.name}` : `${ref.kind} ${ref.namespace}/${ref.name}`;
}

/** The reference of an object that was read. */
export function refOf(object: KubeObject): ObjectRef {
  return {
    apiVersion: object.apiVersion,
    kind: object.kind,
    namespace: object.metadata.namespace ?? "",
    name: object.metadata.name,
  };
}
