/**
 * One Lease per target, in Nightshift's own namespace: the fence and the ledger. Every write of it is a PUT with the
 * resourceVersion that was read. The Lease saves work; what stops a second effect is the compare-and-set.
 */
import { z } from "zod";
import { type Clock, iso } from "../clock.js";
import { ClusterError, type KubeObject, type ObjectRef, type OwnObjects } from "../cluster.js";
import { NewerError, TerminalError } from "../errors.js";
import type { Target } from "../target/target.js";
import { emptyLedger, type Ledger, LEDGER_VERSION } from "./ledger.js";

export const LEDGER_ANNOTATION = "nightshift.dev/ledger";
export const TARGET_ANNOTATION = "nightshift.dev/target";
/** Entries are kept a week: longer than any repeat_interval and than Alertmanager remembers. */
const KEEP_MS = 7 * 24 * 3600 * 1000;
/** Ledger full: hold. */
export const MAX_ENTRIES = 200;

/** A Lease as it was read. */
export interface LeaseView {
  name: string;
  resourceVersion: string;
  /** "" when nobody holds it. */
  holder: string;
  /** The fencing token: `leaseTransitions`, +1 on take, release and revoke. */
  token: number;
  renewTime: string;
  durationSeconds: number;
  ledger: Ledger;
  /** Whose Lease it is; null where the annotation cannot be read. */
  target: Target | null;
  /** The object itself: labels and other annotations are kept when it is written. */
  raw: KubeObject;
}

const ledgerSchema = z.object({
  v: z.number().int().min(1).max(LEDGER_VERSION),
  run: z
    .object({
      id: z.string(),
      incident: z.string(),
      identity: z.string(),
      runbook: z.string(),
      from: z.string(),
      steps: z.array(z.string()),
      undo: z.boolean(),
      begun: z.boolean(),
    })
    .nullable(),
  open: z
    .object({
      key: z.string(),
      object: z.object({
        apiVersion: z.string(),
        kind: z.string(),
        namespace: z.string(),
        name: z.string(),
        uid: z.string(),
      }),
      resourceVersion: z.string(),
      generation: z.number(),
      evicts: z.literal(true).exactOptional(),
      at: z.string(),
    })
    .nullable(),
  ops: z.array(z.object({ key: z.string(), fingerprint: z.string(), at: z.string() })),
  ends: z.array(
    z.object({ identity: z.string(), run: z.string(), outcome: z.string(), at: z.string(), told: z.boolean() }),
  ),
});

export interface LeaseStore {
  read(name: string): Promise<LeaseView | null>;
  /** All target Leases that can be read, for the sweep; each of the others is told to `unreadable`. */
  all(unreadable: (error: Error) => void): Promise<LeaseView[]>;
  /**
   * Writes holder, token and ledger on the version of `view` (null: creates). The new view, or null when somebody else
   * was faster (409). Other errors: ClusterError.
   */
  write(
    name: string,
    view: LeaseView | null,
    next: { holder: string; token: number; ledger: Ledger; target?: string },
  ): Promise<LeaseView | null>;
}

const LEASE = { apiVersion: "coordination.k8s.io/v1", kind: "Lease" } as const;

export function createLeaseStore(
  objects: OwnObjects,
  namespace: string,
  timing: { clock: Clock; durationSeconds: number },
): LeaseStore {
  const { clock, durationSeconds } = timing;
  const ref = (name: string): ObjectRef => ({ ...LEASE, namespace, name });

  return {
    async read(name) {
      const found = await objects.get(ref(name));
      return found === null ? null : viewOf(found);
    },
    async all(unreadable) {
      const found = await objects.list({
        ...LEASE,
        namespace,
        labelSelector: "app.kubernetes.io/component=target-lease",
      });
      return found.flatMap((lease) => {
        try {
          return [viewOf(lease)];
        } catch (error) {
          unreadable(error as Error);
          return [];
        }
      });
    },
    async write(name, view, next) {
      const now = clock.now();
      const existing = view?.raw ?? null;
      const metadata = {
        name,
        namespace,
        labels: {
          ...(existing?.metadata.labels ?? {}),
          "app.kubernetes.io/managed-by": "nightshift",
          "app.kubernetes.io/component": "target-lease",
        },
        annotations: {
          ...(existing?.metadata.annotations ?? {}),
          ...(next.target === undefined ? {} : { [TARGET_ANNOTATION]: next.target }),
          [LEDGER_ANNOTATION]: JSON.stringify(trimmed(next.ledger, now)),
        },
        ...(view === null ? {} : { resourceVersion: view.resourceVersion }),
      };
      const micro = `${iso(now).slice(0, -1)}000Z`;
      const body = {
        ...LEASE,
        metadata,
        spec: {
          ...(next.holder === "" ? {} : { holderIdentity: next.holder }),
          leaseDurationSeconds: durationSeconds,
          leaseTransitions: next.token,
          renewTime: micro,
          ...(view !== null && view.holder === next.holder
            ? { acquireTime: existing?.spec?.acquireTime ?? micro }
            : { acquireTime: micro }),
        },
      };
      try {
        return viewOf(view === null ? await objects.create(body) : await objects.replace(body));
      } catch (error) {
        if (error instanceof ClusterError && error.conflict) return null;
        throw error;
      }
    },
  };
}

