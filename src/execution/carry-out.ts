/** Carries out one approved plan, whatever crashes: PROTOCOL section 4. It always starts at number 1. */
import { ClusterError } from "../cluster.js";
import { messageOf, UnavailableError } from "../errors.js";
import type { IncidentRecord } from "../record/incident.js";
import { type Outcome, type Reason, reasonNames, reasons } from "../record/reasons.js";
import { type Fenced, fence, look, untilSeen } from "./fence.js";
import { HeldLease } from "./held-lease.js";
import { leaseName, runId } from "./keys.js";
import type { LeaseView } from "./lease.js";
import { emptyLedger, type Ledger, endedLedger, settledDone } from "./ledger.js";
import type { EnginePorts, JobEnd } from "./ports.js";
import { cannotTell, Halt, type HaltReason, mark, mustHold, readerOf, runStep, type Underway } from "./run-step.js";

const DONE: JobEnd = { end: "done" };
const again = (inMs: number): JobEnd => ({ end: "again", inMs });
/** A Lease that another worker holds is looked at again this soon. */
const HELD_MS = 500;
const OTHER_RUN_MS = 5000;

/** Leases that this process is working under right now: its own dead Leases (a job that threw) are not live. */
export type Working = Set<string>;

export async function carryOut(
  e: EnginePorts,
  working: Working,
  job: { incident: string; lease?: string; signal: AbortSignal },
): Promise<JobEnd> {
  const ahead = job.lease === undefined ? null : e.leases.read(job.lease);
  ahead?.catch(() => undefined);
  const record = await e.records.get(job.incident);
  if (record === null || record.target === null || (record.state !== "approved" && record.state !== "running"))
    return DONE;
  const about = { incident: record.id, step: "" };
  const name = leaseName(record.cluster, record.target.uid);
  const view = await (ahead !== null && job.lease === name ? ahead : e.leases.read(name));

  const ended = view?.ledger.ends.findLast((end) => end.identity === record.identity);
  if (ended !== undefined) return copy(e, record, ended.outcome);
  if (working.has(name)) return again(HELD_MS);
  if (view !== null && view.holder !== e.holder && (await e.holderLives(view))) return again(HELD_MS);
  const other = view?.ledger.run;
  if (other && other.incident !== record.id) return again(OTHER_RUN_MS);

  working.add(name);
  try {
    // Number 2: every request of an earlier holder is made void before the Lease is taken, not after.
    let fenced: Fenced | null = null;
    if (view?.ledger.open) {
      await e.at("fence", about);
      fenced = await fence(e, view.ledger.open, mark(e, { token: (view.token ?? 0) + 1 }));
    }
    await e.at("take", about);
    const taken = await take(e, record, { name, view });
    if (taken === null) return again(HELD_MS);
    const held = new HeldLease(e.leases, taken, e.clock);
    held.renew(e.renewMs);
    const signal = AbortSignal.any([job.signal, held.signal]);
    try {
      return await underLease(e, { held, record, fenced, signal });
    } catch (error) {
      // Something could not be asked. The job comes back, perhaps to another worker, or not at all if Redis forgot it:
      // nobody shall wait for a Lease that is held and not worked under. What is open in it stays, to be fenced and looked at.
      await held.put((l) => l, true).catch(() => false);
      throw error;
    } finally {
      held.stop();
    }
  } finally {
    working.delete(name);
  }
}

async function take(
  e: EnginePorts,
  record: IncidentRecord,
  of: { name: string; view: LeaseView | null },
): Promise<LeaseView | null> {
  const ledger: Ledger = structuredClone(of.view?.ledger ?? emptyLedger);
  const plan = record.plan;
  // A run of this incident that was begun stays as it is: only it may be settled. One never begun gives way to the new plan.
  if (ledger.run === null || !ledger.run.begun) {
    ledger.run = {
      id: plan ? runId(record.id, plan.nonce) : "run-unknown",
      incident: record.id,
      identity: record.identity,
      runbook: plan?.runbook ?? "",
      from: plan?.changes.map((change) => change.fromDigest.slice(0, 16)).join(",") ?? "",
      steps: plan?.steps ?? [],
      undo: false,
      begun: false,
    };
  }
  const target = record.target === null ? {} : { target: JSON.stringify(record.target) };
  return e.leases.write(of.name, of.view, { holder: e.holder, token: (of.view?.token ?? 0) + 1, ledger, ...target });
}

