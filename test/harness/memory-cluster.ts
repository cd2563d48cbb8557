import type { ClusterReader, KubeObject, ListQuery, ObjectRef } from "../../src/cluster.js";

/** A ClusterReader over a list of objects, for tests of what only reads. */
export function memoryCluster(
  objects: Partial<KubeObject>[],
  fail: (query: ListQuery) => Error | null = () => null,
): ClusterReader {
  const all = objects.map(
    (object, index) =>
      ({ ...object, metadata: { uid: `uid-${index}`, resourceVersion: "1", ...object.metadata } }) as KubeObject,
  );
  const selected = (object: KubeObject, selector: string | undefined) =>
    (selector ?? "")
      .split(",")
      .filter((part) => part !== "")
      .every((part) => {
        const [key = "", value] = part.split("=");
        return object.metadata.labels?.[key] === value;
      });
  return {
    get: async (ref: ObjectRef) =>
      all.find(
        (o) => o.kind === ref.kind && o.metadata.name === ref.name && (o.metadata.namespace ?? "") === ref.namespace,
      ) ?? null,
    list: async (query: ListQuery) => {
      const error = fail(query);
      if (error !== null) throw error;
      return all.filter(
        (o) =>
          o.kind === query.kind &&
          (query.namespace === "" || o.metadata.namespace === query.namespace) &&
          selected(o, query.labelSelector),
      );
    },
    logs: async () => "",
    can: async () => true,
  };
}
