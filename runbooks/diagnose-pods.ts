import {
  type ClusterReader,
  currentOf,
  defineDiagnosis,
  type Diagnosis,
  type KubeObject,
  nameOf,
  plainLines,
  podsOf,
  ranFor,
  type Revision,
  revisionsOf,
  span,
  type Target,
  z,
  WARNINGS,
} from "../src/runbook.js";

/**
 * Says what is wrong with a workload's pods, and what changed when: status, last termination, previous logs, events,
 * owner and its rollouts. Reads only; what it may not read it says.
 */

const WORKLOADS = ["Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job"];

/** A container that is ready again and died less than this ago may be what the alert is about. */
const LATELY_MS = 60 * 60_000;

interface Container {
  name: string;
  restartCount?: number;
  ready?: boolean;
  state?: {
    waiting?: { reason?: string; message?: string };
    terminated?: Termination;
    running?: { startedAt?: string };
  };
  lastState?: { terminated?: Termination };
}

interface Termination {
  exitCode?: number;
  reason?: string;
  startedAt?: string;
  finishedAt?: string;
}

interface Sick {
  pod: KubeObject;
  container: string;
  reason: string;
  termination: Termination | undefined;
  restarts: number;
}

export const runbook = defineDiagnosis<Record<string, never>>({
  name: "diagnose-pods",
  version: 1,
  summary: "Says what is wrong with a workload's pods, and what changed when.",
  kinds: ["Pod", ...WORKLOADS],
  params: z.strictObject({}),

  async diagnose(context): Promise<Diagnosis> {
    const { target, cluster, now } = context;
    const notes: string[] = [];
    const object = await cluster.get(target);
    if (object === null) return { headline: [`${nameOf(target)} is gone`], details: [], logs: [] };
    const [pods, history, warnings] = await Promise.all([
      podsOf(target, object, cluster),
      target.kind === "Deployment" ? historyOf(target, object, { cluster, notes }) : NO_HISTORY,
      warningsIn(target.namespace, { cluster, notes }),
    ]);
    const sick = pods.flatMap((pod) => sicknessOf(pod, now)).sort((a, b) => b.restarts - a.restarts);
    const [worst] = sick;
    const onset = onsetOf(
      context.alerts.map((alert) => alert.startsAt),
      sick,
    );
    const logs =
      worst === undefined || context.logLines === 0
        ? []
        : await lastLines(cluster, worst, { lines: context.logLines, redact: context.redact, notes });
    const headline = [
      began(onset, history, now),
      worst === undefined ? healthy(pods, object) : `${worst.reason}${exit(worst)}`,
      ranClean(history, now),
      await configuration(object, target, { cluster, history, notes }),
    ];
    const logAt = headline.slice(0, 1).filter((line) => line !== null).length;
    return {
      headline: headline.filter((line) => line !== null).slice(0, 4),
      ...(logs.length > 0 ? { logAt } : {}),
      details: [
        { title: "Pods", lines: podLines(pods, sick, now) },
        {
          title: "Rollouts",
          lines: history.revisions
            .slice(-5)
            .reverse()
            .map(
              (r) =>
                `revision ${r.number}${r.earlier.length > 0 ? ` (${r.earlier.join(", ")} before)` : ""}: ${r.images}, created ${ago(r.createdAt, now)}, ready ${r.ready} of ${r.replicas}`,
            ),
        },
        { title: "Events", lines: events(target, pods, { warnings, now, redact: context.redact }) },
        { title: "Not seen", lines: notes },
      ].filter((part) => part.lines.length > 0),
      logs,
    };
  },
});

function sicknessOf(pod: KubeObject, now: number): Sick[] {
  const statuses = [
    ...(pod.status?.initContainerStatuses ?? []),
    ...(pod.status?.containerStatuses ?? []),
  ] as Container[];
  const out: Sick[] = [];
  for (const container of statuses) {
    const waiting = container.state?.waiting?.reason;
    const termination = container.lastState?.terminated ?? container.state?.terminated;
    const failed = waiting !== undefined && waiting !== "ContainerCreating" && waiting !== "PodInitializing";
    const died = termination !== undefined && termination.exitCode !== 0;
    // One that is ready now and died long ago is not what fails.
    const lately = died && now - Date.parse(termination?.finishedAt ?? "") < LATELY_MS;
    if (!failed && !lately && (container.ready ?? true)) continue;
    const reason =
      (died ? termination?.reason : undefined) === "OOMKilled"
        ? "OOMKilled"
        : (waiting ?? termination?.reason ?? "not ready");
    out.push({ pod, container: container.name, reason, termination, restarts: container.restartCount ?? 0 });
  }
  const pending = (pod.status?.conditions ?? []).find(
    (c: { type: string; status: string; message?: string }) => c.type === "PodScheduled" && c.status === "False",
  );
  if (out.length === 0 && pending !== undefined)
    out.push({
      pod,
      container: "",
      reason: `Pending: ${String(pending.message ?? "not scheduled").slice(0, 160)}`,
      termination: undefined,
      restarts: 0,
    });
  return out;
}

