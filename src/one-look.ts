/** One look at the cluster: what several parts of one decision ask, they are answered alike, and it is asked once. */
import type { ClusterReader } from "./cluster.js";

/**
 * A reader that lives as long as one decision. Every question goes out once, live, when it is first asked; who asks it
 * again gets the same answer or the same error. Never kept: a later decision takes a look of its own.
 */
export function oneLook(reader: ClusterReader): ClusterReader {
  const asked = new Map<string, Promise<unknown>>();
  const once = <T>(key: string, ask: () => Promise<T>): Promise<T> => {
    const known = asked.get(key);
    if (known !== undefined) return known as Promise<T>;
    const answer = ask();
    // Whoever asked hears of the error; nobody may have asked a second time.
    answer.catch(() => undefined);
    asked.set(key, answer);
    return answer;
  };
  return {
    get: (ref) => once(["get", ref.apiVersion, ref.kind, ref.namespace, ref.name].join("\n"), () => reader.get(ref)),
    list: (query) =>
      once(
        ["list", query.apiVersion, query.kind, query.namespace, query.labelSelector, query.fieldSelector].join("\n"),
        () => reader.list(query),
      ),
    logs: (query) => reader.logs(query),
    can: (question) => reader.can(question),
  };
}
