/** For the processes of a benchmark: none outlives the one that started it, and a profile is written at the end. */
export function endWithParent(): void {
  process.once("disconnect", () => process.exit(0));
  process.once("SIGTERM", () => process.exit(0));
}
