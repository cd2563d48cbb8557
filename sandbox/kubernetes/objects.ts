import { isDeepStrictEqual } from "node:util";
import { type Clock, iso } from "../../src/clock.js";
import { withDefaults } from "./defaults.js";
import type { Ids } from "./ids.js";
import { apiVersionOf, type Kind, kindNamed, type Raw } from "./kinds.js";
import { manage } from "./managed-fields.js";
import { jsonPatch, mergePatch, strategicMergePatch } from "./patch.js";
import {
  alreadyExists,
  ApiError,
  badRequest,
  conflict,
  invalid,
  invalidObject,
  invalidValue,
  notFound,
  preconditionFailed,
  unsupportedMediaType,
} from "./status.js";
import type { Store } from "./store.js";
import { checkKind, checkTypes, validate } from "./validate.js";

/** How an object comes to be, changes and goes: the rules that hold for every writer, controllers included. */

export interface Place {
  kind: Kind;
  /** "" for cluster-scoped kinds. */
  namespace: string;
  name: string;
  /** "" or "status". */
  subresource: string;
}

export interface Write extends Place {
  manager: string;
  dryRun: boolean;
}

export interface Objects {
  create(write: Write, body: Raw): Raw;
  replace(write: Write, body: Raw): Raw;
  /** `type` is the Content-Type. */
  patch(write: Write, type: string, body: unknown): Raw;
  /** The object as it was last, and whether it is gone (a running Pod leaves later). */
  remove(write: Write, options: Raw): { object: Raw; gone: boolean };
}

/** RFC 3339 in whole seconds, as Kubernetes writes times. */
export function seconds(ms: number): string {
  return `${iso(ms).slice(0, 19)}Z`;
}

