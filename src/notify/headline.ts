import type { Diagnosis } from "../runbook.js";

/** The diagnosis in up to four lines, with the last log line where it belongs: for Slack and the console, never for PagerDuty. */
export function headlineWithLog(diagnosis: Diagnosis | null): string[] {
  if (diagnosis === null) return [];
  const last = diagnosis.logs.at(-1);
  return diagnosis.headline.map((line, i) =>
    i === diagnosis.logAt && last !== undefined ? `${line}; last log line: ${last}` : line,
  );
}
