import type { Ground } from "./ground.js";

/** The one who answers in the demo. */
export const YOU = "U0YOU";

/** A story's policy as text: the head that all share, and what the story says. `more` and `rules` are YAML. */
export function policyText(
  ground: Pick<Ground, "cluster" | "namespace">,
  of: { rules: string; namespaces?: readonly string[]; protected?: readonly string[]; expires?: string; more?: string },
): string {
  const namespaces = [ground.namespace, ...(of.namespaces ?? [])].join(", ");
  const closed = ["kube-system", "monitoring", ...(of.protected ?? [])].join(", ");
  return `apiVersion: nightshift.dev/v1
clusters: [{ name: ${ground.cluster}, namespaces: [${namespaces}] }]
protected: [${closed}]
defaults: { approval: { from: ["slack-user:${YOU}"], expires: ${of.expires ?? "10m"} } }
verify: { samples: 4, every: 1s, bake: 0s }
${of.more ?? ""}
rules:
${of.rules}
`;
}
