/** One step of a run: PROTOCOL section 4, numbers 6 to 11. */
import { iso } from "../clock.js";
import { ClusterError, type ClusterReader, type JsonPatchOp, type KubeObject, nameOf } from "../cluster.js";
import type { IncidentRecord, Plan } from "../record/incident.js";
import type { Reason } from "../record/reasons.js";
import type { GuardTrace } from "../record/incident.js";
import { type AnyRemedy, ChangedWorld, type Effect, type EvictEffect, type PatchEffect } from "../runbook.js";
import { digestOf } from "../plan/digest.js";
import { fence, LAST_OP, lastOp, look, untilSeen } from "./fence.js";
import type { HeldLease } from "./held-lease.js";
import { planOpKey } from "./keys.js";
import { MAX_ENTRIES } from "./lease.js";
import { type LedgerOpen, settledDone } from "./ledger.js";
import type { EnginePorts, Looking } from "./ports.js";

/** Leaves the run: the engine ends it (section 4, number 12) or hands it over. */
export class Halt extends Error {
  override readonly name = "Halt";
  readonly why: HaltReason;

  constructor(why: HaltReason) {
    super(why.kind);
    this.why = why;
  }
}

export type HaltReason =
  /** The Lease is somebody else's by now: stop, touch nothing. */
  | { kind: "lease-lost" }
  /** SIGTERM, lost lock: finish nothing more here, the next worker resumes. */
  | { kind: "hand-over" }
  /** Not allowed now, perhaps soon: the job comes back, the Lease is given back meanwhile. */
  | { kind: "wait"; inMs: number }
  | { kind: "changed-world"; says: string; trace: GuardTrace[] }
  | { kind: "stopped"; reason: Reason; says: string; trace: GuardTrace[] };

/** A run under its Lease. */
export interface Underway {
  held: HeldLease;
  record: IncidentRecord;
  plan: Plan;
  remedy: AnyRemedy;
  signal: AbortSignal;
  /** Key of an intent whose one request was answered with "not applied": its fate is known, whatever moved since. */
  answeredNo: string | null;
  /** The record as this worker has just written it itself, and the look begun meanwhile; null once a step was checked. */
  written: Written | null;
  /** The one look at the cluster that guards and runbook share while a step is checked; null between checks. */
  look: ClusterReader | null;
}

export interface Written {
  record: IncidentRecord;
  looking: Looking;
  /** When it was begun, by the monotonic clock. */
  at: number;
}

/** What a runbook reads by: while a step is checked the look that the guards have, else the cluster itself. */
export function readerOf(e: EnginePorts, run: Underway): ClusterReader {
  const now = () => run.look ?? e.reader;
  return {
    get: (ref) => now().get(ref),
    list: (query) => now().list(query),
    logs: (query) => now().logs(query),
    can: (question) => now().can(question),
  };
}

/** A conflict after which more than the status had moved may be tried again this often. */
const MAX_MOVED = 5;
/** What was looked at longer ago is looked at again before anything is sent: the worker may have stood still since. */
const LOOK_MS = 10_000;
/** An eviction carries no resourceVersion that a fence or a pause could move: only a fresh look keeps it from being late. */
const EVICT_LOOK_MS = 2_000;
/** What this worker wrote itself so shortly before is the record as it stands: an Abort after it is met at the next safe point. */
const WRITTEN_MS = 100;
/** Status churn of a sick object is fought until this long after the step began. */
const CHURN_MS = 60_000;

