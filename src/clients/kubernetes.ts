import type { Clock } from "../clock.js";
import {
  type AccessQuestion,
  ClusterError,
  type ClusterReader,
  type ClusterWriter,
  type JsonPatchOp,
  type KubeObject,
  type ListQuery,
  type LogQuery,
  nameOf,
  type ObjectRef,
  type OwnObjects,
  type WriteOptions,
} from "../cluster.js";
import { messageOf } from "../errors.js";
import { exchange, type Exchanged, LateError } from "./exchange.js";
import { type KubernetesAuth, loadAuth } from "./kubernetes-auth.js";
import { listPath, objectPath } from "./kubernetes-paths.js";

/** The gate to Kubernetes: raw JSON over one connection pool. Writes are sent once and never again. */
export interface KubernetesClient extends ClusterReader, ClusterWriter, OwnObjects {
  readonly server: string;
  readonly context: string;
  /** As `can`, asked about somebody else. */
  canUser(user: string, question: AccessQuestion): Promise<boolean>;
  version(): Promise<string>;
  /** The API server's clock, milliseconds, read from the Date header. Errors: ClusterError, also where there is none. */
  serverTime(): Promise<number>;
  close(): Promise<void>;
}

interface Call {
  method: "GET" | "POST" | "PUT" | "PATCH";
  path: string;
  /** What the call is about, for errors. */
  about: string;
  query?: Record<string, string>;
  body?: unknown;
  contentType?: string;
  timeoutMs?: number;
}

const TIMEOUT_MS = 10_000;
const PAGE = "500";
/** A kind that the cluster does not serve is asked for again after this long: most have neither KEDA nor Argo Rollouts. */
const ABSENT_MS = 10_000;
/** One list may not grow past this many pages: 100,000 objects. */
const MAX_PAGES = 200;

export async function createKubernetes(options: {
  kubeconfig: string | null;
  context?: string;
  clock: Clock;
  fieldManager?: string;
}): Promise<KubernetesClient> {
  const auth = await loadAuth(options);
  return clientOver(auth, options.clock, options.fieldManager ?? "nightshift");
}

