import {
  cpuSaturation,
  currentOf,
  defineDiagnosis,
  type Diagnosis,
  type DiagnoseContext,
  includesAll,
  isReady,
  type KubeObject,
  memorySaturation,
  nameOf,
  one,
  podsOf,
  quoted,
  revisionsOf,
  span,
  wantedBy,
  z,
} from "../src/runbook.js";

/**
 * Says why a service is slow as far as its signals tell: latency, traffic and errors now and before it began, how busy
 * it is, what changed shortly before, and how what it depends on fares. Reads only; what cannot be measured it says.
 */

/** "Before" is this long ahead of the onset, clear of the window that a rate needs. */
const BEFORE_MS = 10 * 60_000;
/** A rollout this shortly before the onset is named first. */
const SUSPECT_MS = 60 * 60_000;

interface Params {
  /** Names of the series; the platform's are the defaults. */
  durations: string;
  requests: string;
}

interface Signals {
  p95: number | null;
  traffic: number | null;
  errors: number | null;
}

export const runbook = defineDiagnosis<Params>({
  name: "diagnose-latency",
  version: 1,
  summary: "Says why a service is slow: its golden signals around the onset, saturation, changes and dependencies.",
  kinds: ["Deployment", "StatefulSet", "DaemonSet"],
  params: z.strictObject({
    durations: metric("http_request_duration_seconds_bucket"),
    requests: metric("http_requests_total"),
  }) as z.ZodType<Params>,

  async diagnose(context): Promise<Diagnosis> {
    const { target, cluster, now } = context;
    const live = await cluster.get(target);
    if (live === null) return { headline: [`${nameOf(target)} is gone`], details: [], logs: [] };
    const notes: string[] = [];
    const onset = onsetOf(context);
    const services = await servicesOf(context, live);
    const [mine] = services;
    const [present, before] = await Promise.all([
      signals(context, mine ?? target.name, 0),
      onset === null ? null : signals(context, mine ?? target.name, now - onset + BEFORE_MS),
    ]);
    const [cpu, memory, bounds, change, dependencies] = await Promise.all([
      cpuSaturation({ ...target, measure: context.measure, now }),
      memorySaturation({ ...target, measure: context.measure, now }),
      boundsOf(context, live),
      changeBefore(context, live, { onset, notes }),
      dependenciesOf(context, services, notes),
    ]);
    if (present.p95 === null) notes.push(`no fresh ${context.params.durations} of service ${mine ?? target.name}`);
    const headline = [
      latencyLine(present, before),
      `${trafficLine(present, before)}; ${errorLine(present, before)}`,
      [percent("CPU", cpu, "of requests"), percent("memory", memory, "of its limit"), bounds].join(", "),
      change ??
        dependencies.find((line) => line.bad)?.says ??
        "no rollout in the hour before, and what it depends on answers",
    ];
    return {
      headline,
      details: [
        { title: "Depends on", lines: dependencies.map((line) => line.says) },
        { title: "Not seen", lines: notes },
      ].filter((part) => part.lines.length > 0),
      logs: [],
    };
  },
});

/** The name of a series from the policy: only what PromQL takes as a metric's name. */
function metric(name: string) {
  return z
    .string()
    .regex(/^[a-zA-Z_:][a-zA-Z0-9_:]*$/, "expected the name of a metric")
    .default(name);
}

function onsetOf(context: DiagnoseContext<Params>): number | null {
  const times = context.alerts.map((alert) => Date.parse(alert.startsAt)).filter((time) => !Number.isNaN(time));
  return times.length === 0 ? null : Math.min(...times);
}

/** Services that select the workload's pods; the one that the alert names first. */
async function servicesOf(context: DiagnoseContext<Params>, live: KubeObject): Promise<string[]> {
  const labels = (live.spec?.template?.metadata?.labels ?? {}) as Record<string, string>;
  const all = await context.cluster.list({ apiVersion: "v1", kind: "Service", namespace: context.target.namespace });
  const names = all
    .filter((service) => includesAll(labels, (service.spec?.selector ?? {}) as Record<string, string>))
    .map((service) => service.metadata.name);
  const told = context.alerts
    .map((alert) => alert.labels["service"])
    .find((name) => name !== undefined && names.includes(name));
  return told === undefined ? names : [told, ...names.filter((name) => name !== told)];
}

/** Golden signals of one service, `agoMs` ago. */
async function signals(context: DiagnoseContext<Params>, service: string, agoMs: number): Promise<Signals> {
  const { params, target } = context;
  const at = agoMs === 0 ? "" : ` offset ${Math.round(agoMs / 1000)}s`;
  const of = `namespace=${quoted(target.namespace)},service=${quoted(service)}`;
  const ask = (expr: string) => one({ measure: context.measure, now: context.now }, expr);
  const rate = (more = "") => `sum(rate(${params.requests}{${of}${more}}[5m]${at}))`;
  const [p95, traffic, errors] = await Promise.all([
    ask(`histogram_quantile(0.95, sum by (le) (rate(${params.durations}{${of}}[5m]${at})))`),
    ask(rate()),
    ask(`${rate(',status=~"5.."')} / ${rate()}`),
  ]);
  return { p95, traffic, errors };
}

