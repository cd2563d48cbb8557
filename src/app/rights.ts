/** What the writer may do, asked of the authorizer: part of the composition root. */
import type { Clock } from "../clock.js";
import type { AccessQuestion } from "../cluster.js";

/**
 * A yes is remembered for this long, a no never. A right taken away meanwhile costs nothing but the better words: the
 * API server itself refuses the write. Every gate asks for every right of its runbook, six questions for a restart.
 */
const YES_MS = 10_000;
const MOST = 10_000;

export function rememberYes(
  ask: (question: AccessQuestion) => Promise<boolean>,
  clock: Clock,
): (question: AccessQuestion) => Promise<boolean> {
  const allowed = new Map<string, number>();
  return async (question) => {
    const { verb, group, resource, subresource, namespace, name } = question;
    const key = [verb, group, resource, subresource, namespace, name].join("\n");
    const at = allowed.get(key);
    if (at !== undefined && clock.monotonic() - at < YES_MS) return true;
    const asked = clock.monotonic();
    const may = await ask(question);
    allowed.delete(key);
    if (may) allowed.set(key, asked);
    if (allowed.size > MOST) allowed.delete(allowed.keys().next().value ?? "");
    return may;
  };
}
