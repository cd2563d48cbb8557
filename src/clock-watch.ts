/**
 * Whether this process's wall clock can be believed: measured against the API server's and Redis' own. Everybody else's
 * deadlines, approvals and starts are compared with it. Part of the hall.
 */
import type { Clock } from "./clock.js";
import type { Log } from "./log.js";

/** Half a Lease: who is further off than this decides nothing. */
const STOP_MS = 15_000;
/** An answer that took longer says nothing about the moment that it was made. */
const SLOW_MS = 4_000;
/** What was measured longer ago counts no more. */
const KEPT_MS = 60_000;

export interface TimeSource {
  /** As metrics and people name it: `Redis`. */
  name: string;
  /** Its wall clock, milliseconds. Errors: whatever asking it may bring. */
  now(): Promise<number>;
}

/** `says` is a sentence with the measured values. */
export type ClockVerdict = { agrees: boolean; says: string };

export interface ClockWatch {
  /** Asks every source once. Never rejects: who does not answer is not counted. */
  look(): Promise<void>;
  /**
   * Whether any of the others agrees with our clock; two that agree outvote a third. Who seems to be wrong is asked once more
   * first: a machine that slept has a wall clock that went on and a monotonic one that stood. Never rejects.
   */
  verdict(): Promise<ClockVerdict>;
}

export function createClockWatch(of: {
  clock: Clock;
  sources: readonly TimeSource[];
  log: Log;
  /** Seconds by which the source is ahead of us. */
  measured(source: string, seconds: number): void;
}): ClockWatch {
  const { clock } = of;
  /** Their wall clock at the moment zero of our monotonic one, so that a jump of ours shows at once. */
  const known = new Map<string, { base: number; at: number }>();
  const offOf = (base: number) => base + clock.monotonic() - clock.now();

  async function ask(source: TimeSource): Promise<void> {
    const began = clock.monotonic();
    const theirs = await source.now();
    const at = clock.monotonic();
    if (at - began > SLOW_MS || !Number.isFinite(theirs)) return;
    // Read in the middle of the way there and back, as far as anybody can tell.
    const base = theirs - (began + at) / 2;
    known.set(source.name, { base, at });
    of.measured(source.name, offOf(base) / 1000);
  }

  async function look(): Promise<void> {
    const asked = of.sources.map((source) =>
      ask(source).catch((error: unknown) => of.log.warn({ source: source.name, error }, "a clock could not be read")),
    );
    await Promise.all(asked);
  }

  function judge(): ClockVerdict {
    const off = of.sources.flatMap(({ name }) => {
      const one = known.get(name);
      return one === undefined || clock.monotonic() - one.at > KEPT_MS ? [] : [{ name, ms: offOf(one.base) }];
    });
    if (off.length === 0) return { agrees: false, says: "neither the API server nor Redis told its time" };
    return {
      agrees: off.some(({ ms }) => Math.abs(ms) <= STOP_MS),
      says: off.map(({ name, ms }) => `${name} is ${seconds(ms)}`).join(", "),
    };
  }

  return {
    look,
    async verdict() {
      const first = judge();
      if (first.agrees) return first;
      await look();
      return judge();
    },
  };
}

function seconds(offMs: number): string {
  const whole = Math.round(Math.abs(offMs) / 100) / 10;
  return whole === 0 ? "0 s off" : `${whole} s ${offMs > 0 ? "ahead of" : "behind"} this process`;
}
