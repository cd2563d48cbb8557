/** Chance out of a seed: the same seed draws the same numbers on every machine (mulberry32). */

export interface Random {
  /** From 0 up to and without 1. */
  next(): number;
  /** A whole number from `from` to `to`, both included. */
  whole(from: number, to: number): number;
  pick<T>(of: readonly T[]): T;
  chance(share: number): boolean;
  shuffle<T>(of: readonly T[]): T[];
}

export function randomOf(seed: number): Random {
  let state = (seed ^ 0x9e3779b9) >>> 0;
  const next = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
  const whole = (from: number, to: number) => from + Math.floor(next() * (to - from + 1));
  return {
    next,
    whole,
    pick: (of) => {
      const found = of[whole(0, of.length - 1)];
      if (found === undefined) throw new Error("nothing to pick from");
      return found;
    },
    chance: (share) => next() < share,
    shuffle(of) {
      const out = [...of];
      for (let i = out.length - 1; i > 0; i -= 1) {
        const j = whole(0, i);
        [out[i], out[j]] = [out[j] as (typeof out)[number], out[i] as (typeof out)[number]];
      }
      return out;
    },
  };
}
