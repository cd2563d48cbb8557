import { randomBytes } from "node:crypto";

/** Time and chance, passed in so that tests can hold them still. The only file that may read the system's clock. */
export interface Clock {
  /** Wall clock, milliseconds since the epoch. */
  now(): number;
  /** A clock that never jumps, milliseconds since an arbitrary start. Durations are measured on it. */
  monotonic(): number;
  /** Resolves after `ms`, or earlier when the signal aborts. Never rejects. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
}

/** `bytes` random bytes as hex. */
export type RandomHex = (bytes: number) => string;

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  sleep: (ms, signal) =>
    new Promise((resolve) => {
      if (signal?.aborted) return resolve();
      const timer = setTimeout(done, ms);
      function done() {
        clearTimeout(timer);
        signal?.removeEventListener("abort", done);
        resolve();
      }
      signal?.addEventListener("abort", done, { once: true });
    }),
};

export const randomHex: RandomHex = (bytes) => randomBytes(bytes).toString("hex");

/** RFC 3339 with milliseconds, UTC. */
export function iso(ms: number): string {
  return new Date(ms).toISOString();
}
