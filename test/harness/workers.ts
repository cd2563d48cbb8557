/** Worker processes that a test ends, freezes and replaces; see hands.ts. */
import { type ChildProcess, fork } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type { Bracket } from "../../src/execution/ports.js";
import { until } from "./processes.js";

const HANDS = fileURLToPath(new URL("./hands.ts", import.meta.url));

export interface Asked {
  bracket: Bracket;
  step: string;
  incident: string;
}

export interface Hand {
  readonly pid: number;
  /** It takes jobs. */
  readonly serves: boolean;
  readonly gone: boolean;
  /** SIGKILL; resolves when it is gone. */
  kill(): Promise<void>;
  /** SIGTERM; resolves when it has ended by itself. */
  terminate(): Promise<void>;
  /** SIGSTOP; resolves when the kernel says that it stands still. */
  freeze(): Promise<void>;
  /** SIGCONT. */
  thaw(): void;
}

export interface Hands {
  /** Those that take jobs now. */
  serving(): Hand[];
  /** Every worker and how far it has come, for messages. */
  says(): string;
  /** Whoever ends is replaced from now on, or no longer. */
  replace(on: boolean): void;
  stop(): Promise<void>;
}

export interface HandsOptions {
  env: Record<string, string>;
  count: number;
  /** Called at each bracket; the worker stays there for as long as this does not resolve. */
  asked(hand: Hand, asked: Asked): Promise<void>;
}

/** Starts `count` workers and a spare that takes a dead one's place within a moment, as a ReplicaSet would more slowly. */
export async function startHands(options: HandsOptions): Promise<Hands> {
  const all = new Set<Worker>();
  let replacing = true;
  let spare: Promise<Worker> | null = null;

  function made(): Promise<Worker> {
    const worker = forkOne(options);
    all.add(worker);
    worker.child.once("exit", () => {
      all.delete(worker);
      if (replacing && worker.promoted) void promote();
    });
    return worker.warm.then(() => worker);
  }
  async function promote(): Promise<void> {
    // Taken at once: of two that die together the second must not wait for the same one.
    const taken = spare ?? made();
    spare = null;
    const next = await taken;
    next.promoted = true;
    next.child.send("go");
    await next.ready;
    if (replacing) spare ??= made();
  }
  await Promise.all(Array.from({ length: options.count }, () => promote()));

  return {
    serving: () => [...all].filter((worker) => worker.serves && !worker.gone),
    says: () =>
      [...all]
        .map(({ pid, gone, serves, promoted }) => {
          const how = gone ? "gone" : serves ? "serves" : promoted ? "is starting" : "is a spare";
          return `${pid} ${how}${gone ? "" : ` (${stateOf(pid)})`}`;
        })
        .join(", "),
    replace(on) {
      replacing = on;
    },
    async stop() {
      replacing = false;
      await Promise.all([...all].map((worker) => worker.kill()));
    },
  };
}

interface Worker extends Hand {
  child: ChildProcess;
  warm: Promise<void>;
  ready: Promise<void>;
  promoted: boolean;
  serves: boolean;
}

function forkOne(options: HandsOptions): Worker {
  const env = {
    ...process.env,
    ...options.env,
    NIGHTSHIFT_ROLE: "hands",
    NIGHTSHIFT_PORT: "0",
    HANDS_STANDBY: "1",
  };
  const child = fork(HANDS, [], { execArgv: ["--import", "tsx"], env, stdio: ["ignore", "inherit", "inherit", "ipc"] });
  const said = { warm: () => {}, ready: () => {} };
  const exited = new Promise<void>((done) => child.once("exit", () => done()));
  const worker: Worker = {
    child,
    pid: child.pid ?? 0,
    serves: false,
    promoted: false,
    get gone() {
      return child.exitCode !== null || child.signalCode !== null;
    },
    warm: new Promise((done) => (said.warm = done)),
    ready: Promise.race([exited, new Promise<void>((done) => (said.ready = done))]),
    kill: () => ending("SIGKILL"),
    terminate: () => ending("SIGTERM"),
    async freeze() {
      child.kill("SIGSTOP");
      await until(`${worker.pid} to stand still`, async () => stateOf(worker.pid) === "T", 5000);
    },
    thaw: () => void child.kill("SIGCONT"),
  };
  async function ending(signal: NodeJS.Signals): Promise<void> {
    if (!worker.gone) child.kill(signal);
    await exited;
  }
  child.on("message", (message: "warm" | "ready" | ({ ask: number } & Asked)) => {
    if (message === "warm") return said.warm();
    if (message === "ready") {
      worker.serves = true;
      return said.ready();
    }
    const { ask, ...asked } = message;
    void options.asked(worker, asked).then(() => {
      if (child.connected) child.send({ go: ask }, () => undefined);
    });
  });
  return worker;
}

/** The kernel's letter for the state of a process: T is stopped. */
function stateOf(pid: number): string {
  return /\) (\S)/.exec(readFileSync(`/proc/${pid}/stat`, "utf8"))?.[1] ?? "";
}
