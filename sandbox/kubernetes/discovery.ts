import { allKinds, apiVersionOf, type Kind, type Raw, reviews } from "./kinds.js";

/** The documents by which clients learn what a server has. */

export const VERSION: Raw = {
  major: "1",
  minor: "36",
  gitVersion: "v1.36.3-nightshift-standin",
  gitCommit: "",
  gitTreeState: "clean",
  buildDate: "1970-01-01T00:00:00Z",
  goVersion: "none",
  compiler: "none",
  platform: "stand-in/not-a-cluster",
};

const VERBS = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];

/** The document at a discovery path, a text for health checks, or null. */
export function discover(path: string): Raw | string | null {
  if (path === "/version") return VERSION;
  if (path === "/healthz" || path === "/readyz" || path === "/livez") return "ok";
  if (path === "/api") return { kind: "APIVersions", versions: ["v1"], serverAddressByClientCIDRs: [] };
  if (path === "/apis") return { kind: "APIGroupList", apiVersion: "v1", groups: groups().map(groupOf) };
  const found = /^\/(?:api\/(v1)|apis\/([^/]+)(?:\/([^/]+))?)$/.exec(path);
  if (found === null) return null;
  const [, core, group = "", version] = found;
  if (core === undefined && version === undefined)
    return groups().includes(group) ? { kind: "APIGroup", apiVersion: "v1", ...groupOf(group) } : null;
  const here = allKinds.filter(
    (kind) => kind.group === (core === undefined ? group : "") && kind.version === (core ?? version),
  );
  if (here.length === 0) return null;
  return {
    kind: "APIResourceList",
    apiVersion: "v1",
    groupVersion: core ?? `${group}/${version}`,
    resources: here.flatMap(resourcesOf),
  };
}

function groups(): string[] {
  return [...new Set(allKinds.map((kind) => kind.group))].filter((group) => group !== "");
}

function groupOf(name: string): Raw {
  const versions = [...new Set(allKinds.filter((kind) => kind.group === name).map((kind) => kind.version))];
  const all = versions.map((version) => ({ groupVersion: `${name}/${version}`, version }));
  return { name, versions: all, preferredVersion: all[0] };
}

function resourcesOf(kind: Kind): Raw[] {
  const verbs = reviews.includes(kind) ? ["create"] : VERBS;
  const main = {
    name: kind.plural,
    singularName: kind.singular,
    namespaced: kind.namespaced,
    kind: kind.kind,
    verbs,
    ...(kind.shortNames.length > 0 ? { shortNames: kind.shortNames } : {}),
    ...(inAll.has(kind.kind) ? { categories: ["all"] } : {}),
  };
  return [main, ...kind.subresources.map((subresource) => subresourceOf(kind, subresource))];
}

const inAll = new Set([
  "Pod",
  "Service",
  "Deployment",
  "ReplicaSet",
  "StatefulSet",
  "DaemonSet",
  "HorizontalPodAutoscaler",
  "Job",
  "CronJob",
]);

function subresourceOf(kind: Kind, subresource: string): Raw {
  const base = { name: `${kind.plural}/${subresource}`, singularName: "", namespaced: kind.namespaced };
  switch (subresource) {
    case "scale":
      return { ...base, group: "autoscaling", version: "v1", kind: "Scale", verbs: ["get", "patch", "update"] };
    case "eviction":
      return { ...base, group: "policy", version: "v1", kind: "Eviction", verbs: ["create"] };
    case "log":
      return { ...base, kind: kind.kind, verbs: ["get"] };
    default:
      return { ...base, kind: kind.kind, verbs: ["get", "patch", "update"] };
  }
}

/** The object that `list` answers. */
export function listOf(kind: Kind, items: Raw[], metadata: Raw): Raw {
  return { kind: `${kind.kind}List`, apiVersion: apiVersionOf(kind), metadata, items };
}