function exit(sick: Sick): string {
  const code = sick.termination?.exitCode;
  return code === undefined ? "" : `, exit code ${code}`;
}

function healthy(pods: readonly KubeObject[], object: KubeObject): string {
  const want = object.spec?.replicas;
  const ready = pods.filter((pod) =>
    (pod.status?.conditions ?? []).some(
      (c: { type: string; status: string }) => c.type === "Ready" && c.status === "True",
    ),
  ).length;
  return `no container is failing: ${ready} of ${want ?? pods.length} pods are ready`;
}

interface History {
  /** Oldest number first. */
  revisions: readonly Revision[];
  current: Revision | undefined;
}

const NO_HISTORY: History = { revisions: [], current: undefined };

async function historyOf(
  target: Target,
  deployment: KubeObject,
  of: { cluster: ClusterReader; notes: string[] },
): Promise<History> {
  try {
    const revisions = await revisionsOf(target, deployment, of.cluster);
    return { revisions, current: currentOf(deployment, revisions) ?? revisions.at(-1) };
  } catch (error) {
    of.notes.push(`rollouts: ${messageOf(error)}`);
    return NO_HISTORY;
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message.slice(0, 200) : "cannot be read";
}

/** The earliest of what the alerts and the pods' own terminations say. */
function onsetOf(starts: readonly string[], sick: readonly Sick[]): number | null {
  const times = [
    ...starts.map((start) => Date.parse(start)),
    ...sick.map((s) => Date.parse(s.termination?.finishedAt ?? "")),
  ].filter((time) => !Number.isNaN(time));
  return times.length === 0 ? null : Math.min(...times);
}

function began(onset: number | null, history: History, now: number): string | null {
  if (onset === null) return null;
  const began = `began ${ago(new Date(onset).toISOString(), now)}`;
  // Clocks of cluster and Prometheus differ by seconds: a revision may seem to be a little younger than its trouble.
  const before = history.revisions.findLast((revision) => Date.parse(revision.createdAt) <= onset + 5000);
  if (before === undefined) return began;
  if (before.earlier.length > 0)
    return `${began}; revision ${before.number} took ${before.earlier.at(-1)} up again (${before.images}), when is not known`;
  const after = Math.max(0, onset - Date.parse(before.createdAt));
  return after < 3_600_000
    ? `began ${span(after)} after revision ${before.number} was rolled out (${before.images})`
    : `${began}; the last rollout (revision ${before.number}) was ${span(after)} before`;
}

function ranClean(history: History, now: number): string | null {
  const { revisions, current } = history;
  const earlier = revisions.findLast((revision) => revision.number < (current?.number ?? 0));
  if (current === undefined || earlier === undefined) return null;
  const ran = ranFor(earlier, revisions, now);
  if (ran.ms === 0) return `revision ${earlier.number} (${earlier.images}) ran before`;
  const until = current.earlier.length > 0 ? "" : `, until ${ago(current.createdAt, now)}`;
  return `revision ${earlier.number} (${earlier.images}) ran for ${ran.exact ? "" : "at least "}${span(ran.ms)}${until}`;
}

interface Looking {
  cluster: ClusterReader;
  history: History;
  notes: string[];
}

/** Whether what the pods read from ConfigMaps was written after the last rollout. */
async function configuration(object: KubeObject, target: Target, of: Looking): Promise<string | null> {
  const names = new Set<string>();
  const spec = object.spec?.template?.spec ?? object.spec ?? {};
  for (const container of spec.containers ?? []) {
    for (const env of container.env ?? [])
      if (env.valueFrom?.configMapKeyRef?.name) names.add(env.valueFrom.configMapKeyRef.name);
    for (const source of container.envFrom ?? []) if (source.configMapRef?.name) names.add(source.configMapRef.name);
  }
  for (const volume of spec.volumes ?? []) if (volume.configMap?.name) names.add(volume.configMap.name);
  if (names.size === 0) return null;
  const since = Date.parse(of.history.current?.createdAt ?? "");
  const changed: string[] = [];
  let newest = 0;
  for (const name of names) {
    const found = await of.cluster
      .get({ apiVersion: "v1", kind: "ConfigMap", namespace: target.namespace, name })
      .catch((error: unknown) => {
        of.notes.push(`ConfigMap ${name}: ${messageOf(error)}`);
        return null;
      });
    if (found === null) {
      changed.push(`ConfigMap ${name} is missing or cannot be read`);
      continue;
    }
    const times = (found.metadata.managedFields ?? [])
      .filter((entry) => entry.fieldsV1?.["f:data"] !== undefined)
      .map((entry) => Date.parse(entry.time ?? ""));
    const at = Math.max(
      Date.parse(found.metadata.creationTimestamp ?? ""),
      ...times.filter((time) => !Number.isNaN(time)),
    );
    newest = Math.max(newest, at);
    if (at > since) changed.push(`ConfigMap ${name} changed ${span(at - since)} after the last rollout`);
  }
  if (changed.length > 0) return changed.join("; ");
  return `configuration unchanged since ${new Date(newest).toISOString().slice(0, 16)}Z (${[...names].join(", ")})`;
}

function podLines(pods: readonly KubeObject[], sick: readonly Sick[], now: number): string[] {
  return pods.slice(0, 15).map((pod) => {
    const ill = sick.find((s) => s.pod.metadata.uid === pod.metadata.uid);
    const where = pod.spec?.nodeName ? ` on ${pod.spec.nodeName}` : "";
    const state =
      ill === undefined
        ? String(pod.status?.phase ?? "unknown")
        : `${ill.reason}${exit(ill)}, ${ill.restarts} restarts${ill.termination?.finishedAt ? `, last ended ${ago(ill.termination.finishedAt, now)}` : ""}`;
    const oom = ill?.reason === "OOMKilled" ? `, memory limit ${limitOf(pod, ill.container)}` : "";
    return `${pod.metadata.name}${where}: ${state}${oom}`;
  });
}

function limitOf(pod: KubeObject, container: string): string {
  const found = ((pod.spec?.containers ?? []) as { name: string; resources?: { limits?: { memory?: string } } }[]).find(
    (c) => c.name === container,
  );
  return found?.resources?.limits?.memory ?? "none";
}

/** Text of the workload: redacted, one line each, no control characters, bounded. */
async function lastLines(
  cluster: ClusterReader,
  sick: Sick,
  of: { lines: number; redact(text: string): string; notes: string[] },
): Promise<string[]> {
  if (sick.container === "") return [];
  const query = {
    namespace: sick.pod.metadata.namespace ?? "",
    pod: sick.pod.metadata.name,
    container: sick.container,
    tailLines: of.lines,
  };
  for (const previous of sick.restarts > 0 ? [true, false] : [false]) {
    try {
      const text = await cluster.logs({ ...query, previous });
      const lines = plainLines(text, of.redact);
      if (lines.length > 0) return lines.slice(-of.lines);
    } catch (error) {
      of.notes.push(`logs of ${sick.pod.metadata.name}: ${messageOf(error)}`);
    }
  }
  return [];
}

type Warning = KubeObject & {
  involvedObject?: { uid?: string; name?: string };
  reason?: string;
  message?: string;
  type?: string;
  count?: number;
  lastTimestamp?: string | null;
  eventTime?: string | null;
};

async function warningsIn(namespace: string, of: { cluster: ClusterReader; notes: string[] }): Promise<Warning[]> {
  try {
    return await of.cluster.list({ apiVersion: "v1", kind: "Event", namespace, fieldSelector: WARNINGS });
  } catch (error) {
    of.notes.push(`events: ${messageOf(error)}`);
    return [];
  }
}

function events(
  target: Target,
  pods: readonly KubeObject[],
  of: { warnings: readonly Warning[]; now: number; redact(text: string): string },
): string[] {
  const uids = new Set([target.uid, ...pods.map((pod) => pod.metadata.uid)]);
  const at = (event: Warning) =>
    Date.parse(event.lastTimestamp ?? event.eventTime ?? event.metadata.creationTimestamp ?? "");
  const mine = of.warnings.filter((event) => uids.has(event.involvedObject?.uid ?? "")).sort((x, y) => at(y) - at(x));
  const seen = new Set<string>();
  const lines: string[] = [];
  for (const event of mine) {
    const key = `${event.reason ?? ""} ${event.message ?? ""}`.replace(/[a-f0-9]{5,}/g, "");
    if (seen.has(key) || lines.length >= 10) continue;
    seen.add(key);
    lines.push(
      `${event.reason ?? ""}${(event.count ?? 1) > 1 ? ` ×${event.count}` : ""} ${span(Math.max(0, of.now - at(event)))} ago: ${plainLines(
        String(event.message ?? ""),
        of.redact,
      )
        .join(" ")
        .slice(0, 200)}`,
    );
  }
  return lines;
}

function ago(time: string, now: number): string {
  const at = Date.parse(time);
  return Number.isNaN(at) ? "at an unknown time" : `${span(Math.max(0, now - at))} ago`;
}
