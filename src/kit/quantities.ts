/** Kubernetes quantities and what pods ask for. For runbooks. */
import type { KubeObject } from "../cluster.js";

const SUFFIX: Record<string, number> = {
  n: 1e-9,
  u: 1e-6,
  m: 1e-3,
  "": 1,
  k: 1e3,
  M: 1e6,
  G: 1e9,
  T: 1e12,
  P: 1e15,
  E: 1e18,
  Ki: 2 ** 10,
  Mi: 2 ** 20,
  Gi: 2 ** 30,
  Ti: 2 ** 40,
  Pi: 2 ** 50,
  Ei: 2 ** 60,
};

/** `250m`, `512Mi`, `1e3`, `2` as a number of cores, bytes or pieces; NaN where it is none. */
export function quantity(text: unknown): number {
  const found = /^([+-]?(?:\d+\.?\d*|\.\d+))(?:([eE][+-]?\d+)|([numkMGTPE]|[KMGTPE]i)?)$/.exec(String(text).trim());
  if (found === null) return Number.NaN;
  if (found[2] !== undefined) return Number(`${found[1]}${found[2]}`);
  return Number(found[1]) * (SUFFIX[found[3] ?? ""] ?? Number.NaN);
}

export type Amounts = Record<string, number>;

interface Container {
  restartPolicy?: string;
  resources?: { requests?: Record<string, string>; limits?: Record<string, string> };
}

/** What the scheduler counts for a pod: all containers together, or the largest one that only prepares it, and the overhead. */
export function asks(podSpec: KubeObject["spec"], of: "requests" | "limits" = "requests"): Amounts {
  const containers = (podSpec?.containers ?? []) as Container[];
  const inits = (podSpec?.initContainers ?? []) as Container[];
  const total: Amounts = {};
  for (const one of [...containers, ...inits.filter((init) => init.restartPolicy === "Always")])
    for (const [name, amount] of amountsOf(one, of)) total[name] = (total[name] ?? 0) + amount;
  for (const one of inits.filter((init) => init.restartPolicy !== "Always"))
    for (const [name, amount] of amountsOf(one, of)) total[name] = Math.max(total[name] ?? 0, amount);
  for (const [name, amount] of Object.entries((podSpec?.overhead ?? {}) as Record<string, string>))
    total[name] = (total[name] ?? 0) + quantity(amount);
  return total;
}

/** A limit without a request counts as the request too. */
function amountsOf(one: Container, of: "requests" | "limits"): [string, number][] {
  const { requests = {}, limits = {} } = one.resources ?? {};
  const found = of === "limits" ? limits : { ...limits, ...requests };
  return Object.entries(found).map(([name, text]) => [name, quantity(text)]);
}