export async function runStep(
  e: EnginePorts,
  run: Underway,
  name: string,
  prepare: () => Promise<Effect>,
): Promise<void> {
  const { held, plan, record } = run;
  if (!plan.steps.includes(name) && !plan.undoSteps.includes(name)) {
    throw new Halt({
      kind: "stopped",
      reason: "error",
      says: `the runbook named a step that its plan does not list: ${name}`,
      trace: [],
    });
  }
  const key = planOpKey(record.identity, plan, name);
  const about = { incident: record.id, step: name };
  if (held.ledger.ops.some((op) => op.key === key)) return journal(e, run, name, "found done");
  const began = e.clock.monotonic();
  let moved = 0;

  for (;;) {
    if (run.signal.aborted) throw new Halt({ kind: "hand-over" });
    await e.at("check", about);
    const { effect, live } = await checkAgain(e, run, { prepare, key });
    if (lastOp(live) === key) {
      // It was made after all, by a request that an answer had called refused; whatever became of the value since.
      await mustHold(
        held.put((l) => settledDone({ ...l, run: l.run && { ...l.run, begun: true } }, key, record, e.clock.now())),
      );
      return journal(e, run, name, "found done on the object");
    }
    const looked = e.clock.monotonic();
    await reserve(e, run);

    const open: LedgerOpen = {
      key,
      object: { ...effect.object },
      resourceVersion: live.metadata.resourceVersion,
      generation: live.metadata.generation ?? 0,
      ...("evict" in effect ? { evicts: true as const } : {}),
      at: iso(e.clock.now()),
    };
    await e.at("intent", about);
    await mustHold(held.put((ledger) => ({ ...ledger, run: ledger.run && { ...ledger.run, begun: true }, open })));

    await e.at("effect", about);
    if (e.clock.monotonic() - looked > ("evict" in effect ? EVICT_LOOK_MS : LOOK_MS)) continue;
    const answer =
      "evict" in effect
        ? await evict(e, effect)
        : await send(e, effect, patchOf(run, { effect, live, key, step: name }));
    await e.at("answer", about);
    e.effectAnswered(plan.runbook, answer.kind);
    run.answeredNo = answer.kind === "conflict" || answer.kind === "refused" ? key : null;

    if (answer.kind === "not-now") {
      await mustHold(held.put((ledger) => ({ ...ledger, open: null })));
      if (e.clock.now() - (record.run?.startedAt ?? 0) >= e.evictWithinMs)
        throw new Halt({ kind: "stopped", reason: "disrupted", says: notNow(effect.object, answer.says), trace: [] });
      throw new Halt({ kind: "wait", inMs: e.evictEveryMs });
    }

    const answeredNo = answer.kind === "conflict" || answer.kind === "refused";
    const now = answeredNo ? await e.reader.get(effect.object) : null;
    const same = now !== null && now.metadata.uid === effect.object.uid ? now : null;
    // The key on the object tells of a proxy that sent the request twice, or handed it on and answered by itself.
    const sentTwice = same !== null && lastOp(same) === key;
    if (answer.kind === "refused" && !sentTwice) {
      if (answer.reason === "refused" && movedSince(same, live)) continue;
      throw new Halt({ kind: "stopped", reason: answer.reason, says: answer.says, trace: [] });
    }
    if (answer.kind === "conflict" && !sentTwice) {
      // Surely not applied. A sick object's status moves many times a second, and some controllers keep rewriting an
      // annotation: where the spec stands still, that is fought for a while. Each try asks everything again.
      const specStands = same !== null && digestOf(same.spec) === digestOf(live.spec);
      if (!specStands) moved += 1;
      if (moved > MAX_MOVED || e.clock.monotonic() - began > CHURN_MS) {
        throw new Halt({
          kind: "stopped",
          reason: "changed-world",
          says: `${nameOf(effect.object)} kept changing under the write: nothing was written`,
          trace: [],
        });
      }
      continue;
    }
    if (answer.kind === "unknown") {
      const fenced = await fence(e, open, mark(e, held));
      await e.at("look", about);
      const verdict = await look(e.reader, open, fenced);
      if (verdict === "did-not") {
        await untilSeen(e, open.object);
        continue;
      }
      if (verdict === "cannot-tell")
        throw new Halt({ kind: "stopped", reason: "cannot-tell", says: cannotTell(plan, answer.says), trace: [] });
    }
    await mustHold(held.put((ledger) => settledDone(ledger, key, record, e.clock.now())));
    await e.at("done", about);
    return journal(e, run, name, answer.kind === "applied" ? "done" : "done, although the answer was lost");
  }
}

