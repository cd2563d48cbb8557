/** Turns what the stand-ins see into the checker's history. */
import { createHash } from "node:crypto";
import type { Raw } from "../../../sandbox/kubernetes/kinds.js";
import type { SeenRequest } from "../../../sandbox/kubernetes/world.js";
import type { HistoryEvent, LeaseSeen, Op, RequestEvent, Seen } from "../checker/history.js";

const FENCE = "nightshift.dev/fence";

export function requestEvent(seen: SeenRequest, isBot: (user: string) => boolean): RequestEvent {
  const { route } = seen;
  const url = new URL(seen.url, "http://stand-in");
  const reads = route.verb === "get" || route.verb === "list" || route.verb === "watch";
  return {
    kind: "request",
    at: seen.at,
    done: seen.done,
    bot: isBot(seen.user),
    verb: route.verb,
    object: route.kind.kind,
    namespace: route.namespace,
    name: route.name || String((seen.body as Raw | undefined)?.metadata?.name ?? ""),
    subresource: route.subresource,
    dryRun: seen.dryRun || JSON.stringify(seen.body ?? null).includes('"dryRun":["All"]'),
    cached: url.searchParams.get("resourceVersion") === "0" || seen.fault === "stale",
    status: seen.status,
    answered: seen.answered,
    insists: insistsOn(seen.body),
    op: opIn(seen.body),
    fence: !reads && onlyFence(seen.before, seen.after),
    before: stateOf(seen.before),
    after: stateOf(seen.after),
    lease: route.kind.kind === "Lease" && !reads ? leaseOf(seen.after) : null,
    url: seen.url,
    body: reads ? "" : JSON.stringify(seen.body ?? null),
  };
}

function digest(value: unknown): string {
  return createHash("sha256").update(JSON.stringify(value)).digest("hex").slice(0, 12);
}

function stateOf(object: Raw | null): Seen | null {
  if (object === null) return null;
  return {
    uid: object.metadata.uid,
    resourceVersion: object.metadata.resourceVersion,
    template: object.spec?.template === undefined ? "" : digest(object.spec.template),
    replicas: typeof object.spec?.replicas === "number" ? object.spec.replicas : null,
    leaving: object.metadata.deletionTimestamp !== undefined,
  };
}

/** The precondition that a request carries: a version in a JSON patch or an object, a UID in an eviction. */
function insistsOn(body: unknown): string {
  if (Array.isArray(body)) {
    const patch = body as { path: string; value: unknown }[];
    return String(patch.find((op) => op.path === "/metadata/resourceVersion")?.value ?? "");
  }
  const object = body as
    | { metadata?: { resourceVersion?: string }; deleteOptions?: { preconditions?: { uid?: string } } }
    | undefined;
  return object?.deleteOptions?.preconditions?.uid ?? object?.metadata?.resourceVersion ?? "";
}

function opIn(body: unknown): Op | null {
  if (!Array.isArray(body)) return null;
  const patch = body as { path: string; value: unknown }[];
  const text = patch.find((op) => op.path === "/metadata/annotations/nightshift.dev~1last-op")?.value;
  if (typeof text !== "string") return null;
  const { key, run, step } = JSON.parse(text) as Op;
  return { key, run, step };
}

function onlyFence(before: Raw | null, after: Raw | null): boolean {
  if (before === null || after === null || before.metadata.resourceVersion === after.metadata.resourceVersion)
    return false;
  return JSON.stringify(withoutFence(before)) === JSON.stringify(withoutFence(after));
}

function withoutFence(object: Raw): Raw {
  const { [FENCE]: _fence, ...annotations } = object.metadata.annotations ?? {};
  const { resourceVersion: _rv, generation: _generation, managedFields: _fields, ...metadata } = object.metadata;
  const sorted = Object.fromEntries(Object.entries(metadata).sort(([a], [b]) => (a < b ? -1 : 1)));
  return { spec: object.spec, status: object.status, metadata: { ...sorted, annotations } };
}

function leaseOf(lease: Raw | null): LeaseSeen | null {
  const text = lease?.metadata.annotations?.["nightshift.dev/ledger"];
  if (lease === null || text === undefined) return null;
  const ledger = JSON.parse(text) as {
    run: { id: string } | null;
    open: { key: string; resourceVersion: string; object: { uid: string } } | null;
    ops: { key: string }[];
  };
  const target = JSON.parse(lease.metadata.annotations["nightshift.dev/target"] ?? "{}") as { uid?: string };
  return {
    name: lease.metadata.name,
    target: target.uid ?? "",
    holder: lease.spec?.holderIdentity ?? "",
    token: lease.spec?.leaseTransitions ?? 0,
    run: ledger.run?.id ?? null,
    open:
      ledger.open === null
        ? null
        : { key: ledger.open.key, resourceVersion: ledger.open.resourceVersion, uid: ledger.open.object.uid },
    ops: ledger.ops.map((op) => op.key),
  };
}

/** What is worth keeping: writes, and reads of single objects that a write may rest on. */
export function worthKeeping(event: HistoryEvent): boolean {
  if (event.kind !== "request" || !event.bot) return event.kind !== "request";
  if (event.verb === "get") return event.object !== "Lease" && event.object !== "ConfigMap";
  return event.verb !== "watch";
}
