import { type Kind, type Raw, resourceName } from "./kinds.js";

/** The state: every object, one counter for all versions, and the history that watches and old reads are served from. */

export interface Change {
  version: number;
  type: "ADDED" | "MODIFIED" | "DELETED";
  kind: Kind;
  /** As it is after the change; for a deletion as it was last, with the deletion's version. */
  object: Raw;
  previous: Raw | null;
}

export interface Store {
  readonly version: number;
  get(kind: Kind, namespace: string, name: string): Raw | undefined;
  /** In the order of namespace and name. `at` serves the list as it was at that version. */
  list(kind: Kind, namespace?: string, at?: number): readonly Raw[];
  /** Objects of a kind whose controller has this UID, in the order of namespace and name. */
  ownedBy(kind: Kind, uid: string): readonly Raw[];
  getAt(kind: Kind, namespace: string, name: string, at: number): Raw | undefined;
  /** Adds or replaces; the stored copy carries the next version. Stored objects are never changed in place. */
  put(kind: Kind, object: Raw): Raw;
  remove(kind: Kind, namespace: string, name: string): Raw | undefined;
  /** Changes after `version`, oldest first; null when history no longer reaches back so far. */
  since(version: number, kind: Kind): Change[] | null;
  onChange(listener: (change: Change) => void): () => void;
}

const HISTORY = 20_000;
const FIRST_VERSION = 1000;

function keyOf(namespace: string, name: string): string {
  return `${namespace}/${name}`;
}

/** The objects of one kind, and the two orders in which controllers ask for them, each made when it is first asked for. */
interface Table {
  rows: Map<string, Raw>;
  /** By namespace, sorted; "" for all. Forgotten with each change there. */
  sorted: Map<string, Raw[]>;
  /** By the controller's UID, then by key. */
  owned: Map<string, Map<string, Raw>>;
}

const sortedBy = (rows: Iterable<[string, Raw]>) =>
  [...rows].sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0)).map(([, object]) => object);

function controllerOf(object: Raw | undefined): string | undefined {
  return ((object?.metadata.ownerReferences ?? []) as Raw[]).find((reference) => reference.controller)?.uid;
}

export function createStore(): Store {
  const tables = new Map<string, Table>();
  const listeners = new Set<(change: Change) => void>();
  let history: Change[] = [];
  let oldest = FIRST_VERSION;
  let version = FIRST_VERSION;

  function table(kind: Kind): Table {
    const name = resourceName(kind);
    let found = tables.get(name);
    if (found === undefined) {
      found = { rows: new Map(), sorted: new Map(), owned: new Map() };
      tables.set(name, found);
    }
    return found;
  }

  /** The one place where a row changes. */
  function setRow(of: Table, key: string, next: Raw | undefined): void {
    const previous = of.rows.get(key);
    if (next === undefined) of.rows.delete(key);
    else of.rows.set(key, next);
    of.sorted.delete("");
    of.sorted.delete((next ?? previous)?.metadata.namespace ?? "");
    const [left, joined] = [controllerOf(previous), controllerOf(next)];
    if (left !== undefined && left !== joined) {
      const own = of.owned.get(left);
      own?.delete(key);
      if (own?.size === 0) of.owned.delete(left);
    }
    if (joined === undefined || next === undefined) return;
    const own = of.owned.get(joined) ?? new Map<string, Raw>();
    of.owned.set(joined, own.set(key, next));
  }

  function sorted(of: Table, namespace: string): Raw[] {
    let found = of.sorted.get(namespace);
    if (found === undefined) {
      const rows = [...of.rows].filter(([, row]) => namespace === "" || row.metadata.namespace === namespace);
      found = sortedBy(rows);
      of.sorted.set(namespace, found);
    }
    return found;
  }

  function record(change: Change): void {
    history.push(change);
    if (history.length > HISTORY) {
      const cut = history.length - HISTORY / 2;
      oldest = history[cut - 1]?.version ?? oldest;
      history = history.slice(cut);
    }
    for (const listener of Array.from(listeners)) listener(change);
  }

  /** The table as it was: later changes are taken back, newest first. */
  function tableAt(kind: Kind, at: number): Map<string, Raw> {
    const rows = new Map(table(kind).rows);
    for (let i = history.length - 1; i >= 0; i -= 1) {
      const change = history[i];
      if (change === undefined || change.version <= at) break;
      if (change.kind !== kind) continue;
      const key = keyOf(change.object.metadata.namespace ?? "", change.object.metadata.name);
      if (change.previous === null) rows.delete(key);
      else rows.set(key, change.previous);
    }
    return rows;
  }

  return {
    get version() {
      return version;
    },
    get: (kind, namespace, name) => table(kind).rows.get(keyOf(namespace, name)),
    getAt: (kind, namespace, name, at) => tableAt(kind, at).get(keyOf(namespace, name)),
    list(kind, namespace = "", at) {
      if (at === undefined) return sorted(table(kind), namespace);
      return sortedBy(tableAt(kind, at)).filter((row) => namespace === "" || row.metadata.namespace === namespace);
    },
    ownedBy: (kind, uid) => sortedBy(table(kind).owned.get(uid) ?? []),
    put(kind, object) {
      version += 1;
      const stored: Raw = { ...object, metadata: { ...object.metadata, resourceVersion: String(version) } };
      const key = keyOf(stored.metadata.namespace ?? "", stored.metadata.name);
      const previous = table(kind).rows.get(key) ?? null;
      setRow(table(kind), key, stored);
      record({ version, type: previous === null ? "ADDED" : "MODIFIED", kind, object: stored, previous });
      return stored;
    },
    remove(kind, namespace, name) {
      const previous = table(kind).rows.get(keyOf(namespace, name));
      if (previous === undefined) return undefined;
      version += 1;
      setRow(table(kind), keyOf(namespace, name), undefined);
      const object = { ...previous, metadata: { ...previous.metadata, resourceVersion: String(version) } };
      record({ version, type: "DELETED", kind, object, previous });
      return object;
    },
    since(after, kind) {
      if (after < oldest) return null;
      return history.filter((change) => change.version > after && change.kind === kind);
    },
    onChange(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
}
