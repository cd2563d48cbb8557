/** The plan's steps, checked by the API server and thrown away. Part of the hall; the front asks the hands. */
import { ClusterError, type ClusterWriter, nameOf } from "./cluster.js";
import { messageOf } from "./errors.js";
import type { JobEnd } from "./execution/ports.js";
import type { PipelinePorts } from "./pipeline-ports.js";
import { type DryRunJob, JOB_VERSION } from "./queue/jobs.js";
import type { IncidentRecord, Plan } from "./record/incident.js";
import type { DryRunAnswer } from "./record/store.js";
import type { AnyRemedy, JsonPatchOp } from "./runbook.js";

/** The front waits this long for the hands; a plan is better late checked than late posted. */
const HANDS_MS = 5000;
const LOOK_MS = 50;

export interface DryRun {
  record: IncidentRecord;
  remedy: AnyRemedy;
  plan: Plan;
}

/** Errors: ClusterError where the API server did not answer. */
export async function dryRunOf(p: PipelinePorts, of: DryRun): Promise<DryRunAnswer> {
  // Nobody reads the plan before the write, which follows at once and is checked by the API server then.
  if (of.plan.autonomy === "auto") return { refused: false, says: "" };
  if (p.dryRunner !== null) return tryOut(p, of, p.dryRunner);
  try {
    await p.add({ v: JOB_VERSION, kind: "dryRun", incident: of.record.id, plan: { ...of.plan } });
    const until = p.clock.now() + HANDS_MS;
    while (p.clock.now() < until) {
      const answer = await p.facts.dryRun(of.plan.nonce);
      if (answer !== null) return answer;
      await p.clock.sleep(LOOK_MS);
    }
  } catch (error) {
    p.log.warn({ incident: of.record.id, error }, "the hands could not be asked for a dry run");
  }
  return {
    refused: false,
    says: `not tried: the hands did not answer within ${HANDS_MS / 1000} s; it is checked again before the write`,
  };
}

/** The hands' part: tries it out and leaves the answer for the front. */
export async function answerDryRun(p: PipelinePorts, job: DryRunJob): Promise<JobEnd> {
  const plan = job.plan as unknown as Plan;
  const record = await p.records.get(job.incident);
  const remedy = p.runbooks.get(plan.runbook);
  if (record === null || remedy?.kind !== "remedy" || p.dryRunner === null) return { end: "done" };
  const answer = await tryOut(p, { record, remedy, plan }, p.dryRunner).catch(
    (error: unknown): DryRunAnswer => ({ refused: false, says: `not tried: ${messageOf(error)}` }),
  );
  await p.facts.noteDryRun(plan.nonce, answer);
  return { end: "done" };
}

async function tryOut(p: PipelinePorts, of: DryRun, writer: ClusterWriter): Promise<DryRunAnswer> {
  const { record, remedy, plan } = of;
  let notNow = "";
  try {
    await remedy.execute({
      plan,
      target: plan.target,
      params: plan.params,
      alerts: record.alerts.filter((a) => a.status === "firing"),
      cluster: p.reader,
      measure: p.measure,
      now: p.clock.now(),
      step: async (_name, prepare) => {
        const effect = await prepare();
        const live = await p.reader.get(effect.object);
        if (live === null) throw new Error(`${nameOf(effect.object)} is gone`);
        if ("evict" in effect) {
          await writer.evict(effect.object, { dryRun: true }).catch((error: unknown) => {
            if (!(error instanceof ClusterError) || error.status !== 429) throw error;
            notNow =
              "; a disruption budget does not allow it at this moment, so it is asked for until it does, five minutes at most";
          });
          return;
        }
        const pin: JsonPatchOp[] =
          live.metadata.annotations === undefined ? [{ op: "add", path: "/metadata/annotations", value: {} }] : [];
        await writer.jsonPatch(effect.object, [...pin, ...effect.patch(live)], { dryRun: true });
      },
    });
    return { refused: false, says: `the API server accepts the change (dry run)${notNow}` };
  } catch (error) {
    if (error instanceof ClusterError && error.fateUnknown) throw error;
    return { refused: true, says: `the API server does not accept the change in a dry run: ${messageOf(error)}` };
  }
}
