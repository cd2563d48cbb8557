/** The machine's own redis-server as a child on a private socket, with AOF: for the demo, tests and one-machine use. */
import { type ChildProcess, spawn } from "node:child_process";
import { chmodSync, mkdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { Redis } from "ioredis";
import { TerminalError, UnavailableError } from "../errors.js";

export interface EmbeddedRedis {
  url: string;
  pid: number;
  /** Ends the server after it has saved; safe to call twice. */
  stop(): Promise<void>;
}

const HOW =
  "install it with `apt-get install redis-server` (Debian, Ubuntu) or `brew install redis`, or point REDIS_URL at one";

/** Errors: TerminalError where there is no redis-server, UnavailableError where it does not come up in 10 s. */
export async function startEmbeddedRedis(dataDir: string, program = "redis-server"): Promise<EmbeddedRedis> {
  const data = resolve(dataDir, "redis");
  mkdirSync(data, { recursive: true, mode: 0o700 });
  // A socket's path may hold 107 bytes: a deep data directory must not decide whether Redis starts.
  const inData = join(data, "redis.sock");
  const socketDir = inData.length < 100 ? data : join(tmpdir(), `nightshift-${process.pid}`);
  mkdirSync(socketDir, { recursive: true, mode: 0o700 });
  chmodSync(socketDir, 0o700);
  const socket = join(socketDir, "redis.sock");
  rmSync(socket, { force: true });
  const options = [
    "--port",
    "0",
    "--unixsocket",
    socket,
    "--unixsocketperm",
    "700",
    "--dir",
    data,
    "--appendonly",
    "yes",
  ];
  const fixed = [
    "--appendfsync",
    "everysec",
    "--maxmemory-policy",
    "noeviction",
    "--save",
    "",
    "--daemonize",
    "no",
    "--loglevel",
    "warning",
  ];
  // A group of its own: Ctrl-C at the terminal must reach Nightshift alone, which ends Redis last.
  const child = spawn(program, [...options, ...fixed], { stdio: ["ignore", "ignore", "pipe"], detached: true });
  let lastWords = "";
  child.stderr?.on("data", (chunk: Buffer) => {
    lastWords = `${lastWords}${chunk.toString()}`.slice(-500);
  });
  const gone = new Promise<never>((_, reject) => {
    child.once("error", (error: NodeJS.ErrnoException) => {
      if (error.code === "ENOENT")
        reject(new TerminalError("ERR_NO_REDIS", `there is no redis-server on this machine: ${HOW}`, { cause: error }));
      else reject(error);
    });
    child.once("exit", (code) =>
      reject(
        new UnavailableError(
          "ERR_REDIS_ENDED",
          `redis-server ended with code ${code}: ${lastWords.trim() || "no message"}`,
        ),
      ),
    );
  });
  gone.catch(() => undefined);
  const url = `unix://${socket}`;
  try {
    await Promise.race([answers(socket), gone]);
  } catch (error) {
    child.kill("SIGKILL");
    throw error;
  }
  // Without a parent there is nobody to serve: the process's own end takes the child along.
  const onExit = () => child.kill("SIGTERM");
  process.once("exit", onExit);
  return {
    url,
    pid: child.pid ?? 0,
    async stop() {
      process.off("exit", onExit);
      await end(child);
      if (socketDir !== data) rmSync(socketDir, { recursive: true, force: true });
    },
  };
}

async function answers(socket: string): Promise<void> {
  for (let attempt = 0; attempt < 200; attempt += 1) {
    const probe = new Redis({
      path: socket,
      lazyConnect: true,
      enableOfflineQueue: false,
      retryStrategy: () => null,
      connectTimeout: 500,
    } as object);
    probe.on("error", () => undefined);
    try {
      await probe.connect();
      await probe.ping();
      return;
    } catch {
      await new Promise((done) => setTimeout(done, 50));
    } finally {
      probe.disconnect();
    }
  }
  throw new UnavailableError("ERR_REDIS_UNREACHABLE", "redis-server did not answer on its socket within 10 s");
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = new Promise<void>((done) => child.once("exit", () => done()));
  child.kill("SIGTERM");
  const timer = setTimeout(() => child.kill("SIGKILL"), 5000);
  await ended;
  clearTimeout(timer);
}
