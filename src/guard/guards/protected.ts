import { alwaysProtected } from "../../policy/names.js";
import { type Guard, holds, passes } from "../guard.js";

const UNADDRESSABLE = new Set([
  "Namespace",
  "Node",
  "PersistentVolume",
  "CustomResourceDefinition",
  "ClusterRole",
  "ClusterRoleBinding",
]);

/** G19. Nightshift never writes to what it stands on, nor outside what the policy lists. */
export const guard: Guard = {
  name: "protected",
  order: 3,
  overrule: "fixed",
  summary:
    "Holds plans for protected namespaces, for Nightshift's own, and for anything that the policy does not list.",
  async evaluate({ target, policy, ownNamespace }) {
    const { cluster, namespace, kind } = target;
    if (UNADDRESSABLE.has(kind))
      return holds("unsupported-kind", `${kind} is never changed`, { expected: "a workload", found: kind });
    const closed = [...policy.protected, ...alwaysProtected, ownNamespace];
    if (namespace === "" || closed.includes(namespace)) {
      return holds("protected", `namespace ${namespace || "(none)"} is protected: read only`, {
        expected: "an open namespace",
        found: namespace || "none",
      });
    }
    const managed = policy.clusters.find((c) => c.name === cluster)?.namespaces.includes(namespace) ?? false;
    if (!managed)
      return holds("unmanaged", `namespace ${namespace} of cluster ${cluster} is not in the policy`, {
        expected: "a listed namespace",
        found: `${cluster}/${namespace}`,
      });
    return passes("a listed, open namespace", "listed and open", namespace);
  },
};
