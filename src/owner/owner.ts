/** Who else writes a target's fields. */
export interface Owner {
  kind: "hpa" | "keda" | "argo-cd" | "flux" | "helm" | "argo-rollouts" | "operator" | "external-secrets";
  name: string;
  /** One sentence. */
  says: string;
  /** True when the change must be made through the owner: hand off, never write. */
  handsOff: boolean;
  /** JSON pointers of the fields it writes, e.g. `/spec/replicas`. */
  writes: string[];
}
