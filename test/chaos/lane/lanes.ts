/** Plays many seeds side by side, each lane a process with its own Redis and its own Nightshift. */
import { type ChildProcess, fork } from "node:child_process";
import { fileURLToPath } from "node:url";
import type { NemesisName } from "../story/nemeses.js";
import type { FromLane, Played, ToLane } from "./main.js";

const MAIN = fileURLToPath(new URL("./main.ts", import.meta.url));

export interface Playing {
  seeds: readonly number[];
  nemeses: NemesisName[];
  lanes: number;
  /** Another tree of the program that is played with. */
  root?: string;
  /** On a real control plane, one for each lane. */
  cluster?: boolean;
  /** No further seed is begun, and the lanes end at once. */
  halt?: AbortSignal;
  /** Told of each seed when it has ended. */
  onPlayed?(played: Played): void;
}

export interface AllPlayed {
  played: Played[];
  /** Seeds that could not be played to their end, with why: a fault of the test, or of the machine. */
  broke: { seed: number; says: string }[];
}

export async function playAll(of: Playing): Promise<AllPlayed> {
  const halted = () => of.halt?.aborted ?? false;
  const left = [...of.seeds];
  const played: Played[] = [];
  const broke: AllPlayed["broke"] = [];

  /** A lane that ends by itself takes its seed along; another is started for the rest. */
  async function lane(): Promise<void> {
    while (left.length > 0 && !halted()) {
      const child = fork(MAIN, [], {
        execArgv: ["--import", "tsx"],
        env: {
          ...process.env,
          ...(of.root === undefined ? {} : { CHAOS_ROOT: of.root }),
          ...(of.cluster === true ? { CHAOS_CLUSTER: "1" } : {}),
        },
        stdio: ["ignore", "inherit", "inherit", "ipc"],
      });
      of.halt?.addEventListener("abort", () => child.connected && child.disconnect());
      await answered(child, null);
      for (let seed = left.shift(); seed !== undefined; seed = left.shift()) {
        const answer = await answered(child, { seed, nemeses: of.nemeses });
        if (answer !== null && "played" in answer) {
          played.push(answer.played);
          of.onPlayed?.(answer.played);
          continue;
        }
        if (halted()) break;
        broke.push(answer !== null && "broke" in answer ? answer.broke : { seed, says: "its lane ended" });
        break;
      }
      await end(child);
    }
  }
  await Promise.all(Array.from({ length: Math.min(of.lanes, left.length) }, lane));
  played.sort((a, b) => a.seed - b.seed);
  return { played, broke };
}

function answered(child: ChildProcess, message: ToLane | null): Promise<FromLane | null> {
  return new Promise((resolve) => {
    const done = (answer: FromLane | null) => {
      child.off("message", done);
      child.off("exit", onExit);
      resolve(answer);
    };
    const onExit = () => done(null);
    child.on("message", done);
    child.once("exit", onExit);
    if (message !== null) child.send(message);
  });
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = new Promise((done) => child.once("exit", done));
  if (child.connected) child.send({ end: true } satisfies ToLane);
  const timer = setTimeout(() => child.kill("SIGKILL"), 10_000);
  await gone;
  clearTimeout(timer);
}