function viewOf(lease: KubeObject): LeaseView {
  return {
    name: lease.metadata.name,
    resourceVersion: lease.metadata.resourceVersion,
    holder: lease.spec?.holderIdentity ?? "",
    token: lease.spec?.leaseTransitions ?? 0,
    renewTime: lease.spec?.renewTime ?? "",
    durationSeconds: lease.spec?.leaseDurationSeconds ?? 0,
    ledger: parseLedger(lease.metadata.name, lease.metadata.annotations?.[LEDGER_ANNOTATION]),
    target: parseTarget(lease.metadata.annotations?.[TARGET_ANNOTATION]),
    raw: lease,
  };
}

/** A ledger that cannot be read must stop everything about its target: it is never taken for an empty one. */
export function parseLedger(lease: string, text: string | undefined): Ledger {
  if (text === undefined) return structuredClone(emptyLedger);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    value = null;
  }
  const parsed = ledgerSchema.safeParse(value);
  if (!parsed.success) {
    const v = (value as { v?: unknown } | null)?.v;
    if (typeof v === "number" && v > LEDGER_VERSION)
      throw new NewerError(
        "ERR_LEDGER_VERSION",
        `Lease ${lease}: its ledger has format ${v}, this version reads ${LEDGER_VERSION}: left for the newer one`,
      );
    throw new TerminalError(
      "ERR_LEDGER_UNREADABLE",
      `Lease ${lease}: its annotation ${LEDGER_ANNOTATION} is not a ledger of format ${LEDGER_VERSION}; nothing is done about its target until a person mends or removes it`,
    );
  }
  return parsed.data;
}

const targetSchema = z.object({
  cluster: z.string(),
  apiVersion: z.string(),
  kind: z.string(),
  namespace: z.string(),
  name: z.string(),
  uid: z.string(),
});

function parseTarget(text: string | undefined): Target | null {
  try {
    return targetSchema.parse(JSON.parse(text ?? ""));
  } catch {
    return null;
  }
}

/** Entries older than a week go; nothing younger ever does. */
function trimmed(ledger: Ledger, now: number): Ledger {
  const young = (entry: { at: string }) => now - Date.parse(entry.at) < KEEP_MS;
  return { ...ledger, ops: ledger.ops.filter(young), ends: ledger.ends.filter((end) => young(end) || !end.told) };
}

/**
 * Whether a Lease's holder lives, judged by what this process saw on its own monotonic clock: a Lease counts as expired
 * once its version has not moved for `leaseDurationSeconds`, or sooner once its holder has stopped saying that it lives.
 * Taking over early is safe: the fence and the compare-and-set decide, not the clock.
 */
export function createLeaseWatch(clock: Clock, isPresent: (holder: string) => Promise<boolean>) {
  const seen = new Map<string, { version: string; at: number; absentSince: number | null }>();
  /** An absent holder may just have lost its note (FLUSHALL): it is given this long to say it again. */
  const ABSENT_MS = 1200;
  return async function holderLives(view: LeaseView): Promise<boolean> {
    if (view.holder === "") return false;
    const now = clock.monotonic();
    let entry = seen.get(view.name);
    if (entry === undefined || entry.version !== view.resourceVersion) {
      entry = { version: view.resourceVersion, at: now, absentSince: null };
      seen.set(view.name, entry);
      if (seen.size > 10_000) seen.delete(seen.keys().next().value ?? "");
    }
    if (now - entry.at >= view.durationSeconds * 1000) return false;
    const present = await isPresent(view.holder).catch(() => true);
    if (present) entry.absentSince = null;
    else entry.absentSince ??= now;
    return entry.absentSince === null || now - entry.absentSince < ABSENT_MS;
  };
}
