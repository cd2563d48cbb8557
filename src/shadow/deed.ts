/** What people may have done, and when it counts. Pure. */
import type { Excuses, Sight } from "./shadow.js";

/** One thing that somebody did. `by` is the field manager, "" where it is not known. */
export type Deed = { by: string } & (
  | { what: "rollback" | "release"; template: string; images: string; revision: number | null }
  | { what: "restart" }
  | { what: "scale"; kind: string; name: string; field: string; from: number | null; to: number | null }
  /** Pods left and the workload stayed as it was; `all` of those that were there. */
  | { what: "pods"; names: string[]; uids: string[]; all: boolean }
  | { what: "paused" | "resumed" | "gone" | "spec" }
);

export interface Deeds {
  deeds: Deed[];
  /** Whole sentences. */
  doubts: string[];
}

/** Parts of the cluster, and us. Everybody else who writes a spec is a person or acts for one (a pipeline, GitOps). */
const MACHINES =
  /^(kube-controller-manager|kube-scheduler|kubelet|deployment-controller|horizontal-pod-autoscaler|keda|vpa|kwok|cluster-autoscaler)/;
const OWN = /^nightshift/;

export const byMachine = (manager: string): boolean => MACHINES.test(manager);
export const byUs = (manager: string): boolean => OWN.test(manager);

/** The times that count: the first look, and until when people's deeds count. */
export interface Window {
  from: number;
  until: number;
  /** The second look came so late that a difference without a time may be of afterwards. */
  late: boolean;
}

/**
 * Whether something happened inside. The time of a write is its manager's last one: it may have begun earlier, so that a
 * late one proves nothing. The creation of an object is exact.
 */
export function inside(window: Window, at: number | null, exact = false): "yes" | "no" | "unknown" {
  if (at !== null && at <= window.until) return "yes";
  if (at !== null && exact) return "no";
  return window.late ? "unknown" : "yes";
}

export interface Between {
  before: Sight;
  after: Sight;
  excuses: Excuses;
  window: Window;
}
