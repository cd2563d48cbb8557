/** What can happen to an incident: the columns of PROTOCOL section 3. */
import type { Alert } from "../alert/alert.js";
import type { Diagnosis } from "../runbook.js";
import type { Reading, Shadow } from "../shadow/shadow.js";
import type { Target } from "../target/target.js";
import type { Approval, GuardTrace, IncidentRecord, Plan } from "./incident.js";
import type { Outcome, Reason } from "./reasons.js";

/** A job to add after the change. It may be lost; the sweep repairs. */
export type Nudge = "consider" | "carryOut" | "tell" | "expire";

/** What was found out until an incident was left alone or held. */
interface Found {
  handOff?: string;
  /** The incident of the same target, or the storm, that tells and pages for it. */
  joined?: string;
  guards?: GuardTrace[];
  plan?: Plan;
  shadow?: Shadow;
  diagnosis?: Diagnosis;
}

/** A plan as it is posted, with what speaks for it. */
export interface Posted {
  plan: Plan;
  guards: GuardTrace[];
  others: string[];
  diagnosis?: Diagnosis;
}

export type Event =
  | { type: "firing"; alert: Alert; rule: string | null }
  | { type: "resolved"; identity: string; endsAt: string | null; lastSeen: number }
  | { type: "diagnosed"; diagnosis: Diagnosis }
  | { type: "lost" }
  | { type: "targeted"; target: Target; rule: string | null; runbook: string | null }
  | ({ type: "suppressed"; reason: Reason; says: string; wouldHave?: string } & Found)
  | ({ type: "held"; reason: Reason; says: string } & Found)
  | ({ type: "asked"; needed: number; page: boolean } & Posted)
  | ({ type: "decidedByPolicy"; approval: Approval } & Posted)
  | { type: "yes"; approval: Approval }
  | { type: "no"; nonce: string; says: string }
  | { type: "expired"; nonce: string }
  | { type: "replan"; by: string }
  | { type: "start"; token: number; run: string; active: boolean }
  | { type: "resume"; token: number }
  | { type: "stepDone"; token: number; step: string; says: string; at: number }
  | { type: "look"; token: number; look: { at: number; world: string; symptom: string; says: string }; memo: unknown }
  | { type: "changedWorld"; token: number; says: string; guards: GuardTrace[] }
  | { type: "stopped"; token: number; reason: Reason; says: string; guards: GuardTrace[] }
  | { type: "ended"; run: string; outcome: Outcome; reason: Reason | null; says: string }
  | { type: "abort"; by: string }
  | { type: "stillFiring"; says: string }
  | { type: "settled" }
  | { type: "compared"; reading: Reading }
  | { type: "memoryLost"; says: string }
  | { type: "stormSeen"; cause: string | null; evidence: string[]; page: boolean }
  | { type: "stormOver"; says: string; resolve: boolean }
  | { type: "orphan"; run: string; says: string }
  | { type: "overdue"; says: string; deadline: number }
  | { type: "paged"; why: IncidentRecord["pageWhy"] }
  | { type: "pageResolved" }
  | { type: "posted"; slack: NonNullable<IncidentRecord["slack"]> };
