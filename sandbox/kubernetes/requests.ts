import { personOf, type Person } from "./access.js";
import { listOf } from "./discovery.js";
import { apiVersionOf, type Kind, kindNamed, type Raw } from "./kinds.js";
import { mergePatch } from "./patch.js";
import { evict } from "./pod-requests.js";
import type { Route } from "./route.js";
import { fieldMatcher, labelMatcher, type Matcher } from "./select.js";
import { ApiError, badRequest, conflict, methodNotAllowed, notFound, success, unsupportedMediaType } from "./status.js";
import { tableOf } from "./tables.js";
import type { World } from "./world.js";

/** One request, parsed and authorized. */
export interface Request {
  route: Route;
  query: URLSearchParams;
  body: unknown;
  contentType: string;
  manager: string;
  person: Person;
  /** Reads are served as of this version; undefined for the present. */
  at: number | undefined;
  table: boolean;
}

export interface Answer {
  status: number;
  body: Raw;
}

/** Carries out everything but watches and logs. Errors: ApiError. */
export function answer(world: World, request: Request): Answer {
  const { route } = request;
  if (route.kind.kind.endsWith("AccessReview")) return review(world, request);
  switch (route.verb) {
    case "get":
      return { status: 200, body: shown(world, request, read(world, request)) };
    case "list":
      return { status: 200, body: list(world, request) };
    default:
      return write(world, request);
  }
}

function read(world: World, { route, at }: Request): Raw {
  const { kind, namespace, name } = route;
  const found =
    at === undefined ? world.store.get(kind, namespace, name) : world.store.getAt(kind, namespace, name, at);
  if (found === undefined) throw notFound(kind, name);
  return route.subresource === "scale" ? scaleOf(found) : found;
}

function shown(world: World, request: Request, object: Raw): Raw {
  if (!request.table || request.route.subresource !== "") return object;
  return tableOf(request.route.kind, [object], {
    metadata: { resourceVersion: object.metadata.resourceVersion },
    now: world.clock.now(),
  });
}

export function matcherOf(kind: Kind, query: URLSearchParams): Matcher {
  const labels = labelMatcher(query.get("labelSelector") ?? "");
  const fields = fieldMatcher(kind, query.get("fieldSelector") ?? "");
  return (object) => labels(object) && fields(object);
}

function list(world: World, { route, query, at, table }: Request): Raw {
  const { kind, namespace } = route;
  const matches = matcherOf(kind, query);
  const limit = parseLimit(query.get("limit"));
  const token = parseContinue(query.get("continue"));
  const exact = query.get("resourceVersionMatch") === "Exact" ? Number(query.get("resourceVersion")) : undefined;
  const version = token?.rv ?? exact ?? at ?? world.store.version;
  if (world.store.since(version, kind) === null) {
    throw new ApiError(410, {
      reason: "Expired",
      message: "The provided continue parameter is too old to display a consistent list result.",
    });
  }
  const all = world.store.list(kind, namespace, version === world.store.version ? undefined : version).filter(matches);
  const keyOf = (object: Raw) => `${object.metadata.namespace ?? ""}/${object.metadata.name}`;
  const rest = token === null ? all : all.filter((object) => keyOf(object) > token.start);
  const page = limit === 0 ? rest : rest.slice(0, limit);
  const left = rest.length - page.length;
  const last = page[page.length - 1];
  const selected = query.has("labelSelector") || query.has("fieldSelector");
  const metadata = {
    resourceVersion: String(version),
    ...(left > 0 && last !== undefined
      ? { continue: continueToken(version, keyOf(last)), ...(selected ? {} : { remainingItemCount: left }) }
      : {}),
  };
  if (table) return tableOf(kind, page, { metadata, now: world.clock.now() });
  // A list names its kind once, for all of its items.
  return listOf(
    kind,
    page.map(({ kind: _kind, apiVersion: _version, ...object }) => object),
    metadata,
  );
}

function parseLimit(text: string | null): number {
  if (text === null || text === "") return 0;
  if (!/^-?\d+$/.test(text)) throw badRequest(`strconv.ParseInt: parsing ${JSON.stringify(text)}: invalid syntax`);
  return Number(text);
}

function continueToken(rv: number, start: string): string {
  return Buffer.from(JSON.stringify({ v: "meta.k8s.io/v1", rv, start })).toString("base64url");
}

function parseContinue(text: string | null): { rv: number; start: string } | null {
  if (text === null || text === "") return null;
  try {
    const { rv, start } = JSON.parse(Buffer.from(text, "base64url").toString()) as { rv: number; start: string };
    if (typeof rv === "number" && typeof start === "string") return { rv, start };
  } catch {
    // Told below, as for a token of another shape.
  }
  throw badRequest("invalid continue token: continue key is not valid");
}

function write(world: World, request: Request): Answer {
  const { route, body } = request;
  const before = world.store.get(route.kind, route.namespace, route.name) ?? null;
  const dryRun = isDryRun(request);
  const done = apply(world, request, dryRun);
  if (!dryRun) {
    const name =
      route.verb === "create" && route.subresource === ""
        ? (done.body.metadata?.name ?? (body as Raw)?.metadata?.name ?? "")
        : route.name;
    world.log.note(
      { route: { ...route, name }, user: request.person.user },
      before,
      world.store.get(route.kind, route.namespace, name) ?? null,
    );
  }
  return done;
}