interface Taken {
  held: HeldLease;
  record: IncidentRecord;
  fenced: Fenced | null;
  signal: AbortSignal;
}

async function underLease(e: EnginePorts, taken: Taken): Promise<JobEnd> {
  const { held, fenced } = taken;
  let record = taken.record;
  const about = { incident: record.id, step: "" };

  // Number 4: settle what was open; doubt and end are one write.
  const open = held.ledger.open;
  if (open !== null && fenced !== null) {
    await e.at("look", about);
    const verdict = await look(e.reader, open, fenced);
    // An eviction that was sent may still arrive until its call's time is up: until then "not done" is not known.
    const pending = Date.parse(open.at) + e.effectTimeoutMs - e.clock.now();
    if (open.evicts && verdict === "did-not" && pending > 0) {
      await held.put((l) => l, true);
      return again(pending);
    }
    await e.at("settle", about);
    if (verdict === "cannot-tell") {
      const said = record.plan
        ? cannotTell(record.plan, "A worker stopped in the middle of the write.")
        : reasons["cannot-tell"];
      if (!(await held.put((l) => endedLedger(l, record, { outcome: "held(cannot-tell)", now: e.clock.now() }), true)))
        return again(HELD_MS);
      return copy(e, record, "held(cannot-tell)", said);
    }
    const settled = await held.put((l) =>
      verdict === "happened" ? settledDone(l, open.key, record, e.clock.now()) : { ...l, open: null },
    );
    if (!settled) return again(HELD_MS);
    if (verdict === "did-not") await untilSeen(e, open.object);
  }

  // Number 5: only under the Lease: record, approval, resolved. What the first step is checked by is asked for meanwhile.
  const at = e.clock.monotonic();
  const plan = record.plan;
  const planned = plan === null ? undefined : e.runbook(plan.runbook);
  // Whoever resumes has most likely nothing left but to look whether it helped.
  const looking = record.state === "approved" && planned?.kind === "remedy" ? e.look(record, planned) : null;
  const runOf = held.ledger.run;
  if (record.state === "approved" && plan !== null) {
    const active = (await e.activity(record)) !== "not-active";
    const started = await e.transition(
      record.id,
      { type: "start", token: held.token, run: runId(record.id, plan.nonce), active },
      e.holder,
      record,
    );
    if (!started.changed || started.record.state !== "running") return letGo(e, held, record);
    record = started.record;
  } else {
    const resumed = await e.transition(record.id, { type: "resume", token: held.token }, e.holder, record);
    if (!resumed.changed) return letGo(e, held, record);
    record = resumed.record;
  }
  if (
    record.lost ||
    record.plan === null ||
    (runOf !== null && record.run !== null && runOf.id !== record.run.id && runOf.begun)
  ) {
    return end(e, { held, record }, { outcome: "held", reason: "lost-memory", says: lostSays(held.ledger) });
  }
  const remedy = e.runbook(record.plan.runbook);
  if (remedy === undefined || remedy.kind !== "remedy" || remedy.version !== record.plan.version) {
    const says = `this version has no runbook ${record.plan.runbook} of version ${record.plan.version}: ask for a new plan`;
    return end(e, { held, record }, { outcome: "held", reason: "error", says });
  }
  const run: Underway = {
    held,
    record,
    plan: record.plan,
    remedy,
    signal: taken.signal,
    answeredNo: null,
    written: looking !== null && remedy === planned ? { record, looking, at } : null,
    look: null,
  };
  try {
    return await steps(e, run);
  } catch (error) {
    if (error instanceof Halt) return halted(e, run, error.why);
    // Something could not be asked: the job comes back. Anything else would only happen again, so a person is brought.
    if (error instanceof ClusterError || error instanceof UnavailableError) throw error;
    e.log.error({ incident: record.id, runbook: remedy.name, error }, "a run ended with an error");
    return end(e, run, { outcome: "held", reason: "error", says: `${remedy.name} failed: ${messageOf(error)}` });
  }
}

