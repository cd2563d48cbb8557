/** The processes of one lane: a front, two hands, and a spare that is booted already when one of them is killed. */
import { type ChildProcess, fork } from "node:child_process";
import { fileURLToPath } from "node:url";
import type { FromHost, ToHost } from "./host.js";

const HOST = fileURLToPath(new URL("./host.ts", import.meta.url));

export type Place = "front" | "hands-1" | "hands-2";
export const places: readonly Place[] = ["front", "hands-1", "hands-2"];

export interface Arrival {
  place: Place;
  pid: number;
  bracket: string;
  incident: string;
  step: string;
  /** Lets it go on. */
  go(): void;
}

interface Booted {
  child: ChildProcess;
  booted: Promise<void>;
}

export interface Hosts {
  /** Told of each arrival at a bracket; must call `go` some time. */
  arrived: (arrival: Arrival) => void;
  start(place: Place, of: Omit<Extract<ToHost, { do: "start" }>, "do">): Promise<void>;
  stop(place: Place): Promise<void>;
  /** SIGKILL; what runs there is gone. Resolves when the process is. */
  kill(place: Place): Promise<void>;
  signal(place: Place, signal: "SIGSTOP" | "SIGCONT"): void;
  pid(place: Place): number | undefined;
  end(): Promise<void>;
}

export function createHosts(env: Record<string, string> = {}): Hosts {
  const at = new Map<Place, Booted>();
  let spare: Booted | null = boot();

  function boot(): Booted {
    const child = fork(HOST, [], {
      execArgv: ["--import", "tsx"],
      env: { ...process.env, ...env },
      stdio: ["ignore", "inherit", "inherit", "ipc"],
    });
    child.setMaxListeners(50);
    return { child, booted: heard(child, "booted") };
  }

  function heard(child: ChildProcess, what: "booted" | "started" | "stopped"): Promise<void> {
    return new Promise((resolve, reject) => {
      const onMessage = (message: FromHost) => {
        if (message.did === what) done();
        else if (message.did === "failed") done(new Error(message.says));
      };
      const onExit = () => done(new Error(`a process ended before it had ${what}`));
      const done = (error?: Error) => {
        child.off("message", onMessage);
        child.off("exit", onExit);
        if (error) reject(error);
        else resolve();
      };
      child.on("message", onMessage);
      child.once("exit", onExit);
    });
  }

  function send(child: ChildProcess, message: ToHost): void {
    if (child.connected) child.send(message, () => undefined);
  }

  const hosts: Hosts = {
    arrived: (arrival) => arrival.go(),
    async start(place, of) {
      let host = at.get(place);
      if (host === undefined) {
        host = spare ?? boot();
        spare = null;
        at.set(place, host);
        const { child } = host;
        child.on("message", (message: FromHost) => {
          if (message.did !== "arrived") return;
          const { id, bracket, incident, step } = message;
          const go = () => send(child, { do: "go", id });
          hosts.arrived({ place, pid: child.pid ?? 0, bracket, incident, step, go });
        });
        await host.booted;
      }
      const started = heard(host.child, "started");
      send(host.child, { do: "start", ...of });
      await started;
      spare ??= boot();
    },
    async stop(place) {
      const host = at.get(place);
      if (host === undefined) return;
      const stopped = heard(host.child, "stopped");
      send(host.child, { do: "stop" });
      await stopped;
    },
    async kill(place) {
      const host = at.get(place);
      if (host === undefined) return;
      at.delete(place);
      await ended(host.child);
    },
    signal: (place, signal) => void at.get(place)?.child.kill(signal),
    pid: (place) => at.get(place)?.child.pid,
    async end() {
      const all = [...at.values(), ...(spare === null ? [] : [spare])];
      at.clear();
      spare = null;
      for (const { booted } of all) booted.catch(() => undefined);
      await Promise.all(all.map(({ child }) => ended(child)));
    },
  };
  return hosts;
}

async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = new Promise((done) => child.once("exit", done));
  child.kill("SIGKILL");
  await gone;
}
