/** Durations and times as people read them. */
export function seconds(ms: number): string {
  if (Math.abs(ms) < 120_000) return `${Math.round(ms / 1000)} s`;
  if (Math.abs(ms) < 2 * 3600_000) return `${Math.round(ms / 60_000)} min`;
  return `${Math.round(ms / 3600_000)} h`;
}
