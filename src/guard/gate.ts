import { readdir } from "node:fs/promises";
import { fileURLToPath, pathToFileURL } from "node:url";
import { fingerprintIn } from "../alert/identity.js";
import { ClusterError } from "../cluster.js";
import { FaultsError, messageOf, UnavailableError } from "../errors.js";
import type { Log } from "../log.js";
import { oneLook } from "../one-look.js";
import type { GuardTrace, IncidentRecord } from "../record/incident.js";
import type { Reason } from "../record/reasons.js";
import type { Guard, GuardContext, GuardVerdict, GuardWorld } from "./guard.js";

/** Finds every guard in guards/ and checks it. Errors: FaultsError with every fault. */
export async function loadGuards(directory = fileURLToPath(new URL("./guards/", import.meta.url))): Promise<Guard[]> {
  const faults: string[] = [];
  const guards: Guard[] = [];
  const files = (await readdir(directory)).filter((file) => /\.(ts|js)$/.test(file) && !file.endsWith(".d.ts")).sort();
  for (const file of files) {
    const name = file.replace(/\.(ts|js)$/, "");
    const module = (await import(pathToFileURL(`${directory}/${file}`).href)) as { guard?: Guard };
    const { guard } = module;
    if (guard === undefined) faults.push(`guards/${file}: exports no \`guard\``);
    else if (guard.name !== name) faults.push(`guards/${file}: expected the name ${name}, found ${guard.name}`);
    else {
      const twin = guards.find((other) => other.order === guard.order);
      if (twin) faults.push(`guards/${file}: order ${guard.order} is taken by ${twin.name}`);
      guards.push(guard);
    }
  }
  if (faults.length > 0) throw new FaultsError("ERR_GUARDS", "guards", faults);
  return guards.sort((a, b) => a.order - b.order);
}

export interface GateAnswer {
  held: { guard: string; reason: Reason; says: string } | null;
  /** Every guard's verdict with its two values. */
  trace: GuardTrace[];
}

/**
 * Asks the world for what the guards will ask it for, which depends on no plan: while one is being made. What was asked so
 * lies milliseconds back when they judge it.
 */
export function askAhead(world: GuardWorld, incident: IncidentRecord): void {
  const { symptom, ledger, budget, control, storm, bound } = world;
  const history = () => world.history(fingerprintIn(incident.identity));
  for (const ask of [symptom, ledger, budget, control, storm, bound, history]) ask().catch(() => undefined);
}

/**
 * Asks every guard, in order, so that the trace is whole; the first that holds names the hold. Whatever is not an
 * explicit pass (a rejection, no answer in time, an answer of another shape) counts as tripped. All of them judge one
 * look at the cluster, taken now.
 */
export async function runGate(
  guards: readonly Guard[],
  context: GuardContext,
  options: { timeoutMs: number; log: Log },
): Promise<GateAnswer> {
  const trace: GuardTrace[] = [];
  let held: GateAnswer["held"] = null;
  // They only read, so they are asked side by side; their order decides which hold is named.
  const now: GuardContext = { ...context, cluster: oneLook(context.cluster) };
  const verdicts = await Promise.all(guards.map((guard) => ask(guard, now, options)));
  guards.forEach((guard, index) => {
    const verdict = verdicts[index] ?? unusable("no answer");
    trace.push({
      guard: guard.name,
      at: context.at,
      time: context.now,
      holds: verdict.holds,
      reason: verdict.holds ? verdict.reason : null,
      says: verdict.says,
      expected: verdict.expected,
      found: verdict.found,
    });
    if (verdict.holds && held === null) held = { guard: guard.name, reason: verdict.reason, says: verdict.says };
  });
  if (guards.length === 0) held = { guard: "gate", reason: "guard-error", says: "there are no guards" };
  return { held, trace };
}

async function ask(
  guard: Guard,
  context: GuardContext,
  options: { timeoutMs: number; log: Log },
): Promise<GuardVerdict> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<GuardVerdict>((resolve) => {
    timer = setTimeout(() => resolve(unusable(`no answer within ${options.timeoutMs / 1000} s`)), options.timeoutMs);
  });
  try {
    const verdict = await Promise.race([guard.evaluate(context), late]);
    return explicit(verdict) ? verdict : unusable("an answer that is neither yes nor no");
  } catch (error) {
    options.log.warn({ guard: guard.name, incident: context.incident.id, error }, "a guard could not be evaluated");
    const says = `${guard.name} could not be evaluated: ${messageOf(error)}`;
    const reason = error instanceof ClusterError || error instanceof UnavailableError ? "unavailable" : "guard-error";
    return { holds: true, reason, says, expected: "an answer", found: messageOf(error).slice(0, 200) };
  } finally {
    clearTimeout(timer);
  }
}

function explicit(verdict: unknown): verdict is GuardVerdict {
  if (typeof verdict !== "object" || verdict === null) return false;
  const { holds, reason, says } = verdict as { holds?: unknown; reason?: unknown; says?: unknown };
  if (typeof says !== "string") return false;
  return holds === false || (holds === true && typeof reason === "string");
}

function unusable(found: string): GuardVerdict {
  return {
    holds: true,
    reason: "guard-error",
    says: `a guard gave ${found}: that counts as no`,
    expected: "an explicit yes",
    found,
  };
}
