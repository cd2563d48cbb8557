/** Every version of a few kinds' objects, as a watch of a real API server tells them. */
import { setTimeout as sleep } from "node:timers/promises";
import { apiVersionOf, kindNamed, type Raw } from "../../../sandbox/kubernetes/kinds.js";
import type { RawApi } from "../raw-api.js";

export interface Followed {
  kind: string;
  namespace: string;
}

export interface Versions {
  /** Whether objects of this kind and namespace are followed. */
  follows(of: Followed): boolean;
  get(kind: string, namespace: string, name: string): Raw | undefined;
  list(kind: string, namespace?: string): Raw[];
  /** A moment in the order in which versions were heard of. */
  now(): number;
  /** The object as it was at that moment. */
  at(of: Followed & { name: string }, moment: number): Raw | null;
  /** The version right before this one; null for the first. Waits until the watch has told of it. */
  before(of: Followed & { name: string }, resourceVersion: string): Promise<Raw | null>;
  stop(): Promise<void>;
}

interface Version {
  moment: number;
  /** Null where it was deleted. */
  object: Raw | null;
}

/** A watch lags by milliseconds; one that lags by this much has ended. */
const LAG_MS = 10_000;

export async function followVersions(api: RawApi, followed: readonly Followed[]): Promise<Versions> {
  const kept = new Map<string, Version[]>();
  const stopping = new AbortController();
  let moment = 0;

  const keyOf = (kind: string, namespace: string, name: string) => `${kind} ${namespace}/${name}`;
  const versions = (of: Followed & { name: string }) => kept.get(keyOf(of.kind, of.namespace, of.name)) ?? [];

  function add(kind: string, object: Raw, gone: boolean): void {
    const { namespace, name, resourceVersion } = object.metadata;
    const all = versions({ kind, namespace, name });
    if (!gone && all.at(-1)?.object?.metadata.resourceVersion === resourceVersion) return;
    moment += 1;
    all.push({ moment, object: gone ? null : { ...object, kind } });
    kept.set(keyOf(kind, namespace, name), all);
  }

  async function list(of: Followed): Promise<string> {
    const answer = await api.ask("GET", pathOf(of));
    if (answer.status !== 200) throw new Error(`a list of ${of.kind} was answered with ${answer.status}`);
    for (const item of answer.body.items as Raw[]) add(of.kind, item, false);
    return answer.body.metadata.resourceVersion as string;
  }

  async function follow(of: Followed, from: string): Promise<void> {
    let version = from;
    while (!stopping.signal.aborted) {
      try {
        for await (const event of api.watch(pathOf(of), version, stopping.signal)) {
          if (event.type === "ERROR") break;
          version = event.object.metadata.resourceVersion as string;
          if (event.type !== "BOOKMARK") add(of.kind, event.object, event.type === "DELETED");
        }
      } catch {
        if (stopping.signal.aborted) return;
        await sleep(50);
      }
    }
  }

  const from = await Promise.all(followed.map(list));
  const following = followed.map((of, index) => follow(of, from[index] ?? ""));

  return {
    follows: ({ kind, namespace }) => followed.some((of) => of.kind === kind && of.namespace === namespace),
    get: (kind, namespace, name) => versions({ kind, namespace, name }).at(-1)?.object ?? undefined,
    list: (kind, namespace) =>
      [...kept]
        .filter(([key]) => key.startsWith(namespace === undefined ? `${kind} ` : `${kind} ${namespace}/`))
        .flatMap(([, all]) => all.at(-1)?.object ?? []),
    now: () => moment,
    at: (of, then) => versions(of).findLast((version) => version.moment <= then)?.object ?? null,
    async before(of, resourceVersion) {
      const until = performance.now() + LAG_MS;
      for (;;) {
        const index = versions(of).findIndex(({ object }) => object?.metadata.resourceVersion === resourceVersion);
        if (index >= 0) return versions(of)[index - 1]?.object ?? null;
        if (performance.now() > until)
          throw new Error(`${of.kind} ${of.name}: the watch never told of version ${resourceVersion}`);
        await sleep(5);
      }
    },
    async stop() {
      stopping.abort();
      await Promise.all(following);
    },
  };
}

function pathOf(of: Followed): string {
  const kind = kindNamed(of.kind);
  const apiVersion = apiVersionOf(kind);
  return `${apiVersion === "v1" ? "/api" : "/apis"}/${apiVersion}/namespaces/${of.namespace}/${kind.plural}`;
}
