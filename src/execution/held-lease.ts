import { isDeepStrictEqual } from "node:util";
import type { Clock } from "../clock.js";
import { ClusterError } from "../cluster.js";
import type { Ledger } from "./ledger.js";
import type { LeaseStore, LeaseView } from "./lease.js";

/**
 * A Lease that this process has taken. Renewals and ledger writes go through one queue, or a worker would conflict with
 * itself. Once a write finds the version moved the Lease is lost for good: `signal` aborts and every later write refuses.
 */
export class HeldLease {
  readonly token: number;
  readonly #store: LeaseStore;
  readonly #clock: Clock;
  readonly #abort = new AbortController();
  #view: LeaseView;
  #queue: Promise<unknown> = Promise.resolve();
  #stopped = false;

  constructor(store: LeaseStore, view: LeaseView, clock: Clock) {
    this.#store = store;
    this.#view = view;
    this.#clock = clock;
    this.token = view.token;
  }

  get ledger(): Ledger {
    return this.#view.ledger;
  }

  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  /** Renews every `everyMs` until stopped. Failures are left to the next write, which needs the Lease anyway. */
  renew(everyMs: number): void {
    void (async () => {
      while (!this.#stopped && !this.#abort.signal.aborted) {
        await this.#clock.sleep(everyMs, this.#abort.signal);
        if (!this.#stopped) await this.put((ledger) => ledger).catch(() => false);
      }
    })();
  }

  stop(): void {
    this.#stopped = true;
    this.#abort.abort(new Error("the Lease was given back"));
  }

  /** Writes the ledger; false: the Lease is lost, touch nothing. Errors: ClusterError when it cannot be told. */
  put(change: (ledger: Ledger) => Ledger, release = false): Promise<boolean> {
    const turn = this.#queue.then(() => this.#write(change, release));
    this.#queue = turn.catch(() => undefined);
    return turn;
  }

  async #write(change: (ledger: Ledger) => Ledger, release: boolean): Promise<boolean> {
    if (this.#abort.signal.aborted) return false;
    const ledger = change(structuredClone(this.#view.ledger));
    const next = { holder: release ? "" : this.#view.holder, token: release ? this.token + 1 : this.token, ledger };
    for (let attempt = 0; ; attempt += 1) {
      try {
        const written = await this.#store.write(this.#view.name, this.#view, next);
        if (written !== null) return this.#took(written, release);
      } catch (error) {
        if (!(error instanceof ClusterError && error.fateUnknown) || attempt >= 3) throw error;
      }
      // Refused, or unanswered: a PUT on a version can be told by reading. Ours, written after all, counts as written.
      const found = await this.#store.read(this.#view.name);
      if (found !== null && found.resourceVersion === this.#view.resourceVersion && attempt < 5) {
        await this.#clock.sleep(200 * (attempt + 1));
        continue;
      }
      const ours =
        found !== null &&
        found.holder === next.holder &&
        found.token === next.token &&
        isDeepStrictEqual(found.ledger, next.ledger);
      if (ours) return this.#took(found, release);
      this.#abort.abort(new Error("the Lease was taken away"));
      return false;
    }
  }

  #took(view: LeaseView, release: boolean): boolean {
    this.#view = view;
    if (release) this.stop();
    return true;
  }
}
