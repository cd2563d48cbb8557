import type { ObjectRef } from "../cluster.js";

/** The one object that is acted on. `uid` proves that it is still the same one. */
export interface Target extends ObjectRef {
  cluster: string;
  uid: string;
}

/** What the labels alone say, before any cluster was asked. `from` says what the workload is to be resolved from. */
export interface NamedTarget {
  cluster: string;
  /** Set when the rule names an object. */
  kind?: string;
  /** Set when the workload is to be found from something else. */
  from?: TargetSource;
  namespace: string;
  name: string;
}

export const targetSources = ["pod", "service", "hpa", "ingress", "pvc", "node", "instance"] as const;
export type TargetSource = (typeof targetSources)[number];