function latencyLine(present: Signals, before: Signals | null): string {
  if (present.p95 === null) return "P95 is not known: no fresh samples";
  return `P95 ${seconds(present.p95)} now${before?.p95 == null ? "" : `, ${seconds(before.p95)} before it began`}`;
}

function trafficLine(present: Signals, before: Signals | null): string {
  if (present.traffic === null) return "traffic not known";
  return `traffic ${number(present.traffic)}/s${before?.traffic == null ? "" : `, ${number(before.traffic)}/s before`}`;
}

function errorLine(present: Signals, before: Signals | null): string {
  if (present.errors === null) return "errors not known";
  return `errors ${number(present.errors * 100)} %${before?.errors == null ? "" : `, ${number(before.errors * 100)} % before`}`;
}

/** Replicas, and whether an autoscaler has reached its ceiling. */
async function boundsOf(context: DiagnoseContext<Params>, live: KubeObject): Promise<string> {
  const pods = await podsOf(context.target, live, context.cluster);
  const says = `${pods.filter(isReady).length} of ${wantedBy(live)} pods ready`;
  const all = await context.cluster.list({
    apiVersion: "autoscaling/v2",
    kind: "HorizontalPodAutoscaler",
    namespace: context.target.namespace,
  });
  const hpa = all.find(
    (one) => one.spec?.scaleTargetRef?.kind === live.kind && one.spec?.scaleTargetRef?.name === live.metadata.name,
  );
  if (hpa === undefined) return says;
  const most = Number(hpa.spec?.maxReplicas);
  return `${says}, ${wantedBy(live) >= most ? "its autoscaler is at its ceiling" : "its autoscaler goes up"} (${wantedBy(live)} of ${most})`;
}

/** The newest rollout, if it came within the hour before it began. */
async function changeBefore(
  context: DiagnoseContext<Params>,
  live: KubeObject,
  of: { onset: number | null; notes: string[] },
): Promise<string | null> {
  if (live.kind !== "Deployment" || of.onset === null) return null;
  try {
    const revisions = await revisionsOf(context.target, live, context.cluster);
    const current = currentOf(live, revisions);
    if (current === undefined || current.earlier.length > 0) return null;
    const before = of.onset - Date.parse(current.createdAt);
    return before >= 0 && before < SUSPECT_MS
      ? `revision ${current.number} (${current.images}) was rolled out ${span(before)} before it began`
      : null;
  } catch (error) {
    of.notes.push(`rollouts: ${error instanceof Error ? error.message.slice(0, 200) : "cannot be read"}`);
    return null;
  }
}

/** Every other Service of the namespace: who answers it, how fast, how many errors; its database and cache by their exporters. */
async function dependenciesOf(
  context: DiagnoseContext<Params>,
  mine: readonly string[],
  notes: string[],
): Promise<{ says: string; bad: boolean }[]> {
  const { cluster, target, measure, now } = context;
  const at = `{namespace=${quoted(target.namespace)}}`;
  const ask = (expr: string) => one({ measure, now }, expr);
  const [services, pods] = await Promise.all([
    cluster.list({ apiVersion: "v1", kind: "Service", namespace: target.namespace }),
    cluster.list({ apiVersion: "v1", kind: "Pod", namespace: target.namespace }),
  ]);
  const lines: { says: string; bad: boolean }[] = [];
  for (const service of services.filter((one) => !mine.includes(one.metadata.name)).slice(0, 10)) {
    const { name } = service.metadata;
    const behind = pods.filter((pod) =>
      includesAll(pod.metadata.labels ?? {}, (service.spec?.selector ?? {}) as Record<string, string>),
    );
    const ready = behind.filter(isReady).length;
    const found = await signals(context, name, 0);
    const slow = found.p95 === null ? "" : `, P95 ${seconds(found.p95)}`;
    const failing = found.errors === null ? "" : `, errors ${number(found.errors * 100)} %`;
    lines.push({
      says: `${name}: ${ready} of ${behind.length} pods ready${slow}${failing}`,
      bad: behind.length > 0 && ready === 0,
    });
  }
  const [pg, redis, open, most] = await Promise.all([
    ask(`min(pg_up${at})`),
    ask(`min(redis_up${at})`),
    ask(`sum(pg_stat_activity_count${at})`),
    ask(`max(pg_settings_max_connections${at})`),
  ]);
  if (pg !== null)
    lines.push({ says: pg === 1 ? "PostgreSQL is up" : "PostgreSQL is DOWN by its exporter", bad: pg !== 1 });
  if (redis !== null)
    lines.push({ says: redis === 1 ? "Redis is up" : "Redis is DOWN by its exporter", bad: redis !== 1 });
  if (open !== null && most !== null)
    lines.push({ says: `PostgreSQL has ${open} of ${most} connections open`, bad: open >= most * 0.9 });
  if (pg === null && redis === null)
    notes.push("no fresh pg_up and redis_up: whether database and cache are up is not known");
  return lines;
}

function percent(what: string, share: number | null, of: string): string {
  return share === null ? `${what} not measured` : `${what} ${Math.round(share * 100)} % ${of}`;
}

function seconds(value: number): string {
  return value < 1 ? `${Math.round(value * 1000)} ms` : `${Math.round(value * 10) / 10} s`;
}

function number(value: number): string {
  return value >= 10 ? String(Math.round(value)) : String(Math.round(value * 100) / 100);
}
