import { isDeepStrictEqual } from "node:util";
import type { Clock } from "../../src/clock.js";
import type { Raw } from "./kinds.js";
import type { Route } from "./route.js";
import { seconds } from "./objects.js";

/** One write that the API server accepted, dry runs excluded: what tests count. */
export interface WriteEntry {
  seq: number;
  at: string;
  user: string;
  verb: string;
  kind: string;
  namespace: string;
  name: string;
  subresource: string;
  /** False for a write that left the object as it was. */
  changed: boolean;
  /** Whether spec.template is another one afterwards. */
  templateChanged: boolean;
  /** Whether nothing but the annotation nightshift.dev/fence is other afterwards. */
  fenceOnly: boolean;
  /** The annotation nightshift.dev/last-op after the write, null without one. */
  op: string | null;
  /** The object's version after the write. */
  resourceVersion: string;
}

export interface WriteLog {
  readonly entries: readonly WriteEntry[];
  note(of: { route: Route; user: string }, before: Raw | null, after: Raw | null): void;
}

const FENCE = "nightshift.dev/fence";
const LAST_OP = "nightshift.dev/last-op";

export function createWriteLog(clock: Clock): WriteLog {
  const entries: WriteEntry[] = [];
  return {
    entries,
    note({ route, user }, before, after) {
      const changed = before?.metadata.resourceVersion !== after?.metadata.resourceVersion;
      entries.push({
        seq: entries.length + 1,
        at: seconds(clock.now()),
        user,
        verb: route.verb,
        kind: route.kind.kind,
        namespace: route.namespace,
        name: after?.metadata.name ?? route.name,
        subresource: route.subresource,
        changed,
        templateChanged:
          before !== null && after !== null && !isDeepStrictEqual(before.spec?.template, after.spec?.template),
        fenceOnly:
          changed && before !== null && after !== null && isDeepStrictEqual(withoutFence(before), withoutFence(after)),
        op: after?.metadata.annotations?.[LAST_OP] ?? null,
        resourceVersion: after?.metadata.resourceVersion ?? "",
      });
    },
  };
}

function withoutFence(object: Raw): Raw {
  const { [FENCE]: _fence, ...annotations } = object.metadata.annotations ?? {};
  const { resourceVersion: _version, generation: _generation, managedFields: _fields, ...metadata } = object.metadata;
  return { ...object, metadata: { ...metadata, annotations } };
}
