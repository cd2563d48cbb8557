/**
 * Reads, some 30 minutes after a rule only observed or proposed, what people did to the target. Each reading is written
 * into the record once; one that fell due while nobody was there is read later, and says so. It goes round as the sweep does, and apart from it: a
 * cluster that is slow to answer must hold up neither the repairs nor what waits for them.
 */
import { inert } from "./alert/inert.js";
import { nameOf } from "./cluster.js";
import { messageOf, UnavailableError } from "./errors.js";
import type { PipelinePorts } from "./pipeline-ports.js";
import type { IncidentRecord } from "./record/incident.js";
import { compare } from "./shadow/compare.js";
import { span } from "./kit/templates.js";
import { deedsBetween } from "./shadow/deeds.js";
import { excusesFor } from "./shadow/excuses.js";
import { lookAt } from "./shadow/look.js";
import type { Reading, Sight } from "./shadow/shadow.js";

const WHO = "sweep";
/** A reading this share of the waiting time later than due is late: 5 of 30 minutes. */
const LATE_SHARE = 1 / 6;
/** A cluster that cannot be read is asked again each round until this long after a reading was due. */
const GIVE_UP_MS = 24 * 3600_000;
/** One round reads for at most this long; the rest is due in the next. */
const ROUND_MS = 20_000;

export async function readShadows(p: PipelinePorts): Promise<void> {
  const until = p.clock.monotonic() + ROUND_MS;
  for (const id of await p.records.attention()) {
    if (p.clock.monotonic() > until) return;
    let dueAt: number | null = null;
    try {
      const record = await p.records.get(id);
      const shadow = record?.shadow;
      if (!record || !shadow || shadow.reading !== null || p.clock.now() < shadow.dueAt) continue;
      dueAt = shadow.dueAt;
      const reading = await read(p, record, { ...shadow, now: p.clock.now() });
      await p.transition(id, { type: "compared", reading }, WHO);
    } catch (error) {
      if (error instanceof UnavailableError) throw error;
      p.log.warn({ incident: id, error }, "what people did could not be read yet");
      const now = p.clock.now();
      if (dueAt === null || now - dueAt < GIVE_UP_MS) continue;
      const says = inert(`${messageOf(error)}: it was tried for ${span(GIVE_UP_MS)}`, 500);
      await p.transition(
        id,
        { type: "compared", reading: { at: now, lateMs: now - dueAt, verdict: "unknown", says } },
        WHO,
      );
    }
  }
}

async function read(
  p: PipelinePorts,
  record: IncidentRecord,
  of: { dueAt: number; before: Sight | null; now: number },
): Promise<Reading> {
  const { target, plan } = record;
  const { dueAt, before, now } = of;
  const lateMs = now - dueAt > p.settings.readAfterMs * LATE_SHARE ? now - dueAt : 0;
  if (target === null || before === null)
    return { at: now, lateMs, verdict: "unknown", says: "the target could not be read when this was decided" };
  const after = await lookAt(target, p.reader, now);
  const there = new Set((after.pods ?? []).map((pod) => pod.uid));
  const gone = after.workload === null ? [] : (before.pods ?? []).filter((pod) => !there.has(pod.uid));
  const excuses = await excusesFor(gone, { namespace: target.namespace, cluster: p.reader });
  const window = { from: before.at, until: dueAt, late: lateMs > 0 };
  const deeds = deedsBetween({ before, after, excuses, window }, { kind: target.kind, name: target.name });
  const remedy = plan === null ? undefined : p.runbooks.get(plan.runbook);
  const alike = remedy?.kind === "remedy" && remedy.version === plan?.version ? remedy.alike : undefined;
  const { verdict, says } = compare({ plan, before, deeds, alike });
  const words = `${nameOf(target)}: ${says}${lateMs > 0 ? `; read ${span(lateMs)} late` : ""}`;
  return { at: now, lateMs, verdict, says: inert(words, 500) };
}
