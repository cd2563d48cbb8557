/** How busy a workload is, from cAdvisor's and kube-state-metrics' series. For runbooks. */
import type { Sample } from "../verify/metrics.js";
import { quoted } from "../verify/quoted.js";

/** An answer dated further back than this says nothing about now. Prometheus itself looks back five minutes for a gauge. */
const MAX_AGE_MS = 120_000;

export interface Busy {
  namespace: string;
  kind: string;
  name: string;
  measure(expr: string): Promise<Sample[] | null>;
  now: number;
}

/** What controllers make hashes and suffixes of (apimachinery's `util/rand`): no vowels, so that no word is one. */
const RANDOM = "[bcdfghjklmnpqrstvwxz2456789]";
/** A name with its hash is cut to this by the API server before it adds the suffix; up to `LONGEST` none is. */
const CUT = 58;
const LONGEST = 46;

/**
 * The names of a workload's pods as its controller makes them, as a regular expression, so that the pods of `api-gateway`
 * are not taken for those of `api`.
 */
export function podNames(of: { kind: string; name: string }): string {
  const text = (name: string) => name.replace(/\./g, "\\.");
  const name = text(of.name);
  if (of.kind === "StatefulSet") return `${name}-[0-9]+`;
  if (of.name.length > LONGEST) return `${text(of.name.slice(0, CUT))}.*`;
  if (of.kind === "DaemonSet") return `${name}-${RANDOM}{5}`;
  return of.kind === "Deployment" ? `${name}-${RANDOM}{1,10}-${RANDOM}{5}` : `${name}-.*`;
}

/** CPU used by the workload's pods as a share of what they request; null where there is no fresh sample. */
export function cpuSaturation(of: Busy): Promise<number | null> {
  const mine = `namespace=${quoted(of.namespace)},pod=~${quoted(podNames(of))}`;
  const used = `sum(rate(container_cpu_usage_seconds_total{${mine},container!="",container!="POD"}[2m]))`;
  return one(of, `${used} / sum(kube_pod_container_resource_requests{${mine},resource="cpu"})`);
}

/** Working set of the fullest container as a share of its limit; null where there is no fresh sample. */
export function memorySaturation(of: Busy): Promise<number | null> {
  const mine = `namespace=${quoted(of.namespace)},pod=~${quoted(podNames(of))}`;
  const used = `max by (pod, container) (container_memory_working_set_bytes{${mine},container!="",container!="POD"})`;
  const limit = `max by (pod, container) (kube_pod_container_resource_limits{${mine},resource="memory"})`;
  return one(of, `max(${used} / ${limit})`);
}

/** The one number that a query answers with now; null for none, several, an old answer or not a number. */
export async function one(of: Pick<Busy, "measure" | "now">, expr: string): Promise<number | null> {
  const samples = await of.measure(expr);
  const [sample] = samples ?? [];
  if (samples?.length !== 1 || sample === undefined || !Number.isFinite(sample.value)) return null;
  return of.now - sample.at <= MAX_AGE_MS ? sample.value : null;
}
