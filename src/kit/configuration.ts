/** What a pod template reads from ConfigMaps and Secrets, and whether it is still what it was. For runbooks. */
import type { ClusterReader, KubeObject } from "../cluster.js";
import { digestOf } from "../plan/digest.js";
import type { Skip } from "../runbook.js";
import type { Target } from "../target/target.js";

/** A ConfigMap written this shortly before the new revision came with it. */
const SAME_RELEASE_MS = 60_000;

/** One object that the template reads, with a digest of its content. */
export type ConfigFact = { kind: string; name: string; digest: string };

/** A ConfigMap or Secret that a pod template names. */
export interface ConfigRef {
  kind: "ConfigMap" | "Secret";
  name: string;
  /** Keys that are read; null for all of them. */
  keys: Set<string> | null;
  optional: boolean;
}

export interface ConfigQuestion {
  target: Target;
  template: KubeObject["spec"];
  cluster: ClusterReader;
  /** Creation of the revision that runs now, and of the one to go back to. */
  window: { from: number; to: number };
}

/** What the template to go back to reads must be there, and must not have changed since it last ran. */
export async function configurationOf(q: ConfigQuestion): Promise<{ found: ConfigFact[]; notes: string[] } | Skip> {
  const found: ConfigFact[] = [];
  const notes: string[] = [];
  for (const ref of references(q.template)) {
    const name = `${ref.kind} ${q.target.namespace}/${ref.name}`;
    let object: KubeObject | null;
    try {
      object = await q.cluster.get({ apiVersion: "v1", kind: ref.kind, namespace: q.target.namespace, name: ref.name });
    } catch (error) {
      if ((error as { status?: unknown }).status !== 403) throw error;
      notes.push(`${name} not checked: no right to read it`);
      continue;
    }
    if (object === null) {
      if (ref.optional) continue;
      return { skip: "config-gone", sentence: `${name} is gone, and the earlier revision needs it: put it back first` };
    }
    const changed = changedSince(object, ref.keys, q.window);
    if (changed !== null) {
      return {
        skip: "config-changed",
        sentence: `${name} changed at ${changed.at}${changed.by === "" ? "" : ` (${changed.by})`}, after the earlier revision last ran: rolling back the pods would not roll that back; decide about both`,
      };
    }
    found.push({ kind: ref.kind, name: ref.name, digest: contentDigest(object) });
  }
  if (found.length > 0)
    notes.push(`configuration unchanged: ${found.map((one) => `${one.kind} ${one.name}`).join(", ")}`);
  return { found, notes };
}

/** ConfigMaps and Secrets that a template needs and that are gone; one that may not be read counts as there. Errors: ClusterError. */
export async function missingReferences(q: {
  namespace: string;
  template: KubeObject["spec"];
  cluster: ClusterReader;
}): Promise<string[]> {
  const gone = async (ref: ConfigRef) => {
    try {
      const at = { apiVersion: "v1", kind: ref.kind, namespace: q.namespace, name: ref.name };
      return (await q.cluster.get(at)) === null;
    } catch (error) {
      if ((error as { status?: unknown }).status !== 403) throw error;
      return false;
    }
  };
  const needed = references(q.template).filter((ref) => !ref.optional);
  const found = await Promise.all(needed.map(gone));
  return needed.filter((_, i) => found[i]).map((ref) => `${ref.kind} ${q.namespace}/${ref.name}`);
}

/** A Secret's content never leaves it, not even as a hash: when its data were written says enough. */
export function contentDigest(object: KubeObject): string {
  if (object.kind !== "Secret") return digestOf([object["data"] ?? null, object["binaryData"] ?? null]);
  const writes = (object.metadata.managedFields ?? []).filter((entry) => entry.fieldsV1?.["f:data"] !== undefined);
  return digestOf([object.metadata.uid, ...writes.map((entry) => `${entry.manager ?? ""} ${entry.time ?? ""}`)]);
}

/** The newest write of a key that is read, later than the release that is to be taken back began. */
function changedSince(
  object: KubeObject,
  keys: Set<string> | null,
  window: ConfigQuestion["window"],
): { at: string; by: string } | null {
  const late = (time: string | undefined) => {
    const at = Date.parse(time ?? "");
    return at > window.from || (at > window.to && window.from - at < SAME_RELEASE_MS);
  };
  if (late(object.metadata.creationTimestamp)) return { at: object.metadata.creationTimestamp ?? "", by: "created" };
  for (const entry of object.metadata.managedFields ?? []) {
    if (!late(entry.time)) continue;
    const data = {
      ...(entry.fieldsV1?.["f:data"] as object | undefined),
      ...(entry.fieldsV1?.["f:binaryData"] as object | undefined),
    };
    const written = Object.keys(data)
      .filter((key) => key.startsWith("f:"))
      .map((key) => key.slice(2));
    if (written.length === 0) continue;
    if (keys === null || written.some((key) => keys.has(key))) return { at: entry.time ?? "", by: entry.manager ?? "" };
  }
  return null;
}

/** Every ConfigMap and Secret that a pod template names. */
export function references(template: KubeObject["spec"]): ConfigRef[] {
  const refs = new Map<string, ConfigRef>();
  const add = (
    kind: ConfigRef["kind"],
    name: string | undefined,
    of: { key?: string | undefined; optional?: boolean | undefined },
  ) => {
    if (!name) return;
    const known = refs.get(`${kind}/${name}`) ?? { kind, name, keys: new Set<string>(), optional: true };
    if (of.key === undefined) known.keys = null;
    else known.keys?.add(of.key);
    if (!of.optional) known.optional = false;
    refs.set(`${kind}/${name}`, known);
  };
  const spec = template?.spec ?? {};
  for (const container of [...(spec.initContainers ?? []), ...(spec.containers ?? [])]) {
    for (const env of container.env ?? []) {
      const { configMapKeyRef, secretKeyRef } = env.valueFrom ?? {};
      add("ConfigMap", configMapKeyRef?.name, configMapKeyRef ?? {});
      add("Secret", secretKeyRef?.name, secretKeyRef ?? {});
    }
    for (const source of container.envFrom ?? []) {
      add("ConfigMap", source.configMapRef?.name, { optional: source.configMapRef?.optional });
      add("Secret", source.secretRef?.name, { optional: source.secretRef?.optional });
    }
  }
  for (const volume of spec.volumes ?? []) {
    add("ConfigMap", volume.configMap?.name, { optional: volume.configMap?.optional });
    add("Secret", volume.secret?.secretName, { optional: volume.secret?.optional });
    for (const source of volume.projected?.sources ?? []) {
      add("ConfigMap", source.configMap?.name, { optional: source.configMap?.optional });
      add("Secret", source.secret?.name, { optional: source.secret?.optional });
    }
  }
  for (const pull of spec.imagePullSecrets ?? []) add("Secret", pull.name, {});
  return [...refs.values()];
}

/** Who wrote its data last, in brackets; nothing where that is not known. */
export function newestWriter(object: KubeObject): string {
  const entries = (object.metadata.managedFields ?? []).filter((entry) => entry.fieldsV1?.["f:data"] !== undefined);
  const newest = entries.sort((a, b) => Date.parse(b.time ?? "") - Date.parse(a.time ?? ""))[0];
  const keys = Object.keys((newest?.fieldsV1?.["f:data"] as object | undefined) ?? {})
    .filter((key) => key.startsWith("f:"))
    .map((key) => key.slice(2));
  return newest === undefined
    ? ""
    : ` (by ${newest.manager ?? "somebody"}${keys.length > 0 && keys.length < 6 ? `, keys ${keys.join(", ")}` : ""})`;
}
