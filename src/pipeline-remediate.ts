/** Plans a remedy and leaves it observed, proposed, asked about, approved by the policy, or held. Part of the hall. */
import { sealApproval } from "./approval/seal.js";
import { type ClusterReader, nameOf } from "./cluster.js";
import type { LeaseView } from "./execution/lease.js";
import type { JobEnd } from "./execution/ports.js";
import { askAhead, runGate } from "./guard/gate.js";
import { ownersOf } from "./owner/owners.js";
import type { PipelinePorts, StormFacts } from "./pipeline-ports.js";
import { joinStorm, stormWakes } from "./pipeline-storm.js";
import { dryRunOf } from "./pipeline-dry-run.js";
import { makePlan } from "./plan/plan.js";
import { decide } from "./policy/decide.js";
import { autonomies, type Autonomy, type Decision, type Rule, wakesPeople } from "./policy/policy.js";
import type { IncidentRecord, Plan } from "./record/incident.js";
import type { Event } from "./record/machine.js";
import type { Reason } from "./record/reasons.js";
import { lookAt } from "./shadow/look.js";
import type { Shadow } from "./shadow/shadow.js";
import { type AnyRemedy, type Diagnosis, isSkip, type Risk, type Target } from "./runbook.js";

const DONE: JobEnd = { end: "done" };
const WHO = "nightshift";

/** Whether Alertmanager says that any of its alerts fires. */
export type Activity = "active" | "not-active" | "unknown";

/** What the caller has found out, and how it ends an incident. */
export interface Ends {
  decision: Decision;
  remedy: AnyRemedy;
  /** Asked already, perhaps not yet answered. */
  activity: Promise<Activity>;
  /** The one look at the cluster that all of it rests on, and the one at the target's Lease. */
  look: ClusterReader;
  lease: Promise<LeaseView | null>;
  /** What is known of a storm; null where this incident is not told by one. */
  looming: Promise<StormFacts> | null;
  /** Null where there is none for this target. */
  diagnose(reader: ClusterReader): Promise<Diagnosis | null>;
  held(reason: Reason, says: string, more?: Partial<Extract<Event, { type: "held" }>>): Promise<JobEnd>;
  suppressed(reason: Reason, says: string, more?: Partial<Extract<Event, { type: "suppressed" }>>): Promise<JobEnd>;
}

/** A plan and a diagnosis under way. Both only read: whatever comes of them is dropped where something else decides. */
export interface Ahead {
  level: Autonomy;
  both: Promise<[PromiseSettledResult<End>, PromiseSettledResult<Diagnosis | null>]>;
}

/** diagnose → plan → guard, side by side, over one look. Null where there is nothing to plan for. */
export function planAhead(p: PipelinePorts, record: IncidentRecord, of: Ends): Ahead | null {
  const { rule } = of.decision;
  const { target } = record;
  if (rule === null || target === null) return null;
  const autonomy = ceiling(p, rule, of.remedy);
  const { level } = autonomy;
  return {
    level,
    both: Promise.allSettled([judge(p, record, { ...of, rule, target, autonomy }), of.diagnose(of.look)]),
  };
}

/** → record, for a remedy whose alert fires. */
export async function remediate(
  p: PipelinePorts,
  record: IncidentRecord,
  of: Ends,
  ahead = planAhead(p, record, of),
): Promise<JobEnd> {
  const { held, suppressed } = of;
  if (ahead === null) return held("error", "a remedy without rule or target");
  const { level, both } = ahead;
  const activity = await of.activity;
  if (activity === "not-active") return suppressed("not-active", "no Alertmanager says that it is firing");
  if (activity === "unknown" && level !== "observe")
    return held("unavailable", "no Alertmanager could be asked whether it still fires");
  const [judged, diagnosed] = await both;
  if (diagnosed.status === "rejected") throw diagnosed.reason;
  const diagnosis = diagnosed.value;
  if (judged.status === "fulfilled") return judged.value(diagnosis === null ? {} : { diagnosis });
  // It will be tried again; whoever is paged meanwhile has the diagnosis at least.
  if (diagnosis !== null) await p.transition(record.id, { type: "diagnosed", diagnosis }, WHO, record);
  throw judged.reason;
}