/** Number 6: record, control, guards, cooldown, and last the target itself. */
async function checkAgain(
  e: EnginePorts,
  run: Underway,
  of: { prepare: () => Promise<Effect>; key: string },
): Promise<{ effect: Effect; live: KubeObject }> {
  const { held, plan } = run;
  const written = run.written !== null && e.clock.monotonic() - run.written.at < WRITTEN_MS ? run.written : null;
  run.written = null;
  const now = written?.record ?? (await e.records.get(run.record.id));
  if (
    now === null ||
    now.state !== "running" ||
    now.lost ||
    now.plan?.nonce !== plan.nonce ||
    now.run?.token !== held.token
  ) {
    throw new Halt({
      kind: "stopped",
      reason: "lost-memory",
      says: "the record of this run is gone or belongs to another run by now",
      trace: [],
    });
  }
  if (now.run.abort !== null)
    throw new Halt({ kind: "stopped", reason: "aborted", says: `${now.run.abort.by} stopped it`, trace: [] });
  if (held.ledger.ops.length + held.ledger.ends.length >= MAX_ENTRIES) {
    throw new Halt({
      kind: "stopped",
      reason: "ledger-full",
      says: `the ledger of ${nameOf(plan.target)} holds ${MAX_ENTRIES} entries younger than a week`,
      trace: [],
    });
  }
  // Both only read, so they go side by side; the target itself is read last, when both have said yes.
  const looking = written?.looking ?? e.look(now, run.remedy);
  run.look = looking.reader;
  const [checked, prepared] = await Promise.allSettled([looking.check(now), of.prepare()]);
  run.look = null;
  if (checked.status === "rejected") throw checked.reason;
  const gate = checked.value;
  if (gate.held !== null)
    throw new Halt({ kind: "stopped", reason: gate.held.reason, says: gate.held.says, trace: gate.trace });
  if (prepared.status === "rejected") {
    if (prepared.reason instanceof ChangedWorld)
      throw new Halt({ kind: "changed-world", says: prepared.reason.message, trace: gate.trace });
    throw prepared.reason;
  }
  const effect = prepared.value;
  const live = await e.reader.get(effect.object);
  if (live === null)
    throw new Halt({ kind: "changed-world", says: `${nameOf(effect.object)} is gone`, trace: gate.trace });
  if (live.metadata.uid !== effect.object.uid) {
    throw new Halt({
      kind: "changed-world",
      says: `${nameOf(effect.object)} is another object now: expected UID ${effect.object.uid}, found ${live.metadata.uid}`,
      trace: gate.trace,
    });
  }
  const changed = lastOp(live) === of.key ? null : effect.changed(live);
  if (changed !== null) throw new Halt({ kind: "changed-world", says: changed, trace: gate.trace });
  return { effect, live };
}

async function reserve(e: EnginePorts, run: Underway): Promise<void> {
  const ledgerRun = run.held.ledger.run;
  if (ledgerRun === null || ledgerRun.begun) return;
  const no = await e.reserve(run.record, ledgerRun.id);
  if (no !== null) throw new Halt({ kind: "stopped", reason: no.reason, says: no.says, trace: [] });
}

/** A patch that no longer fits what it was made for is refused as invalid before its version is looked at: that is a conflict. */
function movedSince(now: KubeObject | null, live: KubeObject): boolean {
  return (
    now !== null &&
    now.metadata.resourceVersion !== live.metadata.resourceVersion &&
    now.metadata.generation !== live.metadata.generation
  );
}

type Answer =
  | { kind: "applied" }
  | { kind: "conflict" }
  | { kind: "not-now"; says: string }
  | { kind: "refused"; reason: Reason; says: string }
  | { kind: "unknown"; says: string };