function isDryRun({ query, route, body }: Request): boolean {
  const options = (route.subresource === "eviction" ? (body as Raw | null)?.deleteOptions : body) as Raw | null;
  // What takes an object away may also say so in its body.
  const said = route.verb === "delete" || route.subresource === "eviction" ? (options?.dryRun ?? []) : [];
  const asked = [...query.getAll("dryRun"), ...(said as string[])];
  const wrong = asked.filter((value) => value !== "All");
  if (wrong.length > 0) {
    const of =
      { create: "CreateOptions", update: "UpdateOptions", patch: "PatchOptions" }[route.verb] ?? "DeleteOptions";
    const message = `Unsupported value: ${JSON.stringify(wrong)}: supported values: "All"`;
    const causes = [{ reason: "FieldValueNotSupported", message, field: "dryRun" }];
    throw new ApiError(422, {
      reason: "Invalid",
      message: `${of}.meta.k8s.io "" is invalid: dryRun: ${message}`,
      details: { group: "meta.k8s.io", kind: of, causes },
    });
  }
  return asked.length > 0;
}

function apply(world: World, request: Request, dryRun: boolean): Answer {
  const { route, manager, contentType } = request;
  const { kind, namespace, name, subresource, verb } = route;
  const body = request.body as Raw;
  const target = { kind, namespace, name, subresource, manager, dryRun };
  if (subresource === "eviction") {
    if (verb !== "create") throw methodNotAllowed();
    return { status: 201, body: evict(world, target, body ?? {}) };
  }
  if (subresource === "log") throw methodNotAllowed();
  if (subresource === "scale") return { status: 200, body: scale(world, request, dryRun) };
  switch (verb) {
    case "create":
      if (name !== "") throw methodNotAllowed();
      return { status: 201, body: world.objects.create(target, body) };
    case "update":
      return { status: 200, body: world.objects.replace(target, body) };
    case "patch":
      return { status: 200, body: world.objects.patch(target, contentType, body) };
    case "delete": {
      const options = {
        ...body,
        ...(request.query.has("propagationPolicy")
          ? { propagationPolicy: request.query.get("propagationPolicy") }
          : {}),
      };
      const { object } = world.objects.remove(target, options);
      if (!dryRun && options.propagationPolicy === "Orphan") orphan(world, object);
      return { status: 200, body: kind.kind === "Pod" || kind.kind === "Namespace" ? object : success(kind, object) };
    }
    default: {
      const gone = world.store.list(kind, namespace).filter(matcherOf(kind, request.query));
      for (const object of gone) world.objects.remove({ ...target, name: object.metadata.name }, body ?? {});
      return { status: 200, body: listOf(kind, gone, { resourceVersion: String(world.store.version) }) };
    }
  }
}

/** Those whom the object owned stay, and forget it. */
function orphan(world: World, owner: Raw): void {
  for (const kind of [kindNamed("ReplicaSet"), kindNamed("Pod")]) {
    for (const object of world.store.list(kind, owner.metadata.namespace)) {
      const kept = ((object.metadata.ownerReferences ?? []) as Raw[]).filter(
        (reference) => reference.uid !== owner.metadata.uid,
      );
      if (kept.length === (object.metadata.ownerReferences ?? []).length) continue;
      const { ownerReferences: _all, ...metadata } = object.metadata;
      world.store.put(kind, {
        ...object,
        metadata: kept.length === 0 ? metadata : { ...metadata, ownerReferences: kept },
      });
    }
  }
}

function scaleOf(object: Raw): Raw {
  const { name, namespace, uid, resourceVersion, creationTimestamp } = object.metadata;
  const labels = Object.entries(object.spec.selector?.matchLabels ?? {});
  const selector = labels.map(([key, value]) => `${key}=${value}`).join(",");
  return {
    kind: "Scale",
    apiVersion: "autoscaling/v1",
    metadata: { name, namespace, uid, resourceVersion, creationTimestamp },
    spec: { replicas: object.spec.replicas },
    status: { replicas: object.status?.replicas ?? 0, selector },
  };
}

function scale(world: World, request: Request, dryRun: boolean): Raw {
  const { route, manager, contentType, body } = request;
  const { kind, namespace, name } = route;
  const old = world.store.get(kind, namespace, name);
  if (old === undefined) throw notFound(kind, name);
  let wanted = body as Raw;
  if (route.verb === "patch") {
    if (!/^application\/(strategic-)?merge-patch\+json/.test(contentType)) throw unsupportedMediaType();
    wanted = mergePatch(scaleOf(old), body);
  } else if (route.verb !== "update") {
    throw methodNotAllowed();
  }
  const version = wanted.metadata?.resourceVersion ?? "";
  if (version !== "" && version !== old.metadata.resourceVersion) throw conflict(kind, name);
  const target = { kind, namespace, name, subresource: "scale", manager, dryRun };
  return scaleOf(
    world.objects.patch(target, "application/merge-patch+json", { spec: { replicas: wanted.spec?.replicas ?? 0 } }),
  );
}

/** Answers who may do what; nothing is stored. */
function review(world: World, { route, body, person }: Request): Answer {
  if (route.verb !== "create") throw methodNotAllowed();
  const spec: Raw = (body as Raw)?.spec ?? {};
  const a: Raw = spec.resourceAttributes ?? {};
  const who = route.kind.kind.startsWith("Self") ? person : personOf(spec.user ?? "", spec.groups ?? []);
  const question = {
    verb: a.verb ?? "",
    group: a.group ?? "",
    resource: a.resource ?? "",
    subresource: a.subresource ?? "",
    namespace: a.namespace ?? "",
    name: a.name ?? "",
  };
  const allowed = world.access.allowed(who, question);
  return {
    status: 201,
    body: { kind: route.kind.kind, apiVersion: apiVersionOf(route.kind), metadata: {}, spec, status: { allowed } },
  };
}
