/**
 * Stands between Nightshift and a real API server: passes everything on under the sender's own name, tells what came of it,
 * and does on the way what the stand-in does: holds requests back, loses answers, makes some up, shows reads as they were.
 */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { pipeline } from "node:stream/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { request as send } from "undici";
import { withFault } from "../../../sandbox/kubernetes/apply-fault.js";
import { createFaults, type Faults } from "../../../sandbox/kubernetes/faults.js";
import type { Raw } from "../../../sandbox/kubernetes/kinds.js";
import { type Route, routeOf } from "../../../sandbox/kubernetes/route.js";
import type { SeenRequest } from "../../../sandbox/kubernetes/world.js";
import { type RawApi, rawApi } from "../raw-api.js";
import { type Followed, followVersions, type Versions } from "./versions.js";

export interface RelayOptions {
  /** An administrator's kubeconfig for the real one. */
  kubeconfig: string;
  /** Tokens by which the relay knows a sender, and who each is to the API server. */
  identities: readonly { token: string; user: string }[];
  /** What is followed version by version: only of these a write's state before it is known. */
  followed: readonly Followed[];
  observe?: (seen: SeenRequest) => void;
}

export interface Relay extends Pick<Versions, "get" | "list"> {
  url: string;
  /** For one of the identities; for the administrator without a token. */
  kubeconfig(token?: string): string;
  faults: Faults;
  /** Resolves when everything that was answered has been told of. */
  settled(): Promise<void>;
  stop(): Promise<void>;
}

/** Headers of one connection, and those that the relay sets itself. */
const OWN_HEADERS = new Set([
  "host",
  "connection",
  "keep-alive",
  "transfer-encoding",
  "content-length",
  "authorization",
  "accept-encoding",
]);
const ADMIN = "relay-admin";

export async function startRelay(options: RelayOptions): Promise<Relay> {
  const api = rawApi(options.kubeconfig);
  const versions = await followVersions(api, options.followed);
  const faults = createFaults(versions.now);
  const users = new Map(options.identities.map(({ token, user }) => [token, user]));
  const telling = new Set<Promise<void>>();
  const wrong: unknown[] = [];

  const server = createServer((request, response) => {
    handle(request, response).catch(() => response.destroy());
  });

  async function handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const at = Date.now();
    const url = new URL(request.url ?? "/", "http://relay");
    const token = /^Bearer\s+(\S+)$/.exec(request.headers.authorization ?? "")?.[1] ?? "";
    const user = users.get(token);
    if (user === undefined && token !== ADMIN) return void response.writeHead(401).end();
    const text = await bodyOf(request);
    const route = routed(request.method ?? "GET", url);
    const pass = { request, response, url, text, user: user ?? null };
    if (route === null || route.verb === "watch" || route.subresource === "log") return stream(api, pass);
    const body = text === "" ? undefined : (JSON.parse(text) as unknown);
    const active = faults.meet({ route, user: user ?? "admin", body });
    const fault = active?.action.do ?? null;
    const told: Pick<SeenRequest, "at" | "user" | "route" | "url" | "body" | "dryRun" | "fault"> = {
      at,
      user: user ?? "admin",
      route,
      url: url.pathname + url.search,
      body,
      dryRun: url.searchParams.get("dryRun") === "All",
      fault,
    };
    const act = async () => {
      const known = versions.follows(of(route)) ? versions.get(route.kind.kind, route.namespace, route.name) : null;
      const stale = active?.action.do === "stale" ? versions.at(of(route), active.version) : null;
      const answer = stale === null ? await passOn(api, pass) : { status: 200, text: JSON.stringify(stale) };
      const done = Date.now();
      const answered = fault !== "drop-after" && !response.destroyed;
      tell({ ...told, done, answered, status: answer.status }, { known: known ?? null, text: answer.text });
      return () => {
        if (response.destroyed) return;
        response.writeHead(answer.status, { "content-type": "application/json" }).end(answer.text);
      };
    };
    if (active === null) return (await act())();
    await withFault(response, { active, act, sleep: (ms) => sleep(ms) });
    if (active.action.do === "answer" || active.action.do === "drop-before") {
      const status = active.action.do === "answer" ? active.action.status : null;
      const object = versions.get(route.kind.kind, route.namespace, route.name) ?? null;
      options.observe?.({ ...told, done: Date.now(), answered: status !== null, status, before: object, after: null });
    }
  }

  /** Once it is known what stood there right before. */
  function tell(seen: Omit<SeenRequest, "before" | "after">, found: { known: Raw | null; text: string }): void {
    if (options.observe === undefined) return;
    const one = stateAround(versions, seen, found).then(
      (states) => options.observe?.({ ...seen, ...states }),
      (error: unknown) => void wrong.push(error),
    );
    telling.add(one);
    void one.then(() => telling.delete(one));
  }

  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  const address = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;

  return {
    url: address,
    get: versions.get,
    list: versions.list,
    faults,
    kubeconfig: (token = ADMIN) => `apiVersion: v1
kind: Config
clusters: [{name: relay, cluster: {server: "${address}"}}]
users: [{name: relay, user: {token: "${token}"}}]
contexts: [{name: relay, context: {cluster: relay, user: relay}}]
current-context: relay
`,
    async settled() {
      while (telling.size > 0) await Promise.all(telling);
      if (wrong.length > 0) throw new AggregateError(wrong, `not told of: ${String(wrong[0])}`);
    },
    async stop() {
      faults.clear();
      await Promise.all(telling);
      server.closeAllConnections();
      await new Promise<void>((done) => server.close(() => done()));
      await versions.stop();
      await api.close();
    },
  };
}