/** How an incident ends, to be done when its diagnosis is there, and together with it; not done where nothing fires any more. */
type End = (found: { diagnosis?: Diagnosis }) => Promise<JobEnd>;

interface Judging extends Ends {
  rule: Rule;
  target: Target;
  autonomy: ReturnType<typeof ceiling>;
}

/** plan → guard → dry run. What it answers writes the record; until then nothing is written. */
async function judge(p: PipelinePorts, record: IncidentRecord, of: Judging): Promise<End> {
  const { decision, remedy, rule, target, autonomy, look } = of;
  const held =
    (...[reason, says, more]: Parameters<Ends["held"]>): End =>
    (found) =>
      of.held(reason, says, { ...more, ...found });
  const suppressed =
    (...[reason, says, more]: Parameters<Ends["suppressed"]>): End =>
    (found) =>
      of.suppressed(reason, says, { ...more, ...found });
  const move =
    (event: Extract<Event, { type: "asked" | "decidedByPolicy" }>, who: string): End =>
    async (found) => {
      await p.transition(record.id, { ...event, ...found }, who, record);
      p.metrics.decideSeconds.observe((p.clock.now() - record.openedAt) / 1000);
      return DONE;
    };
  const observing = autonomy.level === "observe";
  const refuse = async (reason: Reason, says: string, handOff?: string) =>
    observing
      ? suppressed("observed", autonomy.says, {
          wouldHave: `I would have held it: ${says}`,
          ...(handOff ? { handOff } : {}),
          shadow: await shadowOf(p, target),
        })
      : held(reason, says, handOff ? { handOff } : {});
  if (!remedy.kinds.includes(target.kind))
    return refuse("unsupported-kind", `${remedy.name} acts on ${remedy.kinds.join(", ")}, found ${nameOf(target)}`);
  const object = await look.get(target);
  if (object === null || object.metadata.uid !== target.uid)
    return refuse("target-not-found", `${nameOf(target)} is gone or is another object by now`);

  const context = {
    target,
    params: decision.params ?? {},
    alerts: record.alerts.filter((a) => a.status === "firing"),
    cluster: look,
    measure: p.measure,
    now: p.clock.now(),
  };
  const world = p.guardWorld(record, {
    rule,
    remedy,
    target,
    lease: of.lease,
    ...(of.looming && { storm: of.looming }),
  });
  const asked = ownersOf(target, object, look);
  askAhead(world, record);
  const owners = await asked;
  const draft = await remedy.plan({
    ...context,
    owners,
    settings: { rollbackHealthMs: rule.guards.rollback.healthMs },
  });
  const counted = (result: "skipped" | "asked" | "auto" | "observed" | "proposed" | "held", end: End): End => {
    return (found) => {
      p.metrics.plans.inc({ runbook: remedy.name, result });
      return end(found);
    };
  };
  if (isSkip(draft)) return counted("skipped", await refuse(draft.skip, draft.sentence, draft.handOff));
  const risk = raised(remedy.risk, draft.risk);
  if (risk !== "A" && autonomy.level === "auto") autonomy.level = "approve";
  const stamp = {
    ms: p.clock.now(),
    expiresMs: rule.approval.expiresMs,
    nonce: p.random(16),
    autonomy: autonomy.level,
    dryRun: "",
  };
  const plan: Plan = makePlan(
    draft,
    { incident: record.id, remedy, params: (decision.params ?? {}) as Plan["params"], target },
    stamp,
  );
  const gate = await runGate(
    p.guards,
    {
      at: "plan",
      incident: record,
      rule,
      policy: p.policy(),
      plan,
      target,
      runbook: remedy,
      settings: rule.guards,
      cluster: look,
      world,
      ownNamespace: p.settings.namespace,
      now: p.clock.now(),
    },
    { timeoutMs: p.settings.guardTimeoutMs, log: p.log },
  );
  for (const one of gate.trace) p.metrics.guards.inc({ guard: one.guard, verdict: one.holds ? "holds" : "passes" });
  const others = otherPlans(p, record, rule);

  if (observing) {
    const but = gate.held ? `, and would have been held: ${gate.held.says}` : "";
    const wouldHave = `I would have: ${plan.sentence}${but}`;
    const more = { wouldHave, guards: gate.trace, plan, shadow: await shadowOf(p, target) };
    return counted("observed", suppressed("observed", autonomy.says, more));
  }
  if (gate.held?.reason === "storm") {
    // It tripped between the look before the plan and the guards: the storm tells for this one too.
    const tripped = gate.held.says;
    return counted("held", async (found) => {
      const storm = await joinStorm(p, record, { storm: rule.guards.storm, tripped });
      await stormWakes(p, storm.id);
      return of.held("storm", storm.says, { guards: gate.trace, plan, joined: storm.id, ...found });
    });
  }
  if (gate.held) return counted("held", held(gate.held.reason, gate.held.says, { guards: gate.trace, plan }));
  const dryRun = await dryRunOf({ ...p, reader: look }, { record, remedy, plan });
  if (dryRun.refused) return counted("held", held("refused", dryRun.says, { guards: gate.trace, plan }));
  plan.dryRun = dryRun.says;
  if (autonomy.level === "propose") {
    const more = { guards: gate.trace, plan, shadow: await shadowOf(p, target) };
    const how = wakesPeople({ severity: record.severity }) ? held : suppressed;
    return counted("proposed", how(autonomy.reason, autonomy.says, more));
  }
  if (autonomy.level === "auto") {
    const bound = { incident: record.id, nonce: plan.nonce, digest: plan.digest, by: "policy", at: p.clock.now() };
    const approval = {
      by: "policy",
      name: "the policy",
      at: bound.at,
      nonce: plan.nonce,
      digest: plan.digest,
      mac: sealApproval(p.keys()[0] ?? "", bound),
    };
    return counted("auto", move({ type: "decidedByPolicy", plan, approval, guards: gate.trace, others }, "policy"));
  }
  const needed = Math.max(rule.approval.count, risk === "C" ? 2 : 1);
  // An ask nobody can answer in Slack must reach a person by the pager, whatever its severity.
  const page = wakesPeople({ severity: record.severity }) || p.slack === null;
  return counted("asked", move({ type: "asked", plan, needed, page, guards: gate.trace, others }, WHO));
}

