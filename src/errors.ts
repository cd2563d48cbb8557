/**
 * The two families of errors. A TerminalError stops the work at hand; anything else is tried again with backoff.
 * Identity is the class and the `code`, never the message.
 */

/** Base of every error that Nightshift throws on purpose. `code` looks like `ERR_POLICY_REFUSED`. */
export class NightshiftError extends Error {
  readonly code: string;

  constructor(code: string, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.name = new.target.name;
    this.code = code;
  }
}

/** Trying again cannot help: bad input, a refused plan, a programming error. */
export class TerminalError extends NightshiftError {}

/** Written by a newer Nightshift that runs beside this one: left for it, whatever it is. */
export class NewerError extends NightshiftError {}

/** Something outside could not be reached or did not answer in time; trying again may help. */
export class UnavailableError extends NightshiftError {}

/** Several faults of one input, all listed at once. `faults` are whole sentences. */
export class FaultsError extends TerminalError {
  readonly faults: readonly string[];

  constructor(code: string, what: string, faults: readonly string[]) {
    super(
      code,
      `${what}: ${faults.length} fault${faults.length === 1 ? "" : "s"}\n${faults.map((f) => `  ${f}`).join("\n")}`,
    );
    this.faults = faults;
  }
}

/** The message of anything that was thrown. A host of several addresses fails with one error for each, and no words of its own. */
export function messageOf(error: unknown): string {
  if (error instanceof AggregateError && error.message === "") return error.errors.map(messageOf).join("; ");
  return error instanceof Error ? error.message : String(error);
}
