/**
 * The face shown to runbooks: everything that a file in runbooks/ may import, and nothing else.
 * A runbook knows no alert names and no environment; it names its steps, the engine makes them durable.
 */
import { z } from "zod";
import type { Alert } from "./alert/alert.js";
import type { ClusterReader, JsonPatchOp, KubeObject, ObjectRef } from "./cluster.js";
import type { Owner } from "./owner/owner.js";
import type { Reason } from "./record/reasons.js";
import type { Deed } from "./shadow/deed.js";
import type { Target } from "./target/target.js";
import type { Sample } from "./verify/metrics.js";

export type { Alert } from "./alert/alert.js";
export type { ClusterReader, JsonPatchOp, KubeObject, ObjectRef } from "./cluster.js";
export { nameOf, refOf } from "./cluster.js";
export type { Owner } from "./owner/owner.js";
export type { Deed } from "./shadow/deed.js";
export type { Reason } from "./record/reasons.js";
export type { Target } from "./target/target.js";
export { quoted } from "./verify/quoted.js";
export type { Sample } from "./verify/metrics.js";
export { configurationOf, contentDigest, newestWriter } from "./kit/configuration.js";
export { currentOf, type Ran, ranFor, type Revision, revisionsOf } from "./kit/revisions.js";
export { noRoom } from "./kit/capacity.js";
export { connectionsBorne } from "./kit/connections.js";
export { budgetsOver, quorumLost } from "./kit/disruption.js";
export { served } from "./kit/endpoints.js";
export { WARNINGS } from "./kit/events.js";
export { quantity } from "./kit/quantities.js";
export { cpuSaturation, memorySaturation, one } from "./kit/saturation.js";
export { cannotPull, wouldNotStart } from "./kit/startable.js";
export { imageList, imagesText, span, templateDifferences, withoutHash } from "./kit/templates.js";
export {
  condition,
  crashLooping,
  includesAll,
  isLeaving,
  isReady,
  ownedBy,
  podsBy,
  podsOf,
  restartsOf,
  rolloutState,
  selectorText,
  wantedBy,
} from "./kit/workload.js";
export { plainLines } from "./kit/words.js";
export { digestOf } from "./plan/digest.js";
export { z };

/** A: stateless, the undo is known. B: one approval. C: two people. */
export type Risk = "A" | "B" | "C";

/** Plain JSON: what may stand in a plan or a journal. */
export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

/** One field that a plan changes. The texts are for people; the digests are what the approval binds. */
export interface Change {
  object: ObjectRef & { uid: string };
  /** JSON pointer, e.g. `/spec/template`. */
  field: string;
  from: string;
  to: string;
  fromDigest: string;
  toDigest: string;
}

/** What a runbook would do now. Everything here is shown or bound by the digest; nothing is a function. */
export interface PlanDraft<Facts extends Json = Json> {
  /** "Roll back Deployment mcp-production/mcp-typescript-api from revision 42 to 41". */
  sentence: string;
  /** The button's verb, at most 20 characters: "rollback". */
  verb: string;
  changes: Change[];
  /** What is lost by doing it, or "nothing". */
  loses: string;
  /** How long it takes, in words. */
  takes: string;
  /** How it is undone, or why it cannot be. */
  undo: string;
  /** Raised above the runbook's own class where this plan loses state: it then needs people, whatever the rule says. */
  risk?: Risk;
  /** Step names in order; constants. */
  steps: string[];
  undoSteps: string[];
  /** What the runbook pinned and will need again: revision, UIDs, digests. */
  facts: Facts;
  /** What speaks for the plan and what was not checked, the most telling first; Slack's message shows the first four. */
  evidence: string[];
}

/** A runbook's "no": a normal answer, told as it stands. */
export interface Skip {
  skip: Reason;
  /** A whole sentence: what, on what, expected against found, what to do. */
  sentence: string;
  /** The change to make elsewhere (a commit, a command), as text to copy. */
  handOff?: string;
}

export function skip(reason: Reason, sentence: string, handOff?: string): Skip {
  return handOff === undefined ? { skip: reason, sentence } : { skip: reason, sentence, handOff };
}

export function isSkip(answer: PlanDraft | Skip): answer is Skip {
  return "skip" in answer;
}

/** Thrown by a step's preparation when the world is no longer the one that was approved. */
export class ChangedWorld extends Error {
  override readonly name = "ChangedWorld";
}

/** What both kinds of effect say. */
interface EffectOn {
  object: ObjectRef & { uid: string };
  /** Null when the live object is as approved and as earlier steps left it; else a sentence, expected against found. */
  changed(live: KubeObject): string | null;
}

/**
 * One write to one object. The engine reads `object` live, asks `changed`, and sends `patch` as one JSON patch together
 * with the operation's key and the resourceVersion that was read: it happens on exactly that object or not at all.
 */
export interface PatchEffect extends EffectOn {
  patch(live: KubeObject): JsonPatchOp[];
}

/**
 * One pod leaves by the Eviction API, named by its UID: it goes once, whoever asks how often, and never against a
 * disruption budget. Where the budget allows none now (429), the engine asks again for five minutes, then stops.
 */
export interface EvictEffect extends EffectOn {
  evict: true;
}

export type Effect = PatchEffect | EvictEffect;

/** Carries out one named effect, at most once over the life of the run. Names are constants listed in the plan. */
export type Step = (name: string, prepare: () => Promise<Effect>) => Promise<void>;

