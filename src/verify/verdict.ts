import type { VerifySettings } from "../policy/policy.js";

export interface LookLine {
  at: number;
  world: string;
  symptom: string;
  says: string;
}

export interface Judging {
  looks: readonly LookLine[];
  settings: VerifySettings;
  now: number;
  /** When the last effect was known to be done. */
  since: number;
  /** After this nothing more is waited for: the runbook's time, the rule's own window and two minutes. */
  giveUpAt: number;
  active: "active" | "not-active" | "unknown";
}

export type Judged =
  | { verdict: "successful" | "failed" | "inconclusive"; says: string }
  | { verdict: null; againMs: number; baking: boolean };

/** What the looks so far amount to. Pure. Successful needs the world, the symptom and the alert itself. */
export function judge(of: Judging): Judged {
  const { looks, settings, now } = of;
  const last = looks.at(-1);
  const good = looks.length - 1 - looks.findLastIndex((look) => !(look.world === "good" && look.symptom === "gone"));
  if (good >= settings.samples && of.active === "not-active") {
    // It helped; what comes back does so soon. Nothing is called remediated before it has stayed well for a while.
    const left = of.since + settings.bakeMs - now;
    if (left > 0) return { verdict: null, againMs: Math.min(settings.everyMs, left), baking: true };
    return {
      verdict: "successful",
      says: `${good} good samples in a row, the alert is no longer active: ${last?.says ?? ""}`,
    };
  }
  if (last?.world === "bad") return { verdict: "failed", says: last.says };
  if (now < of.giveUpAt)
    return { verdict: null, againMs: Math.max(0, Math.min(settings.everyMs, of.giveUpAt - now)), baking: false };
  if (last === undefined) return { verdict: "inconclusive", says: "nothing was seen" };
  if (last.symptom === "present") return { verdict: "failed", says: `the cause is still there: ${last.says}` };
  if (last.world === "waiting")
    return { verdict: "failed", says: `the target did not become healthy in time: ${last.says}` };
  if (last.symptom === "unknown")
    return { verdict: "inconclusive", says: `there was no data to tell by: ${last.says}` };
  if (good >= settings.samples && of.active === "active")
    return { verdict: "failed", says: `the samples are good and the alert still fires: ${last.says}` };
  return { verdict: "inconclusive", says: `${good} of ${settings.samples} good samples in a row: ${last.says}` };
}
