import type { Redis } from "ioredis";
import { type Line, lineOf, readLine, writeLine } from "../record/line.js";
import type { IncidentRecord } from "../record/incident.js";
import type { LineStore } from "../record/store.js";
import { asking } from "./redis.js";

const WEEK_MS = 7 * 24 * 3600_000;
/** One hash per week in which incidents opened; a week's lines go together, this long after the last was written. */
export const LINES_TTL_S = 53 * 7 * 24 * 3600;

const weekOf = (ms: number) => Math.floor(ms / WEEK_MS);

/** Where the record's line goes, and the line; "" where it has none. Written by the script that writes the record. */
export function lineFor(record: IncidentRecord, prefix: string): { key: string; text: string } {
  const line = lineOf(record);
  return { key: `${prefix}:lines:${weekOf(record.openedAt)}`, text: line === null ? "" : writeLine(line) };
}

/** The lines of incidents, a year of them. */
export function createLineStore(redis: Redis, prefix: string): LineStore {
  const since = `${prefix}:lines:since`;
  return {
    async begin(now) {
      await asking("note since when lines are kept", () => redis.set(since, String(now), "NX"));
    },
    async between(from, to) {
      const begun = await asking("ask since when lines are kept", () => redis.get(since));
      const lines: Line[] = [];
      let unread = 0;
      for (let week = weekOf(from); week <= weekOf(to); week += 1) {
        const all = await asking("read the incidents of a week", () => redis.hgetall(`${prefix}:lines:${week}`));
        for (const [id, text] of Object.entries(all)) {
          const line = readLine(id, text);
          if (line === null) unread += 1;
          else if (line.openedAt >= from && line.openedAt <= to) lines.push(line);
        }
      }
      return {
        lines: lines.sort((a, b) => a.openedAt - b.openedAt),
        unread,
        since: begun === null ? null : Math.max(Number(begun), to - LINES_TTL_S * 1000),
      };
    },
  };
}
