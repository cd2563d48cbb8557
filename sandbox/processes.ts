import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";

/** Real programs on loopback: found on this machine, started on free ports, stopped by pid. */

export interface Running {
  url: string;
  dir: string;
  child: ChildProcess;
  stop(): Promise<void>;
}

export async function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const { port } = server.address() as { port: number };
      server.close(() => resolve(port));
    });
  });
}

/** The first of the programs that this machine has; null where it has none. */
export function program(...names: string[]): string | null {
  for (const name of names) {
    for (const dir of (process.env["PATH"] ?? "").split(":")) if (existsSync(join(dir, name))) return join(dir, name);
  }
  return null;
}

export const alertmanagerProgram = () =>
  process.env["ALERTMANAGER_BIN"] ?? program("prometheus-alertmanager", "alertmanager");
export const prometheusProgram = () => process.env["PROMETHEUS_BIN"] ?? program("prometheus");

/** Polls until the probe answers something; errors count as "not yet". */
export async function until<T>(
  what: string,
  probe: () => Promise<T | null | undefined | false>,
  ms = 60_000,
): Promise<T> {
  const deadline = performance.now() + ms;
  let last: unknown = null;
  while (performance.now() < deadline) {
    try {
      const found = await probe();
      if (found) return found as T;
    } catch (error) {
      last = error;
    }
    await new Promise((done) => setTimeout(done, 100));
  }
  throw new Error(`${what}: not within ${ms / 1000} s${last instanceof Error ? `; last: ${last.message}` : ""}`);
}

/** Starts a program and waits until it answers; its folder goes when it is stopped. */
export async function run(
  command: string,
  args: string[],
  of: { dir: string; url: string; ready: string },
): Promise<Running> {
  // A group of its own: Ctrl-C at the terminal must not end it before us.
  const child = spawn(command, args, { stdio: ["ignore", "pipe", "pipe"], cwd: of.dir, detached: true });
  const onExit = () => child.kill("SIGKILL");
  process.once("exit", onExit);
  let words = "";
  for (const stream of [child.stdout, child.stderr])
    stream?.on("data", (chunk: Buffer) => (words = (words + chunk.toString()).slice(-4000)));
  const stop = async () => {
    process.off("exit", onExit);
    if (child.exitCode === null && child.signalCode === null) {
      const ended = new Promise<void>((done) => child.once("exit", () => done()));
      child.kill("SIGTERM");
      const timer = setTimeout(() => child.kill("SIGKILL"), 5000);
      await ended;
      clearTimeout(timer);
    }
    rmSync(of.dir, { recursive: true, force: true });
  };
  try {
    await until(
      `${command} to answer`,
      async () => {
        if (child.exitCode !== null) throw new Error(`ended: ${words}`);
        return (await fetch(of.url + of.ready)).ok;
      },
      20_000,
    );
  } catch (cause) {
    await stop();
    throw new Error(`${(cause as Error).message}\n${words}`, { cause });
  }
  return { url: of.url, dir: of.dir, child, stop };
}
