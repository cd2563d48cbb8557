/** The load, in a process of its own: POSTs one body after the other on so many connections for so long. Closed loop. */
import { Pool } from "undici";
import { quantile } from "./figures.js";
import { alertOf, bodyOf, crashLoop } from "./payload.js";

export interface LoadInput {
  url: string;
  token: string;
  connections: number;
  ms: number;
  /** Answers before the clock starts. */
  warmUpMs: number;
  alertsPerPost: number;
}

export interface LoadAnswer {
  /** Answers by status; 0 is none. */
  answers: Record<string, number>;
  seconds: number;
  p50: number;
  p99: number;
}

/** So many different bodies go round: made before, so that the load costs little itself. Each gets a start of its own. */
const BODIES = 64;
const START = "2026-01-15T10:21:33.000000000Z";

const input = JSON.parse(process.argv[2] ?? "{}") as LoadInput;
const { origin, pathname } = new URL(input.url);
const pool = new Pool(origin, { connections: input.connections, pipelining: 1 });
const bodies = Array.from({ length: BODIES }, (_, b) =>
  bodyOf(Array.from({ length: input.alertsPerPost }, (_, i) => alertOf(crashLoop(b * input.alertsPerPost + i), START))),
);
const headers = { "content-type": "application/json", authorization: `Bearer ${input.token}` };

let answers: Record<string, number> = {};
let times: number[] = [];
let next = 0;

/** Another firing of the same alerts: no identity comes twice. */
function startOf(n: number): string {
  return START.replace("000000000", String(n).padStart(9, "0"));
}

async function run(ms: number): Promise<number> {
  answers = {};
  times = [];
  const began = performance.now();
  const lane = async () => {
    while (performance.now() - began < ms) {
      const at = performance.now();
      next += 1;
      const body = (bodies[next % BODIES] ?? "").replaceAll(START, startOf(next));
      const status = await pool.request({ method: "POST", path: pathname, headers, body }).then(
        async (answer) => {
          await answer.body.dump();
          return answer.statusCode;
        },
        () => 0,
      );
      answers[status] = (answers[status] ?? 0) + 1;
      times.push(performance.now() - at);
    }
  };
  await Promise.all(Array.from({ length: input.connections }, lane));
  return (performance.now() - began) / 1000;
}

await run(input.warmUpMs);
const seconds = await run(input.ms);
await pool.destroy();
const said: LoadAnswer = { answers, seconds, p50: quantile(times, 0.5), p99: quantile(times, 0.99) };
process.send?.(said);
