import type { Clock } from "../clock.js";
import { UnavailableError } from "../errors.js";
import type { IncidentRecord } from "./incident.js";
import { apply, type Event, type Nudge } from "./machine.js";
import type { RecordStore } from "./store.js";
import { whyOf } from "./why.js";

export type Transitioned =
  | { changed: true; record: IncidentRecord }
  | { changed: false; why: string; record: IncidentRecord | null };

export interface TransitionPorts {
  records: RecordStore;
  clock: Clock;
  /** Adds a job. It may fail or be lost; the sweep repairs, so failures are only logged. */
  nudge(incident: string, kind: Nudge, record: IncidentRecord): Promise<void>;
  /** Called once for every stored change, for metrics. */
  stored(before: IncidentRecord, after: IncidentRecord, event: Event): void;
}

/** `known` is the record as the caller has just read or written it: it saves reading it again, and nothing rests on it. */
export type Transition = (incident: string, event: Event, who: string, known?: IncidentRecord) => Promise<Transitioned>;

/** Moves a record by one event: read, apply, compare-and-set; on a lost race read again and apply again. */
export function createTransition(ports: TransitionPorts): Transition {
  return async function transition(incident, event, who, known) {
    let guess = known?.id === incident ? known : null;
    for (let attempt = 0; attempt < 50; attempt += 1) {
      const guessed = guess !== null;
      const record = guess ?? (await ports.records.get(incident));
      guess = null;
      if (record === null) return { changed: false, why: "there is no such incident", record: null };
      const now = ports.clock.now();
      const change = apply(record, event, now);
      // A "no" is said of what is stored, never of what a caller remembers.
      if (!change.changed && guessed) continue;
      if (!change.changed) return { changed: false, why: change.why, record };
      const says = whyOf(record, change.record, event);
      const audit = { at: now, incident, event: event.type, from: record.state, to: change.record.state, who, says };
      const stored = await ports.records.save(change.record, audit);
      if (stored !== null) {
        ports.stored(record, stored, event);
        for (const kind of change.nudges) await ports.nudge(incident, kind, stored);
        return { changed: true, record: stored };
      }
      if (guessed) continue;
      // Somebody else wrote first: a short wait, longer each time, so that many writers of one record all get through.
      await ports.clock.sleep(Math.min(5 * (attempt + 1), 100));
    }
    throw new UnavailableError(
      "ERR_RECORD_CONTENDED",
      `incident ${incident} kept changing under 50 attempts to apply ${event.type}`,
    );
  };
}
