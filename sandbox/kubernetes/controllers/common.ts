import { isDeepStrictEqual } from "node:util";
import { type Kind, kindNamed, type Raw } from "../kinds.js";
import { seconds } from "../objects.js";
import type { World } from "../world.js";

/** What the controllers share: owners, status writes, events. Controllers write by the same rules as everybody. */

export const MANAGER = "kube-controller-manager";

/** Objects of a kind whose controller is `owner`. */
export function ownedBy(world: World, owner: Raw, kind: Kind): readonly Raw[] {
  return world.store.ownedBy(kind, owner.metadata.uid);
}

/** Namespaces on their way out get nothing new. */
export function isLeaving(world: World, object: Raw): boolean {
  const namespace = world.store.get(kindNamed("Namespace"), "", object.metadata.namespace ?? "");
  return namespace?.status?.phase === "Terminating";
}

export function ownerReference(owner: Raw): Raw {
  return {
    apiVersion: owner.apiVersion,
    kind: owner.kind,
    name: owner.metadata.name,
    uid: owner.metadata.uid,
    controller: true,
    blockOwnerDeletion: true,
  };
}

/** Writes status and annotations of an object as they should be; nothing where they are so already. */
export function writeStatus(world: World, object: Raw, to: { status: Raw; annotations?: Raw; manager?: string }): Raw {
  const annotations = to.annotations ?? object.metadata.annotations;
  if (isDeepStrictEqual(object.status, to.status) && isDeepStrictEqual(object.metadata.annotations, annotations))
    return object;
  const kind = kindNamed(object.kind);
  const place = { kind, namespace: object.metadata.namespace ?? "", name: object.metadata.name, subresource: "status" };
  const metadata = { ...object.metadata, ...(annotations === undefined ? {} : { annotations }) };
  return world.objects.replace(
    { ...place, manager: to.manager ?? MANAGER, dryRun: false },
    { ...object, metadata, status: to.status },
  );
}

export function update(world: World, object: Raw): Raw {
  const place = {
    kind: kindNamed(object.kind),
    namespace: object.metadata.namespace ?? "",
    name: object.metadata.name,
    subresource: "",
  };
  return world.objects.replace({ ...place, manager: MANAGER, dryRun: false }, object);
}

export function create(world: World, object: Raw): Raw {
  const place = {
    kind: kindNamed(object.kind),
    namespace: object.metadata.namespace ?? "",
    name: object.metadata.name ?? "",
    subresource: "",
  };
  return world.objects.create({ ...place, manager: MANAGER, dryRun: false }, object);
}

export function remove(world: World, object: Raw): void {
  const kind = kindNamed(object.kind);
  world.objects.remove(
    {
      kind,
      namespace: object.metadata.namespace ?? "",
      name: object.metadata.name,
      subresource: "",
      manager: MANAGER,
      dryRun: false,
    },
    {},
  );
}

/** Names of the Events of each world, by what they say of whom. */
const events = new WeakMap<World, Map<string, string>>();
function told(world: World): Map<string, string> {
  const known = events.get(world) ?? new Map<string, string>();
  events.set(world, known);
  return known;
}

/** Writes an Event, or counts the same one up. */
export function emit(
  world: World,
  about: Raw,
  event: { type?: "Normal" | "Warning"; reason: string; message: string; component: string },
): void {
  const kind = kindNamed("Event");
  const now = seconds(world.clock.now());
  const { name, uid, resourceVersion } = about.metadata;
  const namespace = about.metadata.namespace ?? "default";
  const said = told(world);
  const key = JSON.stringify([uid, event.reason, event.message, event.component]);
  const same = world.store.get(kind, namespace, said.get(key) ?? "");
  if (same !== undefined) {
    world.store.put(kind, { ...same, count: same.count + 1, lastTimestamp: now });
    return;
  }
  const called = `${name}.${world.ids.hex()}`;
  said.set(key, called);
  world.store.put(kind, {
    kind: "Event",
    apiVersion: "v1",
    metadata: { name: called, namespace, uid: world.ids.uid(), creationTimestamp: now },
    involvedObject: { kind: about.kind, namespace, name, uid, apiVersion: about.apiVersion, resourceVersion },
    reason: event.reason,
    message: event.message,
    source: { component: event.component },
    firstTimestamp: now,
    lastTimestamp: now,
    count: 1,
    type: event.type ?? "Normal",
    eventTime: null,
    reportingComponent: event.component,
    reportingInstance: "",
  });
}
