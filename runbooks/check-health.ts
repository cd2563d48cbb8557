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
/** Protocols that a port's `appProtocol` or name begins with and that no plain HTTP GET is an answer to. */
const NOT_HTTP = /^(https|tls|ssl|grpc|http2|h2c|kubernetes\.io\/|tcp|mysql|mongo|amqp|kafka|nats|memcache|thrift)/;
/** The same by their usual numbers, for ports without a name. */
const NOT_HTTP_PORTS = new Set([443, 6443, 8443, 2181, 3306, 4222, 5672, 9042, 9092, 11211, 27017]);

interface Params {
  path: string;
}

interface Checked {
  service: string;
  what: string;
  ready: number;
  pods: number;
  answer: HealthAnswer;
  /** It could not be asked from here: nothing is known. */
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
    const known = reached(checked.filter((one): one is Checked => one !== null));
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
            `not known: ${unknown.map((one) => one.service).join(", ")}: ${unknown.every(unresolved) ? "their names cannot be resolved" : "nothing there can be reached"} from where Nightshift runs`,
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
  const said = one.unknown ? "not known" : one.answer.ok ? "answers" : "DOES NOT ANSWER";
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
  const answer = assumed(asks, await context.probe(asks.check));
  return {
    service: service.metadata.name,
    what: asks.what,
    ready: mine.filter(isReady).length,
    pods: mine.length,
    answer,
    unknown: false,
  };
}

const unresolved = (one: Checked) => !one.answer.ok && /ENOTFOUND|EAI_AGAIN/.test(one.answer.says);
const silent = (one: Checked) => !one.answer.ok && one.answer.says.startsWith("no answer within");

/**
 * What is known of them. Where not one answers although pods of theirs are ready, and each is silent rather than
 * refusing, it is the way from here that is shut, by a NetworkPolicy for instance: that says nothing about them.
 */
function reached(all: readonly Checked[]): Checked[] {
  const rest = all.filter((one) => !unresolved(one));
  const shut = rest.length > 1 && rest.every(silent) && rest.some((one) => one.ready > 0);
  return all.map((one) => ({ ...one, unknown: shut || unresolved(one) }));
}

interface Question {
  what: string;
  check: HealthCheck;
  /** Nobody said that the Service has this path. */
  path?: string;
}

/** A server that says "not here" to a path that nobody promised, or sends to its login, is alive. */
function assumed(asks: Question, answer: HealthAnswer): HealthAnswer {
  if (answer.ok || asks.path === undefined || !/^HTTP [34]\d\d$/.test(answer.says)) return answer;
  return { ...answer, ok: true, says: `${answer.says} to ${asks.path} (annotation ${PATH} names its own path)` };
}

/** What a Service is asked, by its port's protocol, name and number; null where there is nothing to ask. */
function questionFor(service: KubeObject, usual: string): Question | null {
  if (service.spec?.type === "ExternalName") return null;
  const host = `${service.metadata.name}.${service.metadata.namespace ?? ""}.svc`;
  const ports = (service.spec?.ports ?? []) as Port[];
  const usable = ports.filter((one) => (one.protocol ?? "TCP") === "TCP" && !/metrics/.test(one.name ?? ""));
  const port = usable.find(speaksHttp) ?? usable[0];
  if (port === undefined) return null;
  if (port.port === 5432 || /postgres/.test(port.name ?? ""))
    return { what: "pg_isready", check: { kind: "postgres", host, port: port.port } };
  if (port.port === 6379 || /redis/.test(port.name ?? ""))
    return { what: "redis ping", check: { kind: "redis", host, port: port.port } };
  const said = service.metadata.annotations?.[PATH];
  if (said === "none" || (said === undefined && !speaksHttp(port)))
    return { what: `port ${port.port}`, check: { kind: "tcp", host, port: port.port } };
  // The path comes from whoever owns the Service: only a plain one is asked.
  const own = said !== undefined && /^\/[A-Za-z0-9/_.-]*$/.test(said);
  const path = own ? said : usual;
  const check: HealthCheck = { kind: "http", url: `http://${host}:${port.port}${path}` };
  return { what: `GET ${path}`, check, ...(own ? {} : { path }) };
}

interface Port {
  name?: string;
  appProtocol?: string;
  port: number;
  protocol?: string;
}

function speaksHttp(port: Port): boolean {
  if (port.port === 5432 || port.port === 6379) return false;
  const says = port.appProtocol ?? port.name;
  return says === undefined ? !NOT_HTTP_PORTS.has(port.port) : !NOT_HTTP.test(says) && !/postgres|redis/.test(says);
}