function clientOver(auth: KubernetesAuth, clock: Clock, fieldManager: string): KubernetesClient {
  /** Paths of kinds that are not served, with when that was answered. */
  const absent = new Map<string, number>();
  // Behind a proxy of many clusters the API server's URL has a path of its own.
  const { origin, pathname } = new URL(auth.server);
  const prefix = pathname.replace(/\/+$/, "");

  async function send(call: Call): Promise<Exchanged> {
    const { agent, headers } = await auth.present().catch((cause: unknown) => {
      throw new ClusterError(
        null,
        "Credentials",
        `credentials for the API server could not be read: ${messageOf(cause)}`,
        { cause },
      );
    });
    const query = call.query === undefined ? "" : `?${new URLSearchParams(call.query).toString()}`;
    try {
      return await exchange({
        dispatcher: agent,
        origin,
        path: prefix + call.path + query,
        method: call.method,
        headers: {
          ...headers,
          accept: "application/json",
          "user-agent": fieldManager,
          ...(call.body === undefined ? {} : { "content-type": call.contentType ?? "application/json" }),
        },
        body: call.body === undefined ? undefined : JSON.stringify(call.body),
        timeoutMs: call.timeoutMs ?? TIMEOUT_MS,
      });
    } catch (cause) {
      throw new ClusterError(null, "Unanswered", `${call.about}: ${messageOf(cause)}`, { cause });
    }
  }

  /** Reads may be asked once more: after a cut connection, and after a 401 with fresh credentials. */
  async function read(call: Call): Promise<Exchanged> {
    let answer: Exchanged;
    try {
      answer = await send(call);
    } catch (error) {
      const cut = error instanceof ClusterError && error.reason === "Unanswered" && !(error.cause instanceof LateError);
      if (!cut) throw error;
      answer = await send(call);
    }
    if (answer.status !== 401) return answer;
    auth.renew();
    return send(call);
  }

  async function write(call: Call): Promise<KubeObject> {
    const answer = await send(call);
    if (answer.status === 401) auth.renew();
    return objectOf(call, answer);
  }

  function pathOf(ref: ObjectRef): string {
    const path = objectPath(ref);
    if (path === null) throw new ClusterError(400, "BadRequest", `${nameOf(ref)}: no such kind or name is known here`);
    return path;
  }

  async function review(
    kind: "SelfSubjectAccessReview" | "SubjectAccessReview",
    spec: Record<string, unknown>,
  ): Promise<boolean> {
    const apiVersion = "authorization.k8s.io/v1";
    const call: Call = {
      method: "POST",
      path: listPath(apiVersion, kind, "") ?? "",
      about: kind,
      body: { apiVersion, kind, spec },
    };
    const answer = objectOf(call, await read(call));
    return answer.status?.allowed === true;
  }

  function attributes(q: AccessQuestion): Record<string, unknown> {
    return {
      verb: q.verb,
      group: q.group,
      resource: q.resource,
      ...(q.subresource === undefined ? {} : { subresource: q.subresource }),
      ...(q.namespace === "" ? {} : { namespace: q.namespace }),
      ...(q.name === undefined ? {} : { name: q.name }),
    };
  }

  return {
    server: auth.server,
    context: auth.context,
    async get(ref) {
      const call: Call = { method: "GET", path: pathOf(ref), about: nameOf(ref) };
      const answer = await read(call);
      return answer.status === 404 ? null : objectOf(call, answer);
    },
    async list(query: ListQuery) {
      const path = listPath(query.apiVersion, query.kind, query.namespace);
      if (path === null) throw new ClusterError(400, "BadRequest", `${query.kind}: no such kind is known here`);
      if (clock.monotonic() - (absent.get(path) ?? Number.NEGATIVE_INFINITY) < ABSENT_MS) return [];
      const items: KubeObject[] = [];
      let next = "";
      for (let page = 0; page < MAX_PAGES; page += 1) {
        const call: Call = {
          method: "GET",
          path,
          about: `list of ${query.kind} in ${query.namespace || "all namespaces"}`,
          query: {
            limit: PAGE,
            ...(query.labelSelector ? { labelSelector: query.labelSelector } : {}),
            ...(query.fieldSelector ? { fieldSelector: query.fieldSelector } : {}),
            ...(next === "" ? {} : { continue: next }),
          },
        };
        const answer = await read(call);
        if (answer.status === 404 && page === 0) {
          absent.set(path, clock.monotonic());
          return [];
        }
        const list = objectOf(call, answer) as unknown as {
          items?: KubeObject[] | null;
          metadata: { continue?: string };
        };
        // A list names its kind once, for all of its items.
        for (const item of list.items ?? []) items.push({ ...item, apiVersion: query.apiVersion, kind: query.kind });
        next = list.metadata.continue ?? "";
        if (next === "") return items;
      }
      throw new ClusterError(
        500,
        "TooLong",
        `list of ${query.kind}: more than ${MAX_PAGES} pages; half a list is not taken for the whole`,
      );
    },
    async logs(query: LogQuery) {
      const path = `${pathOf({ apiVersion: "v1", kind: "Pod", namespace: query.namespace, name: query.pod })}/log`;
      const call: Call = {
        method: "GET",
        path,
        about: `logs of Pod ${query.namespace}/${query.pod}`,
        query: {
          container: query.container,
          previous: String(query.previous),
          tailLines: String(query.tailLines),
          limitBytes: "65536",
        },
      };
      const answer = await read(call);
      if (answer.status >= 300) throw errorOf(call, answer);
      return answer.text;
    },
    can: (question) => review("SelfSubjectAccessReview", { resourceAttributes: attributes(question) }),
    canUser: (user, question) => review("SubjectAccessReview", { user, resourceAttributes: attributes(question) }),
    jsonPatch: (ref: ObjectRef, ops: readonly JsonPatchOp[], o: WriteOptions = {}) =>
      write({
        method: "PATCH",
        path: pathOf(ref),
        about: nameOf(ref),
        contentType: "application/json-patch+json",
        body: ops,
        query: writeQuery(o),
        ...timeoutOf(o),
      }),
    mergePatch: (ref, body, o: WriteOptions = {}) =>
      write({
        method: "PATCH",
        path: pathOf(ref),
        about: nameOf(ref),
        contentType: "application/merge-patch+json",
        body,
        query: writeQuery(o),
        ...timeoutOf(o),
      }),
    async evict(pod, o: WriteOptions = {}) {
      await write({
        method: "POST",
        path: `${pathOf(pod)}/eviction`,
        about: `eviction of ${nameOf(pod)}`,
        body: {
          apiVersion: "policy/v1",
          kind: "Eviction",
          metadata: { name: pod.name, namespace: pod.namespace },
          deleteOptions: { preconditions: { uid: pod.uid }, ...(o.dryRun === true ? { dryRun: ["All"] } : {}) },
        },
        ...timeoutOf(o),
      });
    },
    async create(object) {
      const { apiVersion, kind, metadata } = object as unknown as KubeObject;
      const path = listPath(apiVersion, kind, metadata.namespace ?? "");
      if (path === null) throw new ClusterError(400, "BadRequest", `${kind}: no such kind is known here`);
      return write({
        method: "POST",
        path,
        about: `${kind} ${metadata.namespace ?? ""}/${metadata.name}`,
        body: object,
        query: writeQuery({}),
      });
    },
    async replace(object) {
      const { apiVersion, kind, metadata } = object as unknown as KubeObject;
      const ref = { apiVersion, kind, namespace: metadata.namespace ?? "", name: metadata.name };
      return write({ method: "PUT", path: pathOf(ref), about: nameOf(ref), body: object, query: writeQuery({}) });
    },
    async version() {
      const call: Call = { method: "GET", path: "/version", about: "version of the API server" };
      const answer = await read(call);
      if (answer.status >= 300) throw errorOf(call, answer);
      return String((JSON.parse(answer.text) as { gitVersion?: unknown }).gitVersion ?? "unknown");
    },
    async serverTime() {
      const call: Call = { method: "GET", path: "/version", about: "clock of the API server" };
      const answer = await read(call);
      const at = Date.parse(String(answer.headers["date"] ?? ""));
      if (Number.isNaN(at)) throw new ClusterError(null, "Unreadable", `${call.about}: answered without a Date`);
      // The header has whole seconds: half of one is added.
      return at + 500;
    },
    close: () => auth.close(),
  };

  function writeQuery(o: WriteOptions): Record<string, string> {
    return { fieldManager, ...(o.dryRun ? { dryRun: "All" } : {}) };
  }
}

