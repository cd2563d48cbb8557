/** One lane: a process that plays seeds one after the other and checks each; its parent names them. */
import { startPlane } from "../../cluster/plane.js";
import { check, type Checked } from "../checker/check.js";
import type { History } from "../checker/history.js";
import type { NemesisName } from "../story/nemeses.js";
import { draw } from "../story/story.js";
import { createHosts } from "./hosts.js";
import { play } from "./play.js";
import { startRedisVictim } from "./redis.js";

export type ToLane = { seed: number; nemeses: NemesisName[] } | { end: true };

export interface Played {
  seed: number;
  nemesis: NemesisName;
  /** The second fault and the workload beside the others, for people. */
  beside: string;
  /** How each incident ended, for people. */
  outcomes: string[];
  /** What was drawn, in one line. */
  story: string;
  checked: Checked;
  hits: string[];
  recoveryMs: number;
  tookMs: number;
}

export type FromLane = { played: Played } | { broke: { seed: number; says: string } } | { ready: true };

const hosts = createHosts();
const redis = await startRedisVictim();
const plane = process.env["CHAOS_CLUSTER"] ? await startPlane() : null;
const ended = () => Promise.allSettled([hosts.end(), redis.end(), plane?.stop()]);
const say = (message: FromLane) => process.send?.(message);

async function one(seed: number, nemeses: NemesisName[]): Promise<void> {
  const began = performance.now();
  const story = draw(seed, nemeses);
  const { history, hits, recoveryMs } = await play({ hosts, redis, plane }, story);
  const { subjects, cells: _cells, ...rest } = story;
  const line = JSON.stringify({ ...rest, subjects });
  say({
    played: {
      seed,
      nemesis: story.nemesis,
      beside: [story.second, story.extra?.what].map((one) => (one ? ` + ${one}` : "")).join(""),
      story: line,
      outcomes: outcomesOf(history),
      checked: check(history),
      hits,
      recoveryMs,
      tookMs: Math.round(performance.now() - began),
    },
  });
}

function outcomesOf(history: History): string[] {
  return history.end.incidents.map((incident) => {
    const name = history.targets.find((target) => target.uid === incident.uid)?.step ?? "no target";
    return `${name} ${incident.state}${incident.reason === null ? "" : ` (${incident.reason})`}`;
  });
}

process.on("message", (message: ToLane) => {
  if ("end" in message) {
    void ended().then(() => process.exit(0));
    return;
  }
  const { seed, nemeses } = message;
  one(seed, nemeses).catch((error: unknown) =>
    say({ broke: { seed, says: String((error as Error)?.stack ?? error) } }),
  );
});
// Ctrl-C reaches the whole group: the parent decides, and its end is the end of this.
for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => undefined);
process.on("disconnect", () => void ended().then(() => process.exit(0)));
say({ ready: true });
