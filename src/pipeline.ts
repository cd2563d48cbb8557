/**
 * The hall: receive, consider, decide, carryOut, tell. The order of the stages is written here and nowhere else; later
 * stages never call earlier ones, they move the record.
 */
import { parseWebhook, type ParsedWebhook } from "./alert/webhook.js";
import { mayApprove } from "./approval/approvers.js";
import type { Click } from "./approval/click.js";
import { sealApproval, sealButton, verifyButton } from "./approval/seal.js";
import { messageOf, UnavailableError } from "./errors.js";
import { carryOut as carryOutRun, type Working } from "./execution/carry-out.js";
import type { JobEnd, Looking } from "./execution/ports.js";
import { askAhead, runGate } from "./guard/gate.js";
import { tell as tellPeople } from "./notify/tell.js";
import { oneLook } from "./one-look.js";
import { considerIncident, considerOpened, incidentActivity } from "./pipeline-consider.js";
import { openAlerts } from "./pipeline-open.js";
import { answerDryRun } from "./pipeline-dry-run.js";
import { gathers, suspect } from "./pipeline-storm.js";
import type { PipelinePorts } from "./pipeline-ports.js";
import { type DryRunJob, JOB_VERSION, type WebhookJob } from "./queue/jobs.js";
import type { IncidentRecord } from "./record/incident.js";
import { reasons } from "./record/reasons.js";
import type { AnyRemedy } from "./runbook.js";

const DONE: JobEnd = { end: "done" };
const again = (inMs: number): JobEnd => ({ end: "again", inMs });

export interface Received {
  accepted: number;
  rejected: ParsedWebhook["rejected"];
}

export type Pipeline = ReturnType<typeof createPipeline>;