/** The target as it is now, so that it can be told later what people did. Never a reason not to decide. */
async function shadowOf(p: PipelinePorts, target: Target): Promise<Shadow> {
  const now = p.clock.now();
  const before = await lookAt(target, p.reader, now).catch((error: unknown) => {
    p.log.warn({ error }, "the target could not be read: what people do to it will not be known");
    return null;
  });
  return { dueAt: now + p.settings.readAfterMs, before, reading: null };
}

/** The higher class of the two. */
function raised(a: Risk, b: Risk | undefined): Risk {
  return b !== undefined && b > a ? b : a;
}

/** How far this rule may go, and in which words it stops there. */
function ceiling(p: PipelinePorts, rule: Rule, remedy: AnyRemedy): { level: Autonomy; reason: Reason; says: string } {
  const lowest = (a: Autonomy, b: Autonomy) =>
    autonomies[Math.min(autonomies.indexOf(a), autonomies.indexOf(b))] ?? "observe";
  let level = rule.autonomy;
  let reason: Reason = level === "observe" ? "observed" : "proposed";
  let says = `rule ${rule.name} has autonomy ${level}`;
  if (p.pager === null && lowest(level, "propose") !== level) {
    level = "propose";
    reason = "no-pager";
    says = "there is no PagerDuty routing key, so that nobody could be woken if it failed: set PAGERDUTY_ROUTING_KEY";
  }
  if (remedy.risk !== "A") level = lowest(level, "approve");
  return { level, reason, says };
}

function otherPlans(p: PipelinePorts, record: IncidentRecord, rule: Rule): string[] {
  const policy = p.policy();
  const names = new Set<string>();
  for (const alert of record.alerts) {
    const other = decide(policy, { ...alert, status: "firing" });
    if (other.rule && other.rule.name !== rule.name)
      names.add(`${alert.labels["alertname"] ?? ""}: ${other.runbook ?? other.decision} (rule ${other.rule.name})`);
  }
  return [...names];
}