async function steps(e: EnginePorts, run: Underway): Promise<JobEnd> {
  const { held, record, plan, remedy } = run;
  const context = {
    target: plan.target,
    params: plan.params,
    alerts: record.alerts,
    cluster: readerOf(e, run),
    measure: (expr: string) => e.measure(expr),
    now: e.clock.now(),
    plan,
    step: (name: string, prepare: Parameters<typeof runStep>[3]) => runStep(e, run, name, prepare),
  };
  if (!held.ledger.run?.undo) {
    await remedy.execute(context);
    const done = await verify(e, run);
    if (done !== "undo") return done;
    await mustHold(held.put((l) => ({ ...l, run: l.run && { ...l.run, undo: true } })));
  }
  if (typeof remedy.undo !== "function")
    return end(e, run, { outcome: "held", reason: "verify-failed", says: remedy.undo.none });
  await remedy.undo(context);
  return end(e, run, { outcome: "held", reason: "undone", says: `${plan.sentence} did not help and was undone` });
}

/** One look; between looks the Lease is given back as holder only, so that waiting holds no worker and no other run gets in. */
async function verify(e: EnginePorts, run: Underway): Promise<JobEnd | "undo"> {
  const { held, plan, remedy } = run;
  const record = await e.records.get(run.record.id);
  // Redis forgot it, and this job with it: the Lease is given back, so that the sweep can have the run settled at once.
  if (record === null) throw new Halt({ kind: "hand-over" });
  if (record.run === null || record.run.token !== held.token) throw new Halt({ kind: "lease-lost" });
  if (record.run.abort)
    return end(e, run, {
      outcome: "held",
      reason: "aborted",
      says: `${record.run.abort.by} stopped it after the change was made`,
    });
  if (held.signal.aborted) throw new Halt({ kind: "lease-lost" });
  const looked = await remedy.verify({
    target: plan.target,
    params: plan.params,
    alerts: record.alerts,
    cluster: e.reader,
    measure: (expr: string) => e.measure(expr),
    now: e.clock.now(),
    plan,
    since: record.run.effectAt ?? record.run.startedAt,
    symptom: () => e.symptom(record),
    memo: record.run.memo,
  });
  const line = { at: e.clock.now(), world: looked.world, symptom: looked.symptom, says: looked.says };
  const noted = await e.transition(
    record.id,
    { type: "look", token: held.token, look: line, memo: looked.memo ?? null },
    e.holder,
    record,
  );
  if (!noted.changed) throw new Halt({ kind: "lease-lost" });
  const judged = await e.verdict(noted.record, remedy);
  if (judged.verdict === null) {
    // Watching holds nothing up: others may act meanwhile.
    if (judged.baking && record.run) await e.closeBudget(record.run.id);
    await mustHold(held.put((l) => l, true));
    return again(judged.againMs);
  }
  if (judged.verdict === "successful") return end(e, run, { outcome: "remediated", reason: null, says: judged.says });
  if (judged.verdict === "failed" && remedy.onFailed === "undo" && typeof remedy.undo === "function") return "undo";
  return end(e, run, {
    outcome: "held",
    reason: judged.verdict === "failed" ? "verify-failed" : "inconclusive",
    says: judged.says,
  });
}

async function halted(e: EnginePorts, run: Underway, why: HaltReason): Promise<JobEnd> {
  if (why.kind === "lease-lost") return again(HELD_MS);
  if (why.kind === "hand-over" || why.kind === "wait") {
    await run.held.put((l) => l, true);
    return again(why.kind === "wait" ? why.inMs : 0);
  }
  if (why.kind === "changed-world")
    return end(e, run, { outcome: "held", reason: "changed-world", says: why.says, trace: why.trace });
  return end(e, run, { outcome: "held", reason: why.reason, says: why.says, trace: why.trace });
}

interface End {
  outcome: Outcome;
  reason: Reason | null;
  says: string;
  trace?: IncidentRecord["guards"];
}

