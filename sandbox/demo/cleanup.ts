/** What must be taken away again, in reverse order, once, whenever the end comes: also while things are still being set up. */
export interface Cleanup {
  /** Kept until the end; done at once where the end has already come. */
  push(...close: (() => Promise<unknown> | unknown)[]): void;
  /** Does everything, whatever fails; the same promise however often it is asked. */
  run(): Promise<void>;
  /** Whether the end has come: nothing more is to be set up. */
  readonly ended: boolean;
}

export function createCleanup(): Cleanup {
  const kept: (() => Promise<unknown> | unknown)[] = [];
  let ended: Promise<void> | null = null;
  const quietly = async (close: () => Promise<unknown> | unknown) => {
    try {
      await close();
    } catch {
      // One that cannot be closed must not keep the others.
    }
  };
  async function all(): Promise<void> {
    for (let close = kept.pop(); close !== undefined; close = kept.pop()) await quietly(close);
  }
  return {
    push(...close) {
      kept.push(...close);
      if (ended !== null) ended = ended.then(all);
    },
    run() {
      ended ??= all();
      return ended;
    },
    get ended() {
      return ended !== null;
    },
  };
}
