/** RFC 1123: what may name a Kubernetes object (subdomain) or namespace (label). */
const LABEL = /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/;
const SUBDOMAIN = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;

export function isNamespaceName(text: string): boolean {
  return LABEL.test(text);
}

export function isObjectName(text: string): boolean {
  return text.length <= 253 && SUBDOMAIN.test(text);
}

/** Where an alert's `instance` names an address: `host:port` or a bare address. */
export function isInstance(text: string): boolean {
  return /^[A-Za-z0-9.[\]:-]{1,253}$/.test(text) && !text.includes("//");
}

/** Never written to, whatever a policy says. */
export const alwaysProtected: readonly string[] = ["kube-system", "kube-public", "kube-node-lease"];