export function createObjects(of: { store: Store; clock: Clock; ids: Ids }): Objects {
  const { store, clock, ids } = of;

  function existing(place: Place): Raw {
    const found = store.get(place.kind, place.namespace, place.name);
    if (found === undefined) throw notFound(place.kind, place.name);
    return found;
  }

  function create(write: Write, body: Raw): Raw {
    const { kind, namespace } = write;
    checkKind(kind, body);
    checkTypes(kind, body, false);
    const given: Raw = body.metadata ?? {};
    if (given.namespace !== undefined && given.namespace !== "" && given.namespace !== namespace) {
      throw badRequest("the namespace of the provided object does not match the namespace sent on the request");
    }
    if (given.resourceVersion)
      throw new ApiError(500, {
        reason: "InternalError",
        message: "resourceVersion should not be set on objects to be created",
      });
    const name: string = given.name || (given.generateName ? `${given.generateName}${ids.suffix()}` : "");
    const home = kind.namespaced ? store.get(kindNamed("Namespace"), "", namespace) : null;
    if (home === undefined) throw notFound(kindNamed("Namespace"), namespace);
    if (home?.status?.phase === "Terminating") {
      const why = `unable to create new content in namespace ${namespace} because it is being terminated`;
      throw new ApiError(403, {
        reason: "Forbidden",
        message: `${kind.plural} ${JSON.stringify(name)} is forbidden: ${why}`,
        details: { name, kind: kind.plural },
      });
    }
    const {
      selfLink: _link,
      deletionTimestamp: _gone,
      resourceVersion: _version,
      managedFields: _fields,
      ...kept
    } = given;
    const object = withDefaults(kind, {
      ...body,
      kind: kind.kind,
      apiVersion: apiVersionOf(kind),
      metadata: {
        ...kept,
        name,
        ...(kind.namespaced ? { namespace } : {}),
        uid: ids.uid(),
        creationTimestamp: seconds(clock.now()),
        ...(kind.generation === "none" ? {} : { generation: 1 }),
      },
      ...(kind.subresources.includes("status") ? { status: undefined } : {}),
    });
    if (object.status === undefined) delete object.status;
    validate(kind, object, null);
    if (store.get(kind, namespace, name) !== undefined) throw alreadyExists(kind, name);
    object.metadata.managedFields = manage(null, object, writerOf(write));
    return write.dryRun
      ? { ...object, metadata: { ...object.metadata, resourceVersion: "" } }
      : store.put(kind, object);
  }

  function writerOf(write: Write) {
    return {
      manager: write.manager,
      apiVersion: apiVersionOf(write.kind),
      subresource: write.subresource,
      time: seconds(clock.now()),
    };
  }

  function update(write: Write, old: Raw, how: { incoming: Raw; byPatch: boolean }): Raw {
    const { kind, name, namespace } = write;
    const { incoming, byPatch } = how;
    const given: Raw = incoming.metadata ?? {};
    if (given.name !== name) {
      throw badRequest(`the name of the object (${given.name ?? ""}) does not match the name on the URL (${name})`);
    }
    if (kind.namespaced && given.namespace !== undefined && given.namespace !== namespace) {
      throw badRequest(`the namespace of the provided object does not match the namespace sent on the request`);
    }
    checkTypes(kind, incoming, byPatch);
    const version = given.resourceVersion ?? "";
    if (version !== "" && version !== old.metadata.resourceVersion) throw conflict(kind, name);
    if (version === "" && !kind.unconditional && !byPatch) {
      const cause = invalidValue("metadata.resourceVersion", 0, "must be specified for an update");
      const qualified = kind.group === "" ? kind.plural : `${kind.plural}.${kind.group}`;
      throw invalid({ name, group: kind.group, kind: kind.plural, qualified }, [cause]);
    }
    if (given.uid !== undefined && given.uid !== old.metadata.uid) {
      if (byPatch) throw invalidObject(kind, name, [invalidValue("metadata.uid", given.uid, "field is immutable")]);
      throw conflict(
        kind,
        name,
        `StorageError: invalid object, Code: 4, Key: /registry/${kind.plural}/${namespace}/${name}, ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: UID in precondition: ${given.uid}, UID in object meta: ${old.metadata.uid}`,
      );
    }
    const next = prepared(write, old, incoming);
    validate(kind, next, old);
    if (sameObject(old, next)) return old;
    next.metadata.managedFields = manage(old, next, writerOf(write));
    if (write.dryRun) return next;
    const stored = store.put(kind, next);
    if (
      stored.metadata.deletionTimestamp !== undefined &&
      (stored.metadata.finalizers ?? []).length === 0 &&
      kind.kind !== "Pod"
    ) {
      store.remove(kind, namespace, name);
    }
    return stored;
  }

  /** What a writer may not change stays; generation moves as the kind's rule says. */
  function prepared(write: Write, old: Raw, incoming: Raw): Raw {
    const { kind } = write;
    const status = write.subresource === "status";
    const {
      creationTimestamp,
      uid,
      generation,
      deletionTimestamp,
      deletionGracePeriodSeconds,
      managedFields,
      resourceVersion,
      namespace,
    } = old.metadata;
    const fixed = {
      creationTimestamp,
      uid,
      generation,
      deletionTimestamp,
      deletionGracePeriodSeconds,
      managedFields,
      resourceVersion,
      namespace,
    };
    const metadata: Raw = { ...incoming.metadata };
    for (const [key, value] of Object.entries(fixed)) {
      if (value === undefined) delete metadata[key];
      else metadata[key] = value;
    }
    // Annotations, unlike labels, can be written beside the status: the Deployment controller keeps its revision that way.
    if (status && old.metadata.labels !== undefined) metadata.labels = old.metadata.labels;
    for (const map of ["labels", "annotations"])
      if (metadata[map] === null || isDeepStrictEqual(metadata[map], {})) delete metadata[map];
    const next = status
      ? { ...old, metadata, status: incoming.status ?? {} }
      : withDefaults(kind, {
          ...incoming,
          kind: kind.kind,
          apiVersion: apiVersionOf(kind),
          metadata,
          ...(kind.subresources.includes("status") ? { status: old.status } : {}),
        });
    if (next.status === undefined) delete next.status;
    if (!status && kind.generation !== "none") {
      const annotated =
        kind.generation === "spec-and-annotations" &&
        !isDeepStrictEqual(old.metadata.annotations ?? {}, next.metadata.annotations ?? {});
      if (annotated || !isDeepStrictEqual(old.spec, next.spec))
        next.metadata.generation = (old.metadata.generation ?? 0) + 1;
    }
    return next;
  }

  return {
    create,
    replace(write, body) {
      checkKind(write.kind, body);
      const old = store.get(write.kind, write.namespace, write.name);
      if (old === undefined) {
        if (body.metadata?.name !== write.name)
          throw badRequest(
            `the name of the object (${body.metadata?.name ?? ""}) does not match the name on the URL (${write.name})`,
          );
        throw notFound(write.kind, write.name);
      }
      return update(write, old, { incoming: body, byPatch: false });
    },
    patch(write, type, body) {
      const old = existing(write);
      return update(write, old, { incoming: patched(old, type, body), byPatch: true });
    },
    remove(write, options) {
      const { kind, namespace, name } = write;
      const old = existing(write);
      const { uid, resourceVersion } = (options.preconditions ?? {}) as { uid?: string; resourceVersion?: string };
      if (uid !== undefined && uid !== old.metadata.uid) {
        throw preconditionFailed(
          kind,
          name,
          `the UID in the precondition (${uid}) does not match the UID in record (${old.metadata.uid}). The object might have been deleted and then recreated`,
        );
      }
      if (resourceVersion !== undefined && resourceVersion !== old.metadata.resourceVersion) {
        throw preconditionFailed(
          kind,
          name,
          `the ResourceVersion in the precondition (${resourceVersion}) does not match the ResourceVersion in record (${old.metadata.resourceVersion}). The object might have been modified`,
        );
      }
      if (write.dryRun) return { object: old, gone: true };
      if (kind.kind === "Namespace") {
        // It leaves once everything in it has left.
        const metadata = { ...old.metadata, deletionTimestamp: old.metadata.deletionTimestamp ?? seconds(clock.now()) };
        return {
          object: store.put(kind, { ...old, metadata, status: { ...old.status, phase: "Terminating" } }),
          gone: false,
        };
      }
      const grace =
        options.gracePeriodSeconds ?? (kind.kind === "Pod" ? (old.spec.terminationGracePeriodSeconds ?? 30) : 0);
      const running = kind.kind === "Pod" && old.spec.nodeName !== undefined && grace > 0;
      if (!running && (old.metadata.finalizers ?? []).length === 0) {
        return { object: store.remove(kind, namespace, name) ?? old, gone: true };
      }
      if (old.metadata.deletionTimestamp !== undefined) return { object: old, gone: false };
      const metadata = {
        ...old.metadata,
        deletionTimestamp: seconds(clock.now() + grace * 1000),
        deletionGracePeriodSeconds: grace,
      };
      return { object: store.put(kind, { ...old, metadata }), gone: false };
    },
  };
}

function patched(old: Raw, type: string, body: unknown): Raw {
  switch (type.split(";")[0]?.trim()) {
    case "application/json-patch+json":
      return jsonPatch(old, body);
    case "application/merge-patch+json":
      return mergePatch(old, body);
    case "application/strategic-merge-patch+json":
      return strategicMergePatch(old, body);
    default:
      throw unsupportedMediaType();
  }
}

function sameObject(a: Raw, b: Raw): boolean {
  const bare = (object: Raw) => ({ ...object, metadata: { ...object.metadata, managedFields: null } });
  return isDeepStrictEqual(bare(a), bare(b));
}
