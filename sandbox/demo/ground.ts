/** The cluster that a story plays on, as the story sees it. */
import type { Raw } from "../kubernetes/kinds.js";

export interface Ground {
  /** Whether this is a cluster of the user's. */
  real: boolean;
  /** What is real here and what is a stand-in, in a sentence or two. */
  says: string;
  /** The cluster's name in alerts and policy, the namespace of the workloads, and Nightshift's own. */
  cluster: string;
  namespace: string;
  own: string;
  /** What the front and the hands need in their environment to reach it. */
  env: Record<string, string>;
  get(kind: string, name: string, namespace?: string): Promise<Raw | undefined>;
  list(kind: string, namespace?: string): Promise<Raw[]>;
  /** The release that runs well and the one that does not, as images. */
  release: { good: string; bad: string };
  /** How much longer things may take here than in the sandbox. */
  patience: number;
  /** A person, or the program named by `by`, gives a Deployment's first container another image. */
  setImage(of: { name: string; image: string; by?: string }): Promise<void>;
  /** A person writes keys of a ConfigMap. */
  setData(name: string, data: Record<string, string>): Promise<void>;
  /** The namespace's owner opens it to the writer, for what can be taken back or loses nothing. */
  grant(): Promise<void>;
  /** How they would by hand. */
  grantBy: string;
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