export function createPipeline(p: PipelinePorts) {
  const working: Working = new Set();

  /**
   * A webhook's body becomes one stored job; only then may it be answered with 2xx. A bad alert is kept aside and counted,
   * the others go on. Errors: WebhookFault (400), UnavailableError (503).
   */
  async function receive(body: unknown): Promise<Received> {
    const now = p.clock.now();
    const parsed = parseWebhook(body, {
      now,
      maxAlerts: p.settings.maxAlerts,
      maxLabelLength: p.settings.maxLabelLength,
    });
    if (p.overloaded())
      throw new UnavailableError("ERR_OVERLOADED", "more is waiting than can be looked at: try again");
    if (parsed.alerts.length > 0 || parsed.truncated > 0) {
      try {
        await p.add({
          v: JOB_VERSION,
          kind: "webhook",
          alerts: parsed.alerts,
          truncated: parsed.truncated,
          groupKey: parsed.groupKey,
        });
      } catch (error) {
        p.missed(parsed.alerts);
        throw error;
      }
    }
    for (const bad of parsed.rejected) {
      await p.facts.deadLetter({ at: now, why: `alerts[${bad.index}].${bad.field}: ${bad.fault}`, sample: bad.sample });
    }
    p.metrics.alerts.inc({ result: "accepted" }, parsed.alerts.length);
    p.metrics.alerts.inc({ result: "rejected" }, parsed.rejected.length);
    p.metrics.truncated.inc({}, parsed.truncated);
    return { accepted: parsed.alerts.length, rejected: parsed.rejected };
  }

  /**
   * Alerts find or open their records, and whoever is new is considered: one alone right here, over the look that found its
   * target, several side by side in jobs of their own.
   */
  async function open(job: Pick<WebhookJob, "alerts" | "truncated" | "groupKey">): Promise<JobEnd> {
    const found = [...(await openAlerts(p, job.alerts))];
    const later = (incident: string, delayMs?: number) =>
      p.add({ v: JOB_VERSION, kind: "consider", incident }, delayMs);
    const [first, ...others] = found;
    const alone = others.length === 0 && job.truncated === 0 ? first?.[1] : null;
    if (alone) {
      const end = await considerOpened(p, alone);
      if (end.end === "again") await later(alone.record.id, end.inMs);
      return DONE;
    }
    for (const [id] of found) await later(id);
    if (job.truncated > 0) await readTheRest(job);
    return DONE;
  }

  /** Alertmanager cut alerts off: they are read from its API, or a person is told that they could not be. */
  async function readTheRest(job: Pick<WebhookJob, "truncated" | "groupKey">): Promise<void> {
    try {
      if (!p.alertmanagers) throw new UnavailableError("ERR_NO_ALERTMANAGER", "ALERTMANAGER_URL is not set");
      const { activeAlert } = await import("./alert/active.js");
      const active = (await p.alertmanagers.active()).map((found) => activeAlert(found, p.clock.now()));
      await open({ alerts: active, truncated: 0, groupKey: null });
    } catch (error) {
      const { directPage } = await import("./notify/pager-event.js");
      const { sha256 } = await import("./plan/digest.js");
      const cause = {
        key: `nightshift/truncated/${sha256(job.groupKey ?? "").slice(0, 20)}`,
        summary: `Alertmanager cut ${job.truncated} alerts off a notification and they could not be read: ${messageOf(error)}. Set max_alerts: 0 on the receiver; look at Alertmanager.`,
      };
      if (!p.pager) throw error;
      await p.pager.send(directPage(cause, { url: p.settings.url, now: p.clock.now() }));
      p.metrics.pages.inc({ result: "direct" });
    }
  }

  /** match → resolve → diagnose → plan → guard → record. */
  const consider = (incident: string): Promise<JobEnd> => considerIncident(p, incident);

  async function expire(incident: string, nonce: string): Promise<JobEnd> {
    const record = await p.records.get(incident);
    const left =
      record?.state === "waiting" && record.plan?.nonce === nonce ? record.plan.expiresAt - p.clock.now() : 0;
    if (left > 0) return again(left);
    await p.transition(incident, { type: "expired", nonce }, "clock");
    return DONE;
  }

  /** A person's answer. Whoever they are, it goes through here; what they saw must be what is asked now. */
  async function decide(click: Click): Promise<JobEnd> {
    const answer = await judge(click);
    p.metrics.clicks.inc({ answer: click.answer, result: answer.ok ? "accepted" : "refused" });
    p.log.info(
      { incident: click.incident, answer: click.answer, by: click.by, ok: answer.ok, says: answer.says },
      "click judged",
    );
    if (!answer.ok && click.reply && p.slack) {
      await p.slack
        .ephemeral({ ...click.reply, text: answer.says })
        .catch((error: unknown) => p.log.warn({ error }, "could not answer the clicker"));
    }
    return DONE;
  }

  async function judge(click: Click): Promise<{ ok: boolean; says: string }> {
    const no = (says: string) => ({ ok: false, says });
    if (click.install !== p.settings.install) return no(`This button belongs to ${click.install}.`);
    const record = await p.records.get(click.incident);
    if (record === null) return no("This incident is no longer known.");
    const seal = { install: click.install, incident: click.incident, nonce: click.nonce, digest: click.digest };
    if (!p.keys().some((key) => verifyButton(key, seal, click.mac)))
      return no("This button's seal is not ours: nothing was done.");
    const who = `${click.name} (${click.by})`;
    if (click.answer === "deny")
      return said(await p.transition(record.id, { type: "no", nonce: click.nonce, says: `${who} said no` }, click.by));
    if (click.answer === "abort") return said(await p.transition(record.id, { type: "abort", by: who }, click.by));
    if (click.answer === "replan") return said(await p.transition(record.id, { type: "replan", by: who }, click.by));
    if (record.state !== "waiting" || record.plan?.nonce !== click.nonce || record.plan.digest !== click.digest) {
      return no(
        record.state === "waiting"
          ? "This plan is no longer known: a newer one is posted."
          : `Already decided: ${record.reason ? reasons[record.reason] : record.state}.`,
      );
    }
    const rule = p.policy().rules.find((r) => r.name === record.rule);
    const remedy = p.runbooks.get(record.plan.runbook);
    if (!rule || remedy?.kind !== "remedy")
      return no("The policy or the runbook behind this plan is gone: ask for a new plan.");
    const allowed = await mayApprove({
      by: click.by,
      from: rule.approval.from,
      groups: (handle) => (p.slack ? p.slack.groupMembers(handle) : Promise.resolve(null)),
      oncall: () => p.onCall(),
      risk: [remedy.risk, record.plan.risk].includes("C") ? "C" : remedy.risk,
      requestedBy: record.requestedBy,
      already: record.approvals,
    });
    if (!allowed.ok) return no(allowed.says);
    const bound = { incident: record.id, nonce: click.nonce, digest: click.digest, by: click.by, at: p.clock.now() };
    const approval = {
      by: click.by,
      name: click.name,
      at: bound.at,
      nonce: click.nonce,
      digest: click.digest,
      mac: sealApproval(p.keys()[0] ?? "", bound),
    };
    return said(await p.transition(record.id, { type: "yes", approval }, click.by));
  }

  /** lease → steps → verify → (undo) → record. */
  async function carryOut(job: { incident: string; lease?: string }, signal: AbortSignal): Promise<JobEnd> {
    if (!p.engine) return again(5000);
    if (!p.remembers()) return again(1000);
    return carryOutRun(
      { ...p.engine, look, measure: p.measure, activity: (record) => incidentActivity(p, record) },
      working,
      { ...job, signal },
    );
  }

  /** All guards again, live, before every effect. */
  function look(begun: IncidentRecord, remedy: AnyRemedy): Looking {
    const policy = p.policy();
    const rule = policy.rules.find((r) => r.name === begun.rule);
    const { target } = begun;
    const reader = oneLook(p.reader);
    const world = rule && target ? p.guardWorld(begun, { rule, remedy, target }) : null;
    if (target) reader.get(target).catch(() => undefined);
    if (world) askAhead(world, begun);
    return {
      reader,
      async check(record) {
        if (!rule || !record.plan || !target || !world) {
          return {
            held: { reason: "guard-error", says: `the policy no longer has the rule ${record.rule}` },
            trace: [],
          };
        }
        const context = {
          at: "effect" as const,
          incident: record,
          policy,
          plan: record.plan,
          rule,
          target,
          runbook: remedy,
          settings: rule.guards,
          cluster: reader,
          world,
          ownNamespace: p.settings.namespace,
          now: p.clock.now(),
        };
        return runGate(p.guards, context, { timeoutMs: p.settings.guardTimeoutMs, log: p.log });
      },
    };
  }

  /** Renders the record's present state: lost, doubled or reordered notices do no harm. */
  async function tell(incident: string): Promise<JobEnd> {
    let record = await p.records.get(incident);
    if (record === null) return DONE;
    // What is only being looked at is told once it is decided, in a moment: it may turn out to be part of a storm.
    if (record.state === "open" && record.slack === null && record.page === "none") return DONE;
    const gathering = gathers(p, record);
    if (gathering > 0) return again(gathering);
    if (record.storm) {
      await suspect(p, record);
      record = (await p.records.get(incident)) ?? record;
    }
    const words = {
      url: p.settings.url,
      install: p.settings.install,
      now: p.clock.now(),
      seal: (of: IncidentRecord) =>
        sealButton(p.keys()[0] ?? "", {
          install: p.settings.install,
          incident: of.id,
          nonce: of.plan?.nonce ?? "",
          digest: of.plan?.digest ?? "",
        }),
      slack: p.slack !== null,
      storm: record.storm ? await p.facts.stormMembers(record.id) : null,
    };
    const quiet =
      record.reason === "ignored" ||
      record.reason === "heartbeat" ||
      record.reason === "unmanaged" ||
      (record.reason === "unmatched" && record.state === "suppressed");
    const joined =
      (record.joined !== null && record.slack === null) ||
      (record.state === "suppressed" && record.reason === "resolved" && record.slack === null && record.plan === null);
    const noted = await tellPeople(record, {
      slack: quiet || joined ? null : p.slack,
      pager: p.pager,
      channel: p.settings.channel,
      words,
    });
    if (noted.slack) {
      p.metrics.slack.inc({ result: "ok" });
      await p.transition(incident, { type: "posted", slack: noted.slack }, "tell");
    }
    if (noted.paged) {
      p.metrics.pages.inc({ result: "sent" });
      await p.transition(incident, { type: "paged", why: record.pageWhy }, "tell");
    }
    if (noted.resolved) await p.transition(incident, { type: "pageResolved" }, "tell");
    for (const failure of noted.failures) p.log.warn({ incident, failure }, "could not tell");
    if (noted.failures.some((failure) => failure.startsWith("PagerDuty"))) p.metrics.pages.inc({ result: "failed" });
    if (noted.failures.some((failure) => failure.startsWith("Slack"))) p.metrics.slack.inc({ result: "failed" });
    // Where there is no pager at all, trying again soon cannot help; the sweep comes back to it each minute.
    const worthwhile = noted.failures.filter((failure) => p.pager !== null || !failure.startsWith("PagerDuty"));
    return worthwhile.length > 0 && p.clock.now() - record.updatedAt < 24 * 3600_000 ? again(5000) : DONE;
  }

  return {
    receive,
    open,
    consider,
    expire,
    decide,
    carryOut,
    tell,
    dryRun: (job: DryRunJob): Promise<JobEnd> => answerDryRun(p, job),
  };
}

function said(moved: { changed: true } | { changed: false; why: string }): { ok: boolean; says: string } {
  return moved.changed ? { ok: true, says: "stored" } : { ok: false, says: `Nothing was changed: ${moved.why}.` };
}