async function send(e: EnginePorts, effect: PatchEffect, patch: JsonPatchOp[]): Promise<Answer> {
  try {
    await e.writer.jsonPatch(effect.object, patch, { timeoutMs: e.effectTimeoutMs });
    return { kind: "applied" };
  } catch (error) {
    if (!(error instanceof ClusterError)) throw error;
    if (error.conflict) return { kind: "conflict" };
    return otherwise(error);
  }
}

/** A pod that is gone, is going, or is another one of its name by now has left; a 409 alone does not say so. */
async function evict(e: EnginePorts, effect: EvictEffect): Promise<Answer> {
  try {
    await e.writer.evict(effect.object, { timeoutMs: e.effectTimeoutMs });
    return { kind: "applied" };
  } catch (error) {
    if (!(error instanceof ClusterError)) throw error;
    if (error.status === 404 || error.conflict) {
      const pod = await e.reader.get(effect.object);
      const left =
        pod === null || pod.metadata.uid !== effect.object.uid || pod.metadata.deletionTimestamp !== undefined;
      return left ? { kind: "applied" } : { kind: "conflict" };
    }
    if (error.status === 429) return { kind: "not-now", says: `the API server answered: ${error.message}` };
    if (error.status === 500)
      return {
        kind: "refused",
        reason: "disrupted",
        says: notNow(effect.object, `the API server answered: ${error.message}`),
      };
    return otherwise(error);
  }
}

function notNow(pod: Effect["object"], says: string): string {
  return `${nameOf(pod)} was not evicted: its disruption budgets do not allow it. ${says}. See \`kubectl -n ${pod.namespace} get poddisruptionbudgets\``;
}

function otherwise(error: ClusterError): Answer {
  const says = `the API server answered: ${error.message}`;
  if (error.forbidden) return { kind: "refused", reason: "forbidden", says };
  if (
    error.status !== null &&
    error.status >= 400 &&
    error.status < 500 &&
    error.status !== 408 &&
    error.status !== 429
  ) {
    return { kind: "refused", reason: "refused", says };
  }
  return { kind: "unknown", says };
}

/** The change, the operation's key and the precondition in one JSON patch: all of it happens or none. */
function patchOf(
  run: Underway,
  of: { effect: PatchEffect; live: KubeObject; key: string; step: string },
): JsonPatchOp[] {
  const { live, effect } = of;
  const stamp = {
    key: of.key,
    run: run.held.ledger.run?.id ?? "",
    step: of.step,
    incident: run.record.id,
    at: run.held.ledger.open?.at ?? "",
  };
  return [
    { op: "replace", path: "/metadata/resourceVersion", value: live.metadata.resourceVersion },
    ...(live.metadata.annotations === undefined
      ? [{ op: "add" as const, path: "/metadata/annotations", value: {} }]
      : []),
    { op: "add", path: `/metadata/annotations/${LAST_OP.replace("/", "~1")}`, value: JSON.stringify(stamp) },
    ...effect.patch(live),
  ];
}

async function journal(e: EnginePorts, run: Underway, step: string, says: string): Promise<void> {
  await e.transition(
    run.record.id,
    { type: "stepDone", token: run.held.token, step, says, at: e.clock.now() },
    e.holder,
    run.record,
  );
}

export async function mustHold(written: Promise<boolean>): Promise<void> {
  if (!(await written)) throw new Halt({ kind: "lease-lost" });
}

/** What the fence leaves on the target: the token and who holds it. */
export function mark(e: EnginePorts, held: { token: number }): string {
  return `${held.token} ${e.holder}`;
}

export function cannotTell(plan: Plan, says: string): string {
  const changes = plan.changes.map((c) => `${nameOf(c.object)} ${c.field}: ${c.from} → ${c.to}`).join("; ");
  return `it cannot be told whether this was done: ${changes}. ${says} Look at the object before doing anything.`;
}
