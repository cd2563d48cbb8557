/**
 * What the world saw of one seed: every input, every request at the API server, every call to Slack and PagerDuty, each
 * with the milliseconds at which it arrived on one clock. The checker reads this and nothing else.
 */

/** An alert as it stood in a webhook. */
export interface SentAlert {
  fingerprint: string;
  startsAt: string;
  status: "firing" | "resolved";
}

/** An object's state as far as it is judged. */
export interface Seen {
  uid: string;
  resourceVersion: string;
  /** Digest of spec.template; "" where the kind has none. */
  template: string;
  /** spec.replicas, null where the kind has none. */
  replicas: number | null;
  leaving: boolean;
}

/** The operation's key as a request carries it in the annotation nightshift.dev/last-op. */
export interface Op {
  key: string;
  run: string;
  step: string;
}

/** A Lease as a write left it. */
export interface LeaseSeen {
  name: string;
  target: string;
  holder: string;
  token: number;
  run: string | null;
  open: { key: string; resourceVersion: string; uid: string } | null;
  ops: string[];
}

export type HistoryEvent =
  | { kind: "webhook"; at: number; from: string; alerts: SentAlert[]; answer: number | null }
  | {
      kind: "request";
      /** When it reached the API server, and when it was applied or refused (later for one that was held back). */
      at: number;
      done: number;
      /** Whether Nightshift sent it. */
      bot: boolean;
      verb: string;
      /** As the API server names it: `Deployment`, `Lease`, `Pod`. */
      object: string;
      namespace: string;
      name: string;
      subresource: string;
      dryRun: boolean;
      /** A read that need not be of the present: resourceVersion=0, or served stale. */
      cached: boolean;
      /** The API server's verdict; null where it never came to one. */
      status: number | null;
      /** Whether the sender got that answer. */
      answered: boolean;
      /** The resourceVersion or UID that the request insists on; "" for none. */
      insists: string;
      op: Op | null;
      /** Nothing but the annotation nightshift.dev/fence differs. */
      fence: boolean;
      before: Seen | null;
      after: Seen | null;
      lease: LeaseSeen | null;
      /** Path and query, and the body's text: looked through for what must not be there. */
      url: string;
      body: string;
    }
  | { kind: "slack"; at: number; method: string; text: string }
  | { kind: "page"; at: number; action: string; key: string; summary: string }
  | { kind: "click"; at: number; answer: string; incident: string; nonce: string }
  /** A person wrote to an object on which a plan may depend. */
  | { kind: "human"; at: number; uid: string; what: string }
  | { kind: "pause"; at: number; on: boolean }
  | { kind: "ready"; at: number; uid: string; ready: number }
  | { kind: "database"; at: number; instance: string; writable: boolean }
  | { kind: "nemesis"; at: number; name: string; what: string; forgets: boolean };

export type RequestEvent = Extract<HistoryEvent, { kind: "request" }>;

/** One workload of the seed. */
export interface TargetSeen {
  name: string;
  uid: string;
  fingerprint: string;
  /** `approve`: no write without a person's yes. */
  autonomy: "auto" | "approve";
  /** The step that its runbook has. */
  step: string;
  /** Ready pods that must remain while nothing but Nightshift changes anything. */
  floor: number;
}

/** What Nightshift itself says of an incident at the end, read from its HTTP API. */
export interface IncidentSeen {
  id: string;
  identities: string[];
  state: string;
  reason: string | null;
  page: string;
  dedupKey: string;
  uid: string | null;
  runId: string | null;
  /** The incident or storm that stands for it. */
  joined: string | null;
}

export interface History {
  seed: number;
  /** Nightshift's own namespace: Leases and the control ConfigMap, no effects. */
  own: string;
  /** The policy's budget over the whole cluster. */
  budget: { effects: number; withinMs: number };
  /** Words that hostile labels and annotations carried. */
  hostile: string[];
  targets: TargetSeen[];
  events: HistoryEvent[];
  end: {
    /** What was still to come when there was no more time; null where everything came to rest. */
    outstanding: string | null;
    incidents: IncidentSeen[];
    /** Identities that are active at an Alertmanager, as `fingerprint@startsAt`. */
    firing: string[];
  };
}

export const invariants = ["I1", "I2", "I3", "I4", "I5", "I6", "I7", "I8", "I9", "I10"] as const;
export type Invariant = (typeof invariants)[number];

export interface Violation {
  invariant: Invariant;
  /** What, on what, expected and found. */
  says: string;
  /** The few events that show it. */
  trace: HistoryEvent[];
}
