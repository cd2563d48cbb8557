import type { IncomingMessage, ServerResponse } from "node:http";
import { apiVersionOf, type Kind, type Raw } from "./kinds.js";
import type { Matcher } from "./select.js";
import type { Change } from "./store.js";
import { tableOf } from "./tables.js";
import type { World } from "./world.js";

interface Watch {
  kind: Kind;
  namespace: string;
  matches: Matcher;
  query: URLSearchParams;
  table: boolean;
}

const LONGEST_MS = 30 * 60_000;

/** Streams changes as JSON lines until the client leaves, the timeout passes or the server stops. */
export function watch(
  world: World,
  of: Watch,
  http: { request: IncomingMessage; response: ServerResponse; stop: AbortSignal },
): void {
  const { kind, namespace, matches, query } = of;
  const { response, request, stop } = http;
  const from = query.get("resourceVersion") ?? "";
  const initial = query.get("sendInitialEvents") === "true" || from === "" || from === "0";
  const inScope = (object: Raw) => namespace === "" || object.metadata.namespace === namespace;

  response.writeHead(200, { "content-type": "application/json" });
  response.flushHeaders();
  function send(type: string, object: Raw): void {
    const shown =
      of.table && type !== "BOOKMARK" && type !== "ERROR"
        ? tableOf(kind, [object], { metadata: {}, now: world.clock.now() })
        : object;
    response.write(`${JSON.stringify({ type, object: shown })}\n`);
  }
  function bookmark(extra: Raw): void {
    send("BOOKMARK", {
      kind: kind.kind,
      apiVersion: apiVersionOf(kind),
      metadata: { resourceVersion: String(world.store.version), ...extra },
    });
  }
  /** An object that begins or ceases to match comes and goes for this watcher. */
  function pass(change: Change): void {
    if (change.kind !== kind || !inScope(change.object)) return;
    const was = change.previous !== null && matches(change.previous);
    const is = change.type !== "DELETED" && matches(change.object);
    if (is) send(was ? "MODIFIED" : "ADDED", change.object);
    else if (was)
      send("DELETED", {
        ...(change.type === "DELETED" ? change.object : change.previous),
        metadata: { ...(change.previous ?? change.object).metadata, resourceVersion: String(change.version) },
      });
  }

  if (initial) {
    for (const object of world.store.list(kind, namespace)) if (matches(object)) send("ADDED", object);
    if (query.get("sendInitialEvents") === "true") bookmark({ annotations: { "k8s.io/initial-events-end": "true" } });
  } else {
    const missed = world.store.since(Number(from), kind);
    if (missed === null) {
      const message = `too old resource version: ${from} (${world.store.version})`;
      send("ERROR", {
        kind: "Status",
        apiVersion: "v1",
        metadata: {},
        status: "Failure",
        message,
        reason: "Expired",
        code: 410,
      });
      response.end();
      return;
    }
    for (const change of missed) pass(change);
  }
  const leave = world.store.onChange(pass);
  const asked = Number(query.get("timeoutSeconds") ?? 0) * 1000;
  const timer = setTimeout(end, asked > 0 ? Math.min(asked, LONGEST_MS) : LONGEST_MS);
  function end(): void {
    clearTimeout(timer);
    leave();
    stop.removeEventListener("abort", end);
    response.end();
  }
  stop.addEventListener("abort", end, { once: true });
  request.once("close", end);
  response.once("close", end);
}
