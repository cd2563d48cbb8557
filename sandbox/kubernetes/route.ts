import { allKinds, findKind, type Kind } from "./kinds.js";
import { methodNotAllowed, noSuchResource } from "./status.js";

/** What a request is about: the API server's own reading of method and path. */
export interface Route {
  verb: string;
  kind: Kind;
  namespace: string;
  name: string;
  subresource: string;
}

/** Null for a path that is no resource's (discovery, health). Errors: ApiError 404 and 405. */
export function routeOf(method: string, url: URL): Route | null {
  const parts = url.pathname
    .split("/")
    .filter((part) => part !== "")
    .map(decodeURIComponent);
  const core = parts[0] === "api";
  if (!core && parts[0] !== "apis") return null;
  const [group, version] = core ? ["", parts[1]] : [parts[1] ?? "", parts[2]];
  let rest = parts.slice(core ? 2 : 3);
  if (version === undefined || rest.length === 0) return null;
  if (!allKinds.some((kind) => kind.group === group)) return null;
  let namespace = "";
  if (
    rest[0] === "namespaces" &&
    rest.length > 2 &&
    !(core && rest.length === 3 && (rest[2] === "status" || rest[2] === "finalize"))
  ) {
    namespace = rest[1] ?? "";
    rest = rest.slice(2);
  }
  const [plural = "", name = "", subresource = "", ...more] = rest;
  const kind = findKind(group, version, plural);
  if (kind === undefined || more.length > 0) throw noSuchResource();
  if (subresource !== "" && !kind.subresources.includes(subresource)) throw noSuchResource();
  if (namespace !== "" && !kind.namespaced) throw noSuchResource();
  const verb = verbOf(method, { url, name });
  // Of several namespaces things can only be listed.
  if (kind.namespaced && namespace === "" && (name !== "" || (verb !== "list" && verb !== "watch")))
    throw name === "" ? methodNotAllowed() : noSuchResource();
  const one = fieldName(url);
  return {
    verb,
    kind,
    namespace,
    name: name === "" && (verb === "list" || verb === "watch") ? one : name,
    subresource,
  };
}

/** A list of one object by name is authorized as that object. */
function fieldName(url: URL): string {
  return /(?:^|,)metadata\.name==?([^,]+)/.exec(url.searchParams.get("fieldSelector") ?? "")?.[1] ?? "";
}

function verbOf(method: string, of: { url: URL; name: string }): string {
  const watched = ["1", "true"].includes(of.url.searchParams.get("watch") ?? "");
  switch (method) {
    case "GET":
    case "HEAD":
      return of.name !== "" ? "get" : watched ? "watch" : "list";
    case "POST":
      return "create";
    case "PUT":
      return "update";
    case "PATCH":
      return "patch";
    case "DELETE":
      return of.name === "" ? "deletecollection" : "delete";
    default:
      throw methodNotAllowed();
  }
}
