import { isDeepStrictEqual } from "node:util";
import type { Raw } from "./kinds.js";
import { badRequest, rejected } from "./status.js";

/** The three patch formats that kubectl and Nightshift use. Each takes plain JSON and answers a new object. */

type Json = unknown;

/**
 * RFC 6902, with one quirk of the API server's library: `replace` of a member that is not there adds it.
 * Errors: ApiError 400 for something that is no list, 422 for an operation that does not apply.
 */
export function jsonPatch(object: Raw, ops: Json): Raw {
  if (!Array.isArray(ops))
    throw badRequest(
      `error decoding patch: json: cannot unmarshal ${typeOf(ops)} into Go value of type []handlers.jsonPatchOp`,
    );
  const root: Raw = structuredClone(object);
  for (const op of ops as Raw[]) applyOp(root, op);
  return root;
}

function typeOf(value: Json): string {
  return value === null ? "null" : typeof value;
}

function applyOp(root: Raw, op: Raw): void {
  const path = pointer(op.path);
  switch (op.op) {
    case "test": {
      const { parent, key } = locate(root, path);
      const found = read(parent, key);
      if (!isDeepStrictEqual(found ?? null, op.value ?? null)) throw rejected();
      return;
    }
    case "add":
      return write(root, path, structuredClone(op.value), true);
    case "replace":
      return write(root, path, structuredClone(op.value), false);
    case "remove": {
      const { parent, key } = locate(root, path);
      if (read(parent, key) === undefined) throw rejected();
      if (Array.isArray(parent)) parent.splice(Number(key), 1);
      else delete parent[key];
      return;
    }
    case "copy":
    case "move": {
      const from = locate(root, pointer(op.from));
      const value = read(from.parent, from.key);
      if (value === undefined) throw rejected();
      if (op.op === "move") applyOp(root, { op: "remove", path: op.from });
      return write(root, path, structuredClone(value), true);
    }
    default:
      throw rejected();
  }
}

function pointer(path: Json): string[] {
  if (typeof path !== "string" || !path.startsWith("/")) throw rejected();
  return path
    .slice(1)
    .split("/")
    .map((part) => part.replaceAll("~1", "/").replaceAll("~0", "~"));
}

function locate(root: Raw, path: string[]): { parent: Raw; key: string } {
  let parent: Json = root;
  for (const part of path.slice(0, -1)) {
    parent = read(parent as Raw, part);
    if (parent === null || typeof parent !== "object") throw rejected();
  }
  return { parent: parent as Raw, key: path[path.length - 1] ?? "" };
}

function read(parent: Raw, key: string): Json {
  if (Array.isArray(parent)) return /^\d+$/.test(key) ? parent[Number(key)] : undefined;
  return Object.hasOwn(parent, key) ? parent[key] : undefined;
}

function write(root: Raw, path: string[], value: Json, insert: boolean): void {
  const { parent, key } = locate(root, path);
  if (!Array.isArray(parent)) {
    parent[key] = value;
    return;
  }
  const index = key === "-" ? parent.length : Number(key);
  if (!Number.isInteger(index) || index < 0 || index > parent.length || (!insert && index >= parent.length))
    throw rejected();
  if (insert) parent.splice(index, 0, value);
  else parent[index] = value;
}

/** RFC 7386. Errors: ApiError 400 for a body that is no object. */
export function mergePatch(object: Raw, patch: Json): Raw {
  if (!isObject(patch))
    throw badRequest(
      `error decoding patch: json: cannot unmarshal ${Array.isArray(patch) ? "array" : typeOf(patch)} into Go value of type map[string]interface {}`,
    );
  return merged(object, patch, () => null) as Raw;
}

/** Lists of objects that a strategic merge patch joins by one member, by the name of the list. */
const mergeKeys: Record<string, string> = {
  containers: "name",
  initContainers: "name",
  ephemeralContainers: "name",
  env: "name",
  volumes: "name",
  volumeMounts: "mountPath",
  ports: "containerPort",
  conditions: "type",
  imagePullSecrets: "name",
  ownerReferences: "uid",
  hostAliases: "ip",
  topologySpreadConstraints: "topologyKey",
};

/** Strategic merge patch, as far as workloads need it: lists by key, `$patch: replace`, `$patch: delete`, `$retainKeys`. */
export function strategicMergePatch(object: Raw, patch: Json): Raw {
  if (!isObject(patch)) throw badRequest("error decoding patch: the patch is no object");
  return merged(object, patch, (name, parent) =>
    name === "ports" && "selector" in parent ? "port" : (mergeKeys[name] ?? null),
  ) as Raw;
}

type KeyOf = (list: string, parent: Raw) => string | null;

function isObject(value: Json): value is Raw {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function merged(old: Json, patch: Json, keyOf: KeyOf): Json {
  if (!isObject(patch)) return structuredClone(patch);
  const base: Raw = isObject(old) ? old : {};
  if (patch["$patch"] === "replace") {
    const { $patch: _directive, ...rest } = patch;
    return structuredClone(rest);
  }
  const out: Raw = structuredClone(base);
  const retained = patch["$retainKeys"];
  if (Array.isArray(retained)) for (const key of Object.keys(out)) if (!retained.includes(key)) delete out[key];
  for (const [name, value] of Object.entries(patch)) {
    if (name === "$retainKeys" || name.startsWith("$setElementOrder")) continue;
    if (value === null) delete out[name];
    else if (Array.isArray(value)) out[name] = mergedList(out[name], value, { key: keyOf(name, base), keyOf });
    else out[name] = merged(out[name], value, keyOf);
  }
  return out;
}

function mergedList(old: Json, patch: Json[], how: { key: string | null; keyOf: KeyOf }): Json {
  const { key, keyOf } = how;
  const marked = patch.some((item) => isObject(item) && item["$patch"] === "replace");
  if (key === null || marked || !Array.isArray(old)) {
    return patch.filter((item) => !(isObject(item) && "$patch" in item)).map((item) => merged(undefined, item, keyOf));
  }
  let out: Json[] = structuredClone(old);
  for (const item of patch) {
    if (!isObject(item)) continue;
    const at = out.findIndex((other) => isObject(other) && other[key] === item[key]);
    if (item["$patch"] === "delete") out = out.filter((_, index) => index !== at);
    else if (at >= 0) out[at] = merged(out[at], item, keyOf);
    else out.push(merged(undefined, item, keyOf));
  }
  return out;
}
