import { TerminalError } from "../errors.js";
import { MOST_WEEKS, periodOf, reportOf } from "../report/figures.js";
import { reportText } from "../report/text.js";
import { clock, connect } from "./connect.js";

const print = (text: string) => process.stdout.write(`${text}\n`);

/** Errors: TerminalError for a number of weeks that is none. */
export async function report(options: { weeks: string; json: boolean }): Promise<number> {
  const weeks = Number(options.weeks);
  if (!Number.isInteger(weeks) || weeks < 1 || weeks > MOST_WEEKS)
    throw new TerminalError(
      "ERR_WEEKS",
      `--weeks: expected a whole number from 1 to ${MOST_WEEKS}, found ${JSON.stringify(options.weeks)}`,
    );
  const connection = await connect();
  try {
    const period = periodOf(weeks, clock.now());
    const made = reportOf(period, await connection.lines.between(period.from, period.to));
    if (options.json) print(JSON.stringify(made, null, 2));
    else for (const line of reportText(made)) print(line);
    return 0;
  } finally {
    connection.close();
  }
}