function timeoutOf(o: WriteOptions): { timeoutMs?: number } {
  return o.timeoutMs === undefined ? {} : { timeoutMs: o.timeoutMs };
}

function objectOf(call: Call, answer: Exchanged): KubeObject {
  if (answer.status >= 300) throw errorOf(call, answer);
  try {
    return JSON.parse(answer.text) as KubeObject;
  } catch (cause) {
    throw new ClusterError(null, "Unreadable", `${call.about}: the answer is no JSON`, { cause });
  }
}

/** The Status body's reason and message; never the body itself, which may quote a Secret. */
function errorOf(call: Call, answer: Exchanged): ClusterError {
  let reason = "";
  let message = "";
  try {
    const status = JSON.parse(answer.text) as { kind?: unknown; reason?: unknown; message?: unknown };
    if (status.kind === "Status") {
      reason = String(status.reason ?? "");
      // A refused value is quoted whole, environment variables included: only what was wrong with it is kept.
      message = String(status.message ?? "")
        .replace(/"?\{[\s\S]*\}"?:?/, "…")
        .slice(0, 300);
    }
  } catch {
    // A proxy in between answered in its own words: the code is all there is.
  }
  return new ClusterError(
    answer.status,
    reason || `HTTP${answer.status}`,
    `${call.about}: ${answer.status} ${reason} ${message}`.trim(),
  );
}
