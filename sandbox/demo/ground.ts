/** The cluster that a story plays on, as the story sees it. */
import type { Raw } from "../kubernetes/kinds.js";

export interface Ground {
  /** Whether this is a cluster of the user's. */
  real: boolean;
  /** The cluster's name in alerts and policy, the namespace of the workloads, and Nightshift's own. */
  cluster: string;
  namespace: string;
  own: string;
  /** What the front and the hands need in their environment to reach it. */
  env: Record<string, string>;
  get(kind: string, name: string, namespace?: string): Promise<Raw | undefined>;
  list(kind: string, namespace?: string): Promise<Raw[]>;
  /** A person, or another program, writes: a strategic merge patch of a workload, a merge patch of anything else. */
  patch(of: { kind: string; name: string; namespace?: string; by?: string; body: unknown }): Promise<void>;
  /**
   * Nightshift's writes to what is not its own, as the API server counts them: dry runs and fences (an annotation that
   * only says who may write next) left out.
   */
  effects(): Promise<Effect[]>;
}

/** One write that the API server took from Nightshift. */
export interface Effect {
  verb: string;
  kind: string;
  namespace: string;
  name: string;
  subresource: string;
}
