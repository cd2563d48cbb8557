import { isDeepStrictEqual } from "node:util";
import type { Raw } from "./kinds.js";

/** Who wrote which field: metadata.managedFields by the rule of updates (the last writer of a value owns it). */

interface Writer {
  manager: string;
  apiVersion: string;
  subresource: string;
  /** RFC 3339 without fractions. */
  time: string;
}

/** Members that identify the items of a list. Other lists are one value. */
const listKeys: Record<string, string> = {
  containers: "name",
  initContainers: "name",
  env: "name",
  volumes: "name",
  conditions: "type",
};
const ours = new Set(["labels", "annotations", "finalizers", "ownerReferences", "generateName"]);
const SEPARATOR = "\u0000";

/** The entries after a write of `next` over `previous`. */
export function manage(previous: Raw | null, next: Raw, writer: Writer): Raw[] {
  const before = leaves(previous ?? {});
  const after = leaves(next);
  const touched = new Set(
    [...after].filter(([path, value]) => !before.has(path) || !same(before.get(path), value)).map(([path]) => path),
  );
  const removed = [...before.keys()].some((path) => !after.has(path));
  const mine = (entry: Raw) =>
    entry.manager === writer.manager &&
    (entry.subresource ?? "") === writer.subresource &&
    entry.apiVersion === writer.apiVersion;
  const entries: Raw[] = [];
  let own = new Set<string>(touched);
  let ownTime = writer.time;
  for (const entry of (previous?.metadata?.managedFields ?? []) as Raw[]) {
    const kept = new Set(paths(entry.fieldsV1 ?? {}).filter((path) => after.has(path) && !touched.has(path)));
    if (mine(entry)) {
      own = new Set([...kept, ...touched]);
      if (touched.size === 0 && !removed) ownTime = entry.time;
    } else if (kept.size > 0) {
      entries.push({ ...entry, fieldsV1: tree(kept) });
    }
  }
  if (own.size > 0) {
    entries.push({
      manager: writer.manager,
      operation: "Update",
      apiVersion: writer.apiVersion,
      time: ownTime,
      fieldsType: "FieldsV1",
      fieldsV1: tree(own),
      ...(writer.subresource === "" ? {} : { subresource: writer.subresource }),
    });
  }
  return entries;
}

function leaves(object: Raw): Map<string, unknown> {
  const out = new Map<string, unknown>();
  for (const [key, value] of Object.entries(object)) {
    if (key === "apiVersion" || key === "kind") continue;
    if (key !== "metadata") walk(value, [`f:${key}`], { out, key });
    else
      for (const [name, part] of Object.entries(value as Raw))
        if (ours.has(name)) walk(part, ["f:metadata", `f:${name}`], { out, key: name });
  }
  return out;
}

function walk(value: unknown, path: string[], at: { out: Map<string, unknown>; key: string }): void {
  const listKey = listKeys[at.key];
  if (Array.isArray(value) && listKey !== undefined) {
    for (const item of value as Raw[]) {
      for (const [key, part] of Object.entries(item))
        walk(part, [...path, `k:${JSON.stringify({ [listKey]: item[listKey] })}`, `f:${key}`], { out: at.out, key });
    }
  } else if (typeof value === "object" && value !== null && !Array.isArray(value) && Object.keys(value).length > 0) {
    for (const [key, part] of Object.entries(value)) walk(part, [...path, `f:${key}`], { out: at.out, key });
  } else {
    at.out.set(path.join(SEPARATOR), value);
  }
}

function tree(all: Set<string>): Raw {
  const root: Raw = {};
  for (const path of [...all].sort()) {
    let here = root;
    for (const part of path.split(SEPARATOR)) here = here[part] ??= {};
  }
  return root;
}

function paths(node: Raw, prefix: string[] = []): string[] {
  const keys = Object.keys(node);
  if (keys.length === 0) return prefix.length === 0 ? [] : [prefix.join(SEPARATOR)];
  return keys.flatMap((key) => paths(node[key], [...prefix, key]));
}

/** Most leaves are words and numbers. */
function same(a: unknown, b: unknown): boolean {
  return a === b || (typeof a === "object" && typeof b === "object" && isDeepStrictEqual(a, b));
}
