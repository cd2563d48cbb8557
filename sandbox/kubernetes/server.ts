import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { Person } from "./access.js";
import { discover } from "./discovery.js";
import { withFault } from "./apply-fault.js";
import { podLog } from "./pod-requests.js";
import { answer, matcherOf, type Request } from "./requests.js";
import { observed } from "./observe.js";
import { routeOf, type Route } from "./route.js";
import { send } from "./send.js";
import { ApiError, badRequest, forbidden, unauthorized, unsupportedMediaType } from "./status.js";
import { wantsTable } from "./tables.js";
import { watch } from "./watch.js";
import type { World } from "./world.js";

/** HTTP in front of the world: who asks, what for, whether they may, which fault is on, and the answer. */

const MAX_BODY = 3 * 1024 * 1024;
/** kubectl sends no token over plain HTTP: before the path, this prefix and a token stand for the header. */
export const TOKEN_PATH = "/as/";
const anonymous: Person = { user: "system:anonymous", groups: ["system:unauthenticated"] };

export function createHttp(world: World, stop: AbortSignal): Server {
  return createServer((request, response) => {
    handle(world, { request, response, stop }).catch((error: unknown) => {
      if (response.headersSent || response.destroyed) return void response.destroy();
      if (error instanceof ApiError) send(response, error.code, error.status, error.headers);
      else
        send(
          response,
          500,
          new ApiError(500, {
            reason: "InternalError",
            message: `the stand-in failed: ${String((error as Error)?.stack ?? error)}`,
          }).status,
        );
    });
  });
}

interface Exchange {
  request: IncomingMessage;
  response: ServerResponse;
  stop: AbortSignal;
}

async function handle(world: World, http: Exchange): Promise<void> {
  const { request, response } = http;
  response.setHeader("date", new Date(world.clock.now()).toUTCString());
  const [, inPath, path = "/"] = /^\/as\/([^/?]+)(.*)$/.exec(request.url ?? "/") ?? [null, null, request.url];
  const url = new URL(path === "" ? "/" : path, "http://stand-in");
  const text = await readBody(request);
  const person = personOf(world, inPath ?? bearer(request));
  const route = routeOf(request.method ?? "GET", url);
  if (route === null) return sendDocument(response, url.pathname);
  if (!mayAsk(world, person, route)) throw forbidden({ user: person.user, ...route });
  const body = parseBody(request, text);
  const active = world.faults.meet({ route, user: person.user, body });
  const carryOut = () =>
    respond(world, http, {
      route,
      body,
      url,
      person,
      ...(active?.action.do === "stale" ? { at: active.version } : {}),
    });
  const fault = active?.action.do ?? null;
  const watching = observed(world, { response, route, user: person.user, url, body, fault });
  const act = () => watching.act(carryOut);
  if (active === null) return act()();
  await withFault(response, { active, act, sleep: (ms) => world.clock.sleep(ms) });
  watching.never(active.action.do === "answer" ? active.action.status : null);
}

function respond(
  world: World,
  http: Exchange,
  of: { route: Route; body: unknown; url: URL; person: Person; at?: number },
): () => void {
  const { request, response } = http;
  const { route, url } = of;
  const table = wantsTable(request.headers.accept ?? "");
  if (route.verb === "watch") {
    const matches = matcherOf(route.kind, url.searchParams);
    return () =>
      watch(world, { kind: route.kind, namespace: route.namespace, matches, query: url.searchParams, table }, http);
  }
  if (route.subresource === "log" && route.verb === "get") {
    const text = podLog(world, route, url.searchParams);
    return () => void response.writeHead(200, { "content-type": "text/plain" }).end(text);
  }
  const done = answer(world, requestOf(request, { ...of, table }));
  return () => send(response, done.status, done.body);
}

function requestOf(
  request: IncomingMessage,
  of: { route: Route; body: unknown; url: URL; person: Person; at?: number; table: boolean },
): Request {
  const agent = (request.headers["user-agent"] ?? "").split("/")[0] ?? "";
  return {
    route: of.route,
    query: of.url.searchParams,
    body: of.body,
    contentType: request.headers["content-type"] ?? "",
    manager: of.url.searchParams.get("fieldManager") || agent || "unknown",
    person: of.person,
    at: of.at,
    table: of.table,
  };
}

/** The token of the header, "" for another scheme, null without a header. */
function bearer(request: IncomingMessage): string | null {
  const header = request.headers.authorization ?? "";
  return header === "" ? null : (/^Bearer\s+(\S+)$/.exec(header)?.[1] ?? "");
}

function personOf(world: World, token: string | null): Person {
  if (token === null) return anonymous;
  const found = world.access.identify(token);
  if (found === null) throw unauthorized();
  return found;
}

function mayAsk(world: World, person: Person, route: Route): boolean {
  if (route.kind.kind === "SelfSubjectAccessReview") return person !== anonymous;
  const { verb, kind, subresource, namespace, name } = route;
  return world.access.allowed(person, { verb, group: kind.group, resource: kind.plural, subresource, namespace, name });
}

async function readBody(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > MAX_BODY)
      throw new ApiError(413, {
        reason: "RequestEntityTooLarge",
        message: `Request entity too large: limit is ${MAX_BODY}`,
      });
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString();
}

function parseBody(request: IncomingMessage, text: string): unknown {
  if (text === "" || request.method === "GET") return undefined;
  const type = (request.headers["content-type"] ?? "application/json").split(";")[0]?.trim() ?? "";
  const patch = request.method === "PATCH";
  if (
    patch
      ? !/^application\/(json-patch|merge-patch|strategic-merge-patch)\+json$/.test(type)
      : type !== "application/json"
  )
    throw unsupportedMediaType();
  try {
    return JSON.parse(text);
  } catch (error) {
    throw badRequest(
      patch
        ? `error decoding patch: ${(error as Error).message}`
        : `the object provided is unrecognized: couldn't get version/kind; json parse error: ${(error as Error).message}`,
    );
  }
}

function sendDocument(response: ServerResponse, path: string): void {
  const document = discover(path.length > 1 ? path.replace(/\/$/, "") : path);
  if (document !== null && typeof document !== "string") return send(response, 200, document);
  response.writeHead(document === null ? 404 : 200, { "content-type": "text/plain; charset=utf-8" });
  response.end(document ?? "404 page not found\n");
}