/** Whether the alerting rule's own expression still holds for this target; "unknown" when data is missing or stale. */
export interface Symptom {
  state: "present" | "gone" | "unknown";
  says: string;
}

/** One look of the verification. The engine counts good looks in a row and decides. */
export interface Look {
  /** `waiting`: not there yet; `bad`: will not come by itself. */
  world: "good" | "waiting" | "bad";
  symptom: Symptom["state"];
  /** One line for the timeline. */
  says: string;
  /** Handed to the next look. */
  memo?: Json;
}

export interface Diagnosis {
  /** Up to four lines, the most telling first. No log lines here: they go to PagerDuty too. */
  headline: string[];
  /** Which line of `headline` the last log line belongs to, where it may be shown. */
  logAt?: number;
  /** More, in titled groups, for the thread and PagerDuty's details. No log lines here. */
  details: { title: string; lines: string[] }[];
  /** Redacted log lines, newest last; never sent to PagerDuty. */
  logs: string[];
}

interface Base<Params> {
  target: Target;
  params: Params;
  /** The firing alerts of the incident, the opening one first. */
  alerts: readonly Alert[];
  cluster: ClusterReader;
  /** Asks Prometheus an instant query; null where it cannot be asked, empty for "no data". Values of labels go through `quoted`. */
  measure(expr: string): Promise<Sample[] | null>;
  /** Wall clock, milliseconds. */
  now: number;
}

export interface PlanContext<Params> extends Base<Params> {
  /** Who else writes the target. */
  owners: readonly Owner[];
  settings: { rollbackHealthMs: number };
}

export interface RunContext<Params, Facts extends Json> extends Base<Params> {
  plan: PlanDraft<Facts>;
}

export interface ExecuteContext<Params, Facts extends Json> extends RunContext<Params, Facts> {
  step: Step;
}

export interface VerifyContext<Params, Facts extends Json> extends RunContext<Params, Facts> {
  /** When the last effect was known to be done, wall clock. */
  since: number;
  symptom(): Promise<Symptom>;
  memo: Json;
}

export interface DiagnoseContext<Params> extends Base<Params> {
  /** Hides secrets in text that came from the workload. */
  redact(text: string): string;
  /** Log lines to read at most; 0 reads none. */
  logLines: number;
  /** Asks a service whether it answers; reads nothing else. */
  probe(check: HealthCheck): Promise<HealthAnswer>;
}

/** One question to a service: an HTTP GET that must be answered with 2xx, or a greeting in the service's own protocol. */
export type HealthCheck =
  | { kind: "http"; url: string }
  | { kind: "postgres" | "redis" | "tcp"; host: string; port: number };

export interface HealthAnswer {
  ok: boolean;
  /** What was answered or why nothing was, in a few words; no body and no credentials. */
  says: string;
  ms: number;
}

/** Why there is no undo; shown in the ask. */
export interface NoUndo {
  none: string;
}

export function noUndo(why: string): NoUndo {
  return { none: why };
}

interface Common<Params> {
  /** The file's name without its ending; kebab-case. */
  name: string;
  /** Raised whenever a plan of the old version must not be carried out by the new one. Part of the digest. */
  version: number;
  /** One sentence for catalogue and docs. */
  summary: string;
  /** Kinds that it acts on or reads, e.g. ["Deployment"]. */
  kinds: readonly string[];
  params: z.ZodType<Params>;
}

export interface Remedy<Params, Facts extends Json> extends Common<Params> {
  kind: "remedy";
  risk: Risk;
  /** What the writer's identity must be allowed on the target. */
  needs: readonly { verb: string; group: string; resource: string; subresource?: string }[];
  /** The diagnosis that is attached to every plan. */
  diagnosis: string;
  /** Wait for the rollout at most this long, before the rule's own window and two minutes are added. */
  giveUpAfterMs: number;
  plan(context: PlanContext<Params>): Promise<PlanDraft<Facts> | Skip>;
  execute(context: ExecuteContext<Params, Facts>): Promise<void>;
  verify(context: VerifyContext<Params, Facts>): Promise<Look>;
  undo: NoUndo | ((context: ExecuteContext<Params, Facts>) => Promise<void>);
  onFailed: "stop" | "undo";
  /**
   * Whether something that people did is what the plan says; null where it cannot be told. Pure. Only needed where a plan
   * changes other fields than pod template, replicas, an autoscaler's bounds, restart and pods: those are compared anyway,
   * and every other one counts as "unknown".
   */
  alike?(plan: PlanDraft<Facts>, deed: Deed): boolean | null;
}

export interface DiagnosisRunbook<Params> extends Common<Params> {
  kind: "diagnosis";
  diagnose(context: DiagnoseContext<Params>): Promise<Diagnosis>;
}

/** A runbook whose types were checked where it was defined and are erased in the registry. */
// biome-ignore lint/suspicious/noExplicitAny: the registry holds runbooks of different parameters
export type AnyRemedy = Remedy<any, any>;
// biome-ignore lint/suspicious/noExplicitAny: as above
export type AnyDiagnosis = DiagnosisRunbook<any>;
export type Runbook = AnyRemedy | AnyDiagnosis;

export function defineRemedy<Params, Facts extends Json>(
  remedy: Omit<Remedy<Params, Facts>, "kind">,
): Remedy<Params, Facts> {
  return { kind: "remedy", ...remedy };
}

export function defineDiagnosis<Params>(diagnosis: Omit<DiagnosisRunbook<Params>, "kind">): DiagnosisRunbook<Params> {
  return { kind: "diagnosis", ...diagnosis };
}
