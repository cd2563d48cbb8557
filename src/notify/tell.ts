import { messageOf } from "../errors.js";
import type { IncidentRecord } from "../record/incident.js";
import type { PagerPort, SlackPort, WordsContext } from "./notify.js";
import { pagerEvent, pagerResolve } from "./pager-event.js";
import { incidentMessage } from "./slack-message.js";
import { threadReplies } from "./thread.js";

export interface TellPorts {
  slack: SlackPort | null;
  pager: PagerPort | null;
  channel: string;
  words: WordsContext;
}

/** What was done, to be saved; what was not, begins with "PagerDuty" or "Slack". */
export interface Told {
  slack: NonNullable<IncidentRecord["slack"]> | null;
  paged: boolean;
  resolved: boolean;
  failures: string[];
}

/**
 * Brings people to the record's present state. PagerDuty first: it is what wakes them. One failing never keeps the other.
 * Doing it again does no harm: PagerDuty merges by key, Slack's message is edited in place.
 */
export async function tell(record: IncidentRecord, ports: TellPorts): Promise<Told> {
  const told: Told = { slack: null, paged: false, resolved: false, failures: [] };
  const attempt = async (who: string, act: () => Promise<void>) => {
    try {
      await act();
    } catch (error) {
      told.failures.push(`${who}: ${messageOf(error)}`);
    }
  };
  const { pager, slack, words } = ports;
  if (record.page === "wanted") {
    await attempt("PagerDuty", async () => {
      if (pager === null) throw new Error("no routing key is set, nobody can be woken");
      await pager.send(pagerEvent(record, words));
      told.paged = true;
    });
  }
  if (record.pageResolve === "wanted" && pager !== null) {
    await attempt("PagerDuty", async () => {
      await pager.send(pagerResolve(record));
      told.resolved = true;
    });
  }
  if (slack !== null)
    await attempt("Slack", async () => {
      told.slack = await tellSlack(record, { ...ports, slack });
    });
  return told;
}

async function tellSlack(record: IncidentRecord, ports: TellPorts & { slack: SlackPort }): Promise<Told["slack"]> {
  const { slack, words, channel } = ports;
  const message = incidentMessage(record, words);
  let place = record.slack;
  if (place === null) {
    // An earlier post may have been made and its answer lost: the marker finds it.
    const found =
      record.timeline.length > 1 || record.updatedAt !== record.openedAt
        ? await slack.find(channel, record.id).catch(() => null)
        : null;
    const made = found ?? (await slack.post({ ...message, channel, incident: record.id }));
    place = { ...made, thread: 0 };
    if (found !== null) await slack.update({ ...message, ...made });
  } else await slack.update({ ...message, channel: place.channel, ts: place.ts });
  if (place.thread < record.timeline.length) {
    for (const reply of threadReplies(record, place.thread)) {
      await slack.post({ ...reply, channel: place.channel, threadTs: place.ts, incident: record.id });
    }
  }
  return { ...place, thread: record.timeline.length };
}
