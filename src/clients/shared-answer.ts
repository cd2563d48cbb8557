/**
 * One question that many ask at once: an answer may be shared, and what must not be older than the asker is asked anew.
 * An error is told to those who wait for it and kept for nobody else.
 */
export interface SharedAnswer<T> {
  /** An answer whose question went out less than `sharedMs` ago, or a new one; `fresh` where it went out just now. */
  recent(): { fresh: boolean; answer: Promise<T> };
  /** An answer whose question goes out now or later; everyone who waits for the one under way shares the next. */
  next(): Promise<T>;
}

export function shareAnswer<T>(ask: () => Promise<T>, sharedMs: number): SharedAnswer<T> {
  let last: { at: number; answer: Promise<T> } | null = null;
  let underWay = false;
  let queued: Promise<T> | null = null;

  function start(): Promise<T> {
    underWay = true;
    const answer = ask().finally(() => {
      underWay = false;
    });
    const mine = { at: performance.now(), answer };
    last = mine;
    answer.catch(() => {
      if (last === mine) last = null;
    });
    return answer;
  }

  return {
    recent() {
      if (last !== null && performance.now() - last.at < sharedMs) return { fresh: false, answer: last.answer };
      return { fresh: true, answer: start() };
    },
    next() {
      if (!underWay || last === null) return start();
      queued ??= last.answer
        .then(
          () => undefined,
          () => undefined,
        )
        .then(() => {
          queued = null;
          return start();
        });
      return queued;
    },
  };
}
