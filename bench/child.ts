/** Processes that a benchmark starts: the product itself, bare minima beside it, and the load. Stopped by pid. */
import { type ChildProcess, fork, spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { freePort, until } from "../sandbox/processes.js";

const bin = fileURLToPath(new URL("../bin/nightshift.js", import.meta.url));
/** Linux counts a process's time in ticks of this many milliseconds. */
const TICK_MS = 10;

/** BENCH_PROFILE=DIR leaves a processor profile of every process there. */
function profiling(): string[] {
  const dir = process.env["BENCH_PROFILE"];
  return dir === undefined ? [] : ["--cpu-prof", `--cpu-prof-dir=${dir}`];
}

export interface Child {
  pid: number;
  stop(): Promise<void>;
}

export async function endOf(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = new Promise<void>((done) => child.once("exit", () => done()));
  child.kill("SIGTERM");
  const timer = setTimeout(() => child.kill("SIGKILL"), 10_000);
  await gone;
  clearTimeout(timer);
}

/** Forks a file of this folder and hands over its first message, which says that it is ready. It must not outlive us. */
export async function start<Ready>(
  file: string,
  input: unknown,
): Promise<Child & { ready: Ready; child: ChildProcess }> {
  const child = fork(fileURLToPath(new URL(`./${file}`, import.meta.url)), [JSON.stringify(input)], {
    execArgv: ["--import", "tsx", ...profiling()],
    stdio: ["ignore", "inherit", "inherit", "ipc"],
  });
  return { pid: child.pid ?? 0, child, ready: await message<Ready>(child, file), stop: () => endOf(child) };
}

/** Forks a file that measures, and hands over what it measured. */
export async function measured<Answer>(file: string, input: unknown): Promise<Answer> {
  const { ready, child } = await start<Answer>(file, input);
  await endOf(child);
  return ready;
}

function message<T>(child: ChildProcess, what: string): Promise<T> {
  return new Promise((resolve, reject) => {
    child.once("message", (said) => resolve(said as T));
    child.once("error", reject);
    child.once("exit", (code) => reject(new Error(`bench/${what} ended with ${code} before it said anything`)));
  });
}

export interface Served extends Child {
  url: string;
  /** From spawn to the first 200 of /readyz, milliseconds. */
  readyMs: number;
}

/** The product as users run it: the built command line, `serve`, ready. Errors: Error with its last lines. */
export async function serve(env: Record<string, string>): Promise<Served> {
  const port = await freePort();
  const began = performance.now();
  const child = spawn(process.execPath, [...profiling(), bin, "serve"], {
    env: { PATH: process.env["PATH"] ?? "", NIGHTSHIFT_HOST: "127.0.0.1", NIGHTSHIFT_PORT: String(port), ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let words = "";
  for (const stream of [child.stdout, child.stderr])
    stream.on("data", (chunk: Buffer) => {
      words = (words + chunk.toString()).slice(-3000);
      if (process.env["BENCH_LOG"]) process.stderr.write(chunk);
    });
  const url = `http://127.0.0.1:${port}`;
  let readyMs = Number.NaN;
  try {
    await until(
      "nightshift serve to be ready",
      async () => {
        if (child.exitCode !== null) throw new Error("it ended");
        // Tighter than the helper's own pace: the time itself is a figure.
        for (let i = 0; i < 200 && child.exitCode === null; i += 1) {
          if (
            await fetch(`${url}/readyz`).then(
              (answer) => answer.ok,
              () => false,
            )
          ) {
            readyMs = performance.now() - began;
            return true;
          }
          await new Promise((done) => setTimeout(done, 5));
        }
        return false;
      },
      30_000,
    );
  } catch (cause) {
    await endOf(child);
    throw new Error(`${(cause as Error).message}\n${words}`, { cause });
  }
  return { pid: child.pid ?? 0, url, readyMs, stop: () => endOf(child) };
}

/** How long a command of the product takes from spawn to its end, milliseconds. Errors: Error when it does not end well. */
export async function commandMs(args: readonly string[], env: Record<string, string> = {}): Promise<number> {
  const began = performance.now();
  const child = spawn(process.execPath, [bin, ...args], {
    env: { PATH: process.env["PATH"] ?? "", ...env },
    stdio: ["ignore", "ignore", "pipe"],
  });
  let words = "";
  child.stderr.on("data", (chunk: Buffer) => (words = (words + chunk.toString()).slice(-2000)));
  const code = await new Promise<number | null>((done) => child.once("close", done));
  if (code !== 0) throw new Error(`nightshift ${args.join(" ")} ended with ${code}: ${words}`);
  return performance.now() - began;
}

/** Memory that a process has in RAM now, and the most it ever had, MiB. */
export function memoryOf(pid: number): { rss: number; peak: number } {
  const text = readFileSync(`/proc/${pid}/status`, "utf8");
  const kib = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+) kB`, "m").exec(text)?.[1] ?? Number.NaN);
  return { rss: kib("VmRSS") / 1024, peak: kib("VmHWM") / 1024 };
}

/** Processor time that a process has used, milliseconds. */
export function cpuOf(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8")
    .replace(/^.*\) /, "")
    .split(" ");
  return (Number(fields[11]) + Number(fields[12])) * TICK_MS;
}
