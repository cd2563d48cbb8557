import {
  defineDiagnosis,
  type Diagnosis,
  type DiagnoseContext,
  type HealthAnswer,
  type HealthCheck,
  isLeaving,
  isReady,
  includesAll,
  type KubeObject,
  z,
} from "../src/runbook.js";

/**
 * Asks every Service of the target's namespace whether it answers: HTTP services at their health path, PostgreSQL as
 * `pg_isready` does, Redis as `redis-cli ping` does. Reads only, and logs in nowhere.
 */

/** Path of a Service's health endpoint; `none` where it has none. */
const PATH = "nightshift.dev/health-path";
const MOST_SERVICES = 30;

interface Params {
  path: string;
}

interface Checked {
  service: string;
  what: string;
  ready: number;
  pods: number;
  answer: HealthAnswer;
  /** The name could not be resolved from here: nothing is known. */
  unknown: boolean;
}

export const runbook = defineDiagnosis<Params>({
  name: "check-health",
  version: 1,
  summary: "Asks every service of the namespace, its database and its cache whether they answer.",
  kinds: ["Deployment", "StatefulSet", "DaemonSet", "Pod"],
  params: z.strictObject({
    path: z
      .string()
      .regex(/^\/[A-Za-z0-9/_.-]*$/, "expected a path such as /health")
      .default("/health"),
  }) as z.ZodType<Params>,

  async diagnose(context): Promise<Diagnosis> {
    const { target, cluster } = context;
    const [services, pods] = await Promise.all([
      cluster.list({ apiVersion: "v1", kind: "Service", namespace: target.namespace }),
      cluster.list({ apiVersion: "v1", kind: "Pod", namespace: target.namespace }),
    ]);
    const asked = services.slice(0, MOST_SERVICES);
    const checked = await Promise.all(asked.map((service) => check(context, service, pods)));
    const known = checked.filter((one): one is Checked => one !== null);
    const bad = known.filter((one) => !one.unknown && !one.answer.ok);
    const good = known.filter((one) => one.answer.ok);
    const unknown = known.filter((one) => one.unknown);
    const headline = [
      `${good.length} of ${known.length} services of ${target.namespace} answer${bad.length > 0 ? `; ${bad.map((one) => one.service).join(", ")} ${bad.length === 1 ? "does" : "do"} not` : ""}`,
      ...bad
        .slice(0, 2)
        .map((one) => `${one.service} (${one.what}): ${one.answer.says}, ${one.ready} of ${one.pods} pods ready`),
      ...(unknown.length > 0
        ? [
            `not asked: ${unknown.map((one) => one.service).join(", ")}: their names cannot be resolved from where Nightshift runs`,
          ]
        : []),
    ];
    return {
      headline: headline.slice(0, 4),
      details: [{ title: "Health", lines: known.map(line) }],
      logs: [],
    };
  },
});

function line(one: Checked): string {
  const said = one.unknown ? "not asked" : one.answer.ok ? "answers" : "DOES NOT ANSWER";
  return `${one.service} (${one.what}): ${said}, ${one.answer.says}, ${one.answer.ms} ms, ${one.ready} of ${one.pods} pods ready`;
}

async function check(
  context: DiagnoseContext<Params>,
  service: KubeObject,
  pods: readonly KubeObject[],
): Promise<Checked | null> {
  const asks = questionFor(service, context.params.path);
  if (asks === null) return null;
  const mine = pods.filter(
    (pod) =>
      includesAll(pod.metadata.labels ?? {}, (service.spec?.selector ?? {}) as Record<string, string>) &&
      !isLeaving(pod),
  );
  const answer = await context.probe(asks.check);
  const unknown = !answer.ok && /ENOTFOUND|EAI_AGAIN/.test(answer.says);
  return {
    service: service.metadata.name,
    what: asks.what,
    ready: mine.filter(isReady).length,
    pods: mine.length,
    answer,
    unknown,
  };
}

/** What a Service is asked, by its port's name and number; null where there is nothing to ask. */
function questionFor(service: KubeObject, usual: string): { what: string; check: HealthCheck } | null {
  if (service.spec?.type === "ExternalName") return null;
  const host = `${service.metadata.name}.${service.metadata.namespace ?? ""}.svc`;
  const ports = (service.spec?.ports ?? []) as { name?: string; port: number; protocol?: string }[];
  const port = ports.find((one) => (one.protocol ?? "TCP") === "TCP" && !/metrics/.test(one.name ?? ""));
  if (port === undefined) return null;
  if (port.port === 5432 || /postgres/.test(port.name ?? ""))
    return { what: "pg_isready", check: { kind: "postgres", host, port: port.port } };
  if (port.port === 6379 || /redis/.test(port.name ?? ""))
    return { what: "redis ping", check: { kind: "redis", host, port: port.port } };
  const said = service.metadata.annotations?.[PATH] ?? usual;
  if (said === "none") return { what: `port ${port.port}`, check: { kind: "tcp", host, port: port.port } };
  // The path comes from whoever owns the Service: only a plain one is asked.
  const path = /^\/[A-Za-z0-9/_.-]*$/.test(said) ? said : usual;
  return { what: `GET ${path}`, check: { kind: "http", url: `http://${host}:${port.port}${path}` } };
}