const of = (route: Route) => ({ kind: route.kind.kind, namespace: route.namespace, name: route.name });

/** A path that the stand-in knows nothing of is passed on all the same. */
function routed(method: string, url: URL): Route | null {
  try {
    return routeOf(method, url);
  } catch {
    return null;
  }
}

async function stateAround(
  versions: Versions,
  seen: Omit<SeenRequest, "before" | "after">,
  { known, text }: { known: Raw | null; text: string },
): Promise<Pick<SeenRequest, "before" | "after">> {
  const { route, status, dryRun } = seen;
  if ((status ?? 500) >= 300) return { before: known, after: null };
  if (route.verb === "list") return { before: null, after: null };
  const body = JSON.parse(text) as Raw;
  if (route.verb === "get") return { before: body, after: body };
  if (dryRun) return { before: known, after: known };
  // What is answered to an eviction is no pod.
  if (route.subresource === "eviction" || body["kind"] === "Status") return { before: known, after: null };
  const name = String(body.metadata?.name ?? route.name);
  const version = String(body.metadata?.resourceVersion ?? "");
  if (!versions.follows(of(route))) return { before: null, after: body };
  // A write that changes nothing is answered with the version that was there.
  if (known?.metadata.resourceVersion === version) return { before: known, after: known };
  return { before: await versions.before({ ...of(route), name }, version), after: body };
}

interface Pass {
  request: IncomingMessage;
  response: ServerResponse;
  url: URL;
  text: string;
  /** Null for the administrator. */
  user: string | null;
}

function headersOf(api: RawApi, pass: Pass): Record<string, string> {
  const kept = Object.entries(pass.request.headers).filter(([name]) => !OWN_HEADERS.has(name));
  return {
    ...Object.fromEntries(kept.map(([name, value]) => [name, String(value)])),
    authorization: `Bearer ${api.token}`,
    ...(pass.user === null ? {} : { "impersonate-user": pass.user }),
  };
}

/** Carried out whether its sender still waits or not, as by an API server that has read it. */
async function passOn(api: RawApi, pass: Pass): Promise<{ status: number; text: string }> {
  const answer = await send(api.server + pass.url.pathname + pass.url.search, {
    dispatcher: api.agent,
    method: (pass.request.method ?? "GET") as "GET",
    headers: headersOf(api, pass),
    ...(pass.text === "" ? {} : { body: pass.text }),
  });
  return { status: answer.statusCode, text: await answer.body.text() };
}

/** What is answered little by little goes through as it comes, and ends with whoever reads it. */
async function stream(api: RawApi, pass: Pass): Promise<void> {
  const gone = new AbortController();
  pass.response.once("close", () => gone.abort());
  const answer = await send(api.server + pass.url.pathname + pass.url.search, {
    dispatcher: api.agent,
    method: (pass.request.method ?? "GET") as "GET",
    headers: headersOf(api, pass),
    signal: gone.signal,
    bodyTimeout: 0,
    ...(pass.text === "" ? {} : { body: pass.text }),
  });
  const type = String(answer.headers["content-type"] ?? "application/json");
  pass.response.writeHead(answer.statusCode, { "content-type": type });
  pass.response.flushHeaders();
  await pipeline(answer.body, pass.response);
}

async function bodyOf(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}