/** Number 12. Something begun: one PUT ends it. Nothing begun: first the record, then the Lease is released. */
async function end(
  e: EnginePorts,
  run: Pick<Underway, "held" | "record"> & Partial<Pick<Underway, "answeredNo">>,
  how: End,
): Promise<JobEnd> {
  const { held, record } = run;
  const about = { incident: record.id, step: "" };
  await e.at("end", about);
  let final = how;
  let happened = false;
  const open = held.ledger.open;
  if (open !== null) {
    const fenced = await fence(e, open, mark(e, held));
    const verdict = await look(e.reader, open, fenced);
    happened = verdict === "happened";
    // The look asks first, since a proxy may have sent a request twice; then the one answer that was received counts.
    if (verdict === "cannot-tell" && run.answeredNo !== open.key && final.reason !== "cannot-tell") {
      final = {
        outcome: "held",
        reason: "cannot-tell",
        says: record.plan ? cannotTell(record.plan, how.says) : how.says,
      };
    }
  }
  const outcome = final.outcome === "held" ? `held(${final.reason ?? "error"})` : final.outcome;
  if (held.ledger.run?.begun) {
    const now = e.clock.now();
    const put = await held.put((l) => {
      const settled = open !== null && happened ? settledDone(l, open.key, record, now) : { ...l, open: null };
      return endedLedger(settled, record, { outcome, now });
    }, true);
    if (!put) return again(HELD_MS);
    return copy(e, record, outcome, final.says);
  }
  const trace = final.trace ?? [];
  if (record.run) await e.closeBudget(record.run.id);
  // A record rebuilt from a Lease holds no run of its own that could be stopped: it is ended as the Lease was found.
  if (record.lost) {
    await e.transition(
      record.id,
      { type: "ended", run: "", outcome: final.outcome, reason: final.reason, says: final.says },
      e.holder,
    );
    return letGo(e, held, record);
  }
  const event =
    final.reason === "changed-world"
      ? ({ type: "changedWorld", token: held.token, says: final.says, guards: trace } as const)
      : ({
          type: "stopped",
          token: held.token,
          reason: final.reason ?? "error",
          says: final.says,
          guards: trace,
        } as const);
  await e.transition(record.id, event, e.holder);
  return letGo(e, held, record);
}

/** Releases a Lease under which nothing was begun. */
async function letGo(e: EnginePorts, held: HeldLease, record: IncidentRecord): Promise<JobEnd> {
  const begun = held.ledger.run?.begun ?? false;
  await held.put((l) => ({ ...l, run: begun ? l.run : null }), true);
  if (record.run) await e.closeBudget(record.run.id);
  return DONE;
}

/** Number 13: the Lease says that this run ended; the record follows. Missing or elsewhere: nothing, the sweep sees it. */
async function copy(e: EnginePorts, record: IncidentRecord, outcome: string, says?: string): Promise<JobEnd> {
  await e.at("copy", { incident: record.id, step: "" });
  const parsed = parseOutcome(outcome);
  const words = says ?? (parsed.reason === null ? "its run had ended so" : reasons[parsed.reason]);
  // Before the record ends: after that nobody would come back to a reservation that a death left open.
  if (record.plan) await e.closeBudget(runId(record.id, record.plan.nonce));
  await e.transition(
    record.id,
    { type: "ended", run: record.run?.id ?? "", outcome: parsed.outcome, reason: parsed.reason, says: words },
    e.holder,
  );
  return DONE;
}

/** `remediated`, `held(reason)` as the ledger has it. */
export function parseOutcome(text: string): { outcome: Outcome; reason: Reason | null } {
  if (text === "remediated") return { outcome: "remediated", reason: null };
  const named = /^held\(([a-z-]+)\)$/.exec(text)?.[1];
  const reason = reasonNames.find((name) => name === named) ?? "error";
  return { outcome: "held", reason };
}

function lostSays(ledger: Ledger): string {
  const run = ledger.run;
  const done =
    ledger.ops.length === 0
      ? "no step of it is known to be done"
      : `${ledger.ops.length} operation(s) on this target are in its ledger`;
  return `Nightshift's memory of run ${run?.id ?? "unknown"} (${run?.runbook ?? "unknown runbook"}) was lost: ${done}. It is never carried on from a ledger alone; look at the target.`;
}
