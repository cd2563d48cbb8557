import type { Raw } from "./kinds.js";
import type { Route } from "./route.js";

/** Things that go wrong between a client and its API server, switched on by tests. */

export type FaultAction =
  /** The request is applied after `ms` of the clock. */
  | { do: "delay"; ms: number }
  /** Applied, then the connection is cut: the caller learns nothing. */
  | { do: "drop-after" }
  /** Sent twice, as by a proxy that lost the first answer: the caller gets the second one's. */
  | { do: "twice" }
  /** The connection is cut, nothing is applied. */
  | { do: "drop-before" }
  | { do: "answer"; status: number; reason?: string; message?: string; retryAfterSeconds?: number }
  /** Kept back until `release`, then applied even if the caller has given up. */
  | { do: "hold" }
  /** Reads are served as the world was when the fault was added. */
  | { do: "stale" };

export interface FaultMatch {
  verb?: string | readonly string[];
  resource?: string;
  namespace?: string;
  name?: string;
  subresource?: string;
  user?: string;
  /** Sees the parsed body. */
  body?: (body: unknown) => boolean;
}

export interface Fault {
  /** Requests that met it so far. */
  readonly hits: number;
  /** Resolves once `count` requests have met it. */
  met(count?: number): Promise<void>;
  /** Lets the requests that are held be applied; resolves when they were. */
  release(): Promise<void>;
  remove(): void;
}

export interface Faults {
  /** `times`: how many requests it meets before it is used up; without it, every one. */
  add(match: FaultMatch, action: FaultAction, times?: number): Fault;
  clear(): void;
}

export interface ActiveFault {
  action: FaultAction;
  /** Version of the store when the fault was added. */
  version: number;
  /** For `hold`: resolves when the request may be applied. */
  released: Promise<void>;
  /** Tells that a held request was applied. */
  applied(): void;
}

export interface FaultTable extends Faults {
  /** The first fault that the request meets, used up by one. */
  meet(request: { route: Route; user: string; body: unknown }): ActiveFault | null;
}

interface Entry {
  match: FaultMatch;
  action: FaultAction;
  left: number;
  hits: number;
  version: number;
  held: { release(): void; applied: Promise<void> }[];
  waiting: { count: number; resolve(): void }[];
}

export function createFaults(version: () => number): FaultTable {
  let entries: Entry[] = [];
  return {
    add(match, action, times = Number.POSITIVE_INFINITY) {
      const entry: Entry = { match, action, left: times, hits: 0, version: version(), held: [], waiting: [] };
      entries.push(entry);
      return {
        get hits() {
          return entry.hits;
        },
        met: (count = 1) =>
          entry.hits >= count
            ? Promise.resolve()
            : new Promise<void>((resolve) => entry.waiting.push({ count, resolve })),
        async release() {
          const held = entry.held.splice(0);
          for (const request of held) request.release();
          await Promise.all(held.map((request) => request.applied));
        },
        remove() {
          entries = entries.filter((other) => other !== entry);
        },
      };
    },
    clear() {
      for (const entry of entries) for (const request of entry.held.splice(0)) request.release();
      entries = [];
    },
    meet(request) {
      const entry = entries.find((candidate) => candidate.left > 0 && matches(candidate.match, request));
      if (entry === undefined) return null;
      entry.left -= 1;
      entry.hits += 1;
      for (const waiter of entry.waiting) if (entry.hits >= waiter.count) waiter.resolve();
      const active = { action: entry.action, version: entry.version, released: Promise.resolve(), applied: () => {} };
      if (entry.action.do !== "hold") return active;
      const { promise: released, resolve: release } = gate();
      const { promise: applied, resolve: tell } = gate();
      entry.held.push({ release, applied });
      return { ...active, released, applied: tell };
    },
  };
}

function gate(): { promise: Promise<void>; resolve(): void } {
  let resolve: () => void = () => {};
  const promise = new Promise<void>((done) => {
    resolve = done;
  });
  return { promise, resolve };
}

function matches(match: FaultMatch, request: { route: Route; user: string; body: unknown }): boolean {
  const { route } = request;
  const verbs = match.verb === undefined ? null : [match.verb].flat();
  return (
    (verbs === null || verbs.includes(route.verb)) &&
    (match.resource === undefined || match.resource === route.kind.plural) &&
    (match.namespace === undefined || match.namespace === route.namespace) &&
    (match.name === undefined || match.name === route.name) &&
    (match.subresource === undefined || match.subresource === route.subresource) &&
    (match.user === undefined || match.user === request.user) &&
    (match.body === undefined || match.body(request.body))
  );
}

/** The body of a made-up answer. */
export function madeUp(action: Extract<FaultAction, { do: "answer" }>): Raw {
  return {
    kind: "Status",
    apiVersion: "v1",
    metadata: {},
    status: "Failure",
    message: action.message ?? "the stand-in was told to answer so",
    reason: action.reason ?? "InternalError",
    code: action.status,
  };
}
