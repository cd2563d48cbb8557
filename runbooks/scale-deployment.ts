import {
  ChangedWorld,
  type ClusterReader,
  connectionsBorne,
  cpuSaturation,
  crashLooping,
  defineRemedy,
  digestOf,
  type Effect,
  isReady,
  type Json,
  type KubeObject,
  nameOf,
  noRoom,
  type Owner,
  type PlanContext,
  podsOf,
  rolloutState,
  served,
  type Skip,
  skip,
  type Target,
  wantedBy,
  z,
} from "../src/runbook.js";

/**
 * Adds pods to a Deployment: by its own replicas, or by the bounds of the HorizontalPodAutoscaler or KEDA ScaledObject
 * that owns them. It never takes any away, and adds at most half as many again and ten at once.
 */

const MOST_SHARE = 0.5;
const MOST_PODS = 10;
/** Connections that each pod's pool may open; where it stands, the database is asked whether it can bear more. */
const POOL = "nightshift.dev/database-connections";
/** A pod that cannot be placed for this long will not be. */
const PENDING_MS = 60_000;
/** Below this share of its requests it is not short of pods. */
const BUSY = 0.5;
/** Saturation must fall to this share of what it was. */
const RELIEF = 0.8;

interface Params {
  percent: number;
  add?: number | undefined;
  max: number;
  connectionsPerPod?: number | undefined;
}

interface Lever {
  /** The object that is written, and the field in it. */
  object: { apiVersion: string; kind: string; namespace: string; name: string; uid: string };
  field: string;
  from: number;
  to: number;
}

interface Facts extends Record<string, Json> {
  lever: { object: Lever["object"]; field: string; from: number; to: number };
  replicasFrom: number;
  saturation: number | null;
}

type Context = PlanContext<Params>;

export const runbook = defineRemedy<Params, Facts>({
  name: "scale-deployment",
  version: 1,
  summary: "Adds pods to a Deployment, through its autoscaler's bounds where it has one.",
  kinds: ["Deployment"],
  params: z.strictObject({
    percent: z.number().int().min(1).max(50).default(25),
    add: z.number().int().min(1).max(MOST_PODS).optional(),
    max: z.number().int().min(2).max(500).default(50),
    connectionsPerPod: z.number().int().min(1).max(1000).optional(),
  }) as z.ZodType<Params>,
  risk: "A",
  needs: [
    { verb: "get", group: "apps", resource: "deployments" },
    { verb: "patch", group: "apps", resource: "deployments" },
    { verb: "patch", group: "autoscaling", resource: "horizontalpodautoscalers" },
    { verb: "list", group: "", resource: "pods" },
    { verb: "list", group: "discovery.k8s.io", resource: "endpointslices" },
  ],
  diagnosis: "diagnose-latency",
  giveUpAfterMs: 5 * 60_000,
  onFailed: "undo",

  async plan(context) {
    const { target, cluster } = context;
    const name = nameOf(target);
    const deployment = await cluster.get(target);
    if (deployment === null) return skip("target-not-found", `${name} is gone`);
    const pods = await podsOf(target, deployment, cluster);
    const replicas = wantedBy(deployment);
    const unfit = notForMorePods(name, deployment, pods);
    if (unfit !== null) return unfit;

    const lever = await leverOf(context, replicas);
    if ("skip" in lever) return lever;
    const added = lever.to - Math.max(lever.from, replicas);
    const podSpec = (pods.find(isReady) ?? pods[0])?.spec ?? deployment.spec.template.spec;
    const full = await noRoom({ namespace: target.namespace, podSpec, added, cluster });
    if (full !== null) return skip(full.reason, `${name}: ${full.says}`);
    const database = await connections(context, deployment, { replicas, added });
    if (database.skip !== null) return database.skip;

    const saturation = await cpuSaturation({ ...target, measure: context.measure, now: context.now });
    if (saturation !== null && saturation < BUSY && !/max/.test(lever.field))
      return skip(
        "not-saturated",
        `${name}: its CPU is at ${Math.round(saturation * 100)} % of what it requests, expected at least ${BUSY * 100} %: it waits for something else, and more pods would only add to that`,
      );
    const facts: Facts = {
      lever: { object: lever.object, field: lever.field, from: lever.from, to: lever.to },
      replicasFrom: replicas,
      saturation,
    };
    const bound = lever.object.kind === "Deployment" ? null : lever.field.slice("/spec/".length);
    const through = `${bound} of ${lever.object.kind} ${lever.object.name}, now ${lever.from}`;
    return {
      sentence: `Scale ${name} from ${replicas} to ${lever.to}${bound === null ? "" : ` by ${through}`}`,
      verb: "scale",
      changes: [
        {
          object: lever.object,
          field: lever.field,
          from: String(lever.from),
          to: String(lever.to),
          fromDigest: digestOf([lever.from, replicas]),
          toDigest: digestOf(lever.to),
        },
      ],
      loses: "nothing",
      takes: "about 2 min",
      undo: `${bound === null ? "" : `${bound} `}back to ${lever.from}`,
      steps: ["scale"],
      undoSteps: ["undo:scale"],
      facts,
      evidence: [
        saturation === null
          ? "CPU not measured: no fresh samples"
          : `CPU at ${Math.round(saturation * 100)} % of what its pods request`,
        `room for ${added} more pods: quota and nodes checked, nobody is pushed out`,
        database.says,
        ...context.owners.filter((owner) => owner.kind === "helm").map((owner) => owner.says),
      ],
    };
  },

  async execute({ target, plan, cluster, step }) {
    await step("scale", () => set({ target, cluster, lever: plan.facts.lever, back: false }));
  },

  async undo({ target, plan, cluster, step }) {
    await step("undo:scale", () => set({ target, cluster, lever: plan.facts.lever, back: true }));
  },

  async verify({ target, plan, cluster, symptom, memo, measure, now }) {
    const { lever, replicasFrom, saturation } = plan.facts;
    const unknown = (says: string) => ({ world: "bad" as const, symptom: "unknown" as const, says });
    const live = await cluster.get(target);
    if (live === null || live.metadata.uid !== target.uid) return unknown(`${nameOf(target)} is gone`);
    const holder = lever.object.kind === "Deployment" ? live : await cluster.get(lever.object);
    const value = holder === null ? null : valueAt(holder, lever.field);
    if (value !== lever.to)
      return unknown(
        `${nameOf(lever.object)}: expected ${lever.field.slice(6)} ${lever.to}, found ${value ?? "nothing"}: somebody or something put it back`,
      );

    const pods = await podsOf(target, live, cluster);
    const stuck = pods.find((pod) => pending(pod, now));
    if (stuck)
      return unknown(`Pod ${stuck.metadata.name} has been waiting for a node for more than ${PENDING_MS / 1000} s`);
    const rollout = await rolloutState(target, live, cluster, memo);
    const behind = (await served(target.namespace, pods, cluster)).find((one) => one.inSlices < one.ready);
    // A ceiling lets the autoscaler add pods, a floor makes it: either way it does so some seconds later.
    const grown = wantedBy(live) >= (/max/.test(lever.field) ? replicasFrom + 1 : lever.to);
    const world = rollout.state === "good" && (behind !== undefined || !grown) ? "waiting" : rollout.state;
    const seen = await symptom();
    const busy = await cpuSaturation({ ...target, measure, now });
    const relieved = saturation === null || busy === null || busy <= saturation * RELIEF;
    const says = [
      rollout.says,
      ...(behind === undefined
        ? []
        : [`Service ${behind.service} sends traffic to ${behind.inSlices} of ${behind.ready} ready pods`]),
      ...(grown ? [] : ["its autoscaler has not yet added any"]),
      ...(busy === null || saturation === null
        ? []
        : [`CPU ${Math.round(busy * 100)} %, before ${Math.round(saturation * 100)} %`]),
      seen.says,
    ];
    return {
      world,
      symptom: seen.state === "gone" && !relieved ? "present" : seen.state,
      says: says.join("; "),
      memo: rollout.memo,
    };
  },
});

/** What more pods would not mend. */
function notForMorePods(name: string, deployment: KubeObject, pods: readonly KubeObject[]): Skip | null {
  if (deployment.spec?.paused === true) return skip("rollout-paused", `${name}: its rollout is paused by a person`);
  if (wantedBy(deployment) === 0)
    return skip(
      "nothing-to-do",
      `${name} is scaled to 0: expected at least 1 replica; whoever stopped it starts it again`,
    );
  const crashed = pods.map(crashLooping).find((one) => one !== null);
  if (crashed)
    return skip(
      "crash-loop",
      `${name}: container ${crashed.container} crashes by itself${crashed.exitCode === null ? "" : ` (exit code ${crashed.exitCode})`}; more of it would not help`,
    );
  const unplaced = pods.find(
    (pod) => (pod.status?.phase ?? "Pending") === "Pending" && pod.spec?.nodeName === undefined,
  );
  if (unplaced)
    return skip("no-capacity", `${name}: Pod ${unplaced.metadata.name} already waits for a node; free some first`);
  return null;
}

/** Where the number of pods is decided, and what it becomes. */
async function leverOf(context: Context, replicas: number): Promise<Lever | Skip> {
  const { target, owners, params } = context;
  const name = nameOf(target);
  const by = (kind: Owner["kind"]) => owners.filter((owner) => owner.kind === kind);
  const away = owners.find((owner) => owner.handsOff);
  const [scaled] = by("keda");
  const hpas = by("hpa");
  if (away) {
    const wanted = replicas + step(params, replicas);
    const where = hpas[0] ?? scaled;
    const handOff = `${name}: ${where ? `raise the bounds of ${where.name}` : `set spec.replicas to ${wanted}`} (now ${replicas} pods).\nCommit that change in Git and let it sync.`;
    return skip(
      away.kind === "argo-cd" || away.kind === "flux" ? "owned-by-gitops" : "owned-elsewhere",
      `${away.says}: scaling ${name} here would be undone`,
      handOff,
    );
  }
  if (scaled) return ofScaledObject(context, scaled.name, replicas);
  if (hpas.length > 1)
    return skip(
      "owned-elsewhere",
      `${name} has ${hpas.length} HorizontalPodAutoscalers (${hpas.map((hpa) => hpa.name).join(", ")}): expected one; they fight over its replicas`,
    );
  if (hpas[0]) return ofAutoscaler(context, hpas[0].name, replicas);
  return bounded(context, replicas, {
    object: {
      apiVersion: target.apiVersion,
      kind: target.kind,
      namespace: target.namespace,
      name: target.name,
      uid: target.uid,
    },
    field: "/spec/replicas",
    from: replicas,
    to: replicas + step(params, replicas),
  });
}

async function ofAutoscaler(context: Context, name: string, replicas: number): Promise<Lever | Skip> {
  const ref = {
    apiVersion: "autoscaling/v2",
    kind: "HorizontalPodAutoscaler",
    namespace: context.target.namespace,
    name,
  };
  const hpa = await context.cluster.get(ref);
  if (hpa === null) return skip("changed-world", `${nameOf(ref)} is gone`);
  return oneBound(context, hpa, { object: ref, floor: "/spec/minReplicas", ceiling: "/spec/maxReplicas", replicas });
}

async function ofScaledObject(context: Context, name: string, replicas: number): Promise<Lever | Skip> {
  const ref = { apiVersion: "keda.sh/v1alpha1", kind: "ScaledObject", namespace: context.target.namespace, name };
  const scaled = await context.cluster.get(ref);
  if (scaled === null) return skip("changed-world", `${nameOf(ref)} is gone`);
  if (Object.keys(scaled.metadata.annotations ?? {}).some((key) => key.startsWith("autoscaling.keda.sh/paused")))
    return skip("owned-elsewhere", `${nameOf(ref)} is paused by a person: scale it by hand, or resume it`);
  const fields = { floor: "/spec/minReplicaCount", ceiling: "/spec/maxReplicaCount" };
  return oneBound(context, scaled, { object: ref, ...fields, replicas });
}

interface Bounds {
  object: Omit<Lever["object"], "uid">;
  /** Fields of the object. */
  floor: string;
  ceiling: string;
  replicas: number;
}

/** At its ceiling the ceiling is raised; below it, the floor: what is there then grows now. */
function oneBound(context: Context, live: KubeObject, { object, floor, ceiling, replicas }: Bounds): Lever | Skip {
  const least = valueAt(live, floor) ?? 0;
  const most = valueAt(live, ceiling) ?? 0;
  const atTop = replicas >= most;
  // An autoscaler that has not yet come to its own floor is on its way there.
  const coming = Math.max(least, replicas);
  const to = atTop ? most + step(context.params, replicas) : Math.min(most, coming + step(context.params, coming));
  return bounded(context, replicas, {
    object: { ...object, uid: live.metadata.uid },
    field: atTop ? ceiling : floor,
    from: atTop ? most : least,
    to,
  });
}

/** How many pods are added: what the rule says, at most half as many again and ten. */
function step(params: Params, replicas: number): number {
  const wanted = params.add ?? Math.ceil((replicas * params.percent) / 100);
  return Math.max(1, Math.min(wanted, Math.floor(replicas * MOST_SHARE), MOST_PODS));
}

function bounded(context: Context, replicas: number, lever: Lever): Lever | Skip {
  const to = Math.min(lever.to, context.params.max);
  // A floor below what runs adds nothing.
  if (to > Math.max(lever.from, replicas)) return { ...lever, to };
  return skip(
    "no-capacity",
    `${nameOf(lever.object)}: ${lever.field.slice(6)} is ${lever.from}, ${replicas} pods run, and the rule's ceiling is ${context.params.max}: raise \`params.max\` in the policy, or find out why so many do not suffice`,
  );
}

/** More pods open more connections: a database that would run out of them takes everything down with it. */
async function connections(
  context: Context,
  deployment: KubeObject,
  of: { replicas: number; added: number },
): Promise<{ skip: Skip | null; says: string }> {
  const name = nameOf(context.target);
  const said = deployment.metadata.annotations?.[POOL] ?? deployment.spec?.template?.metadata?.annotations?.[POOL];
  const each = context.params.connectionsPerPod ?? (said === undefined ? null : Number(said));
  const no = (reason: Skip["skip"], says: string) => ({ skip: skip(reason, `${name}: ${says}`), says: "" });
  if (each === null) return { skip: null, says: `database connections not checked: ${name} has no annotation ${POOL}` };
  if (!Number.isInteger(each) || each < 0)
    return no("no-data", `annotation ${POOL} must be a whole number, found ${JSON.stringify(said)}`);
  if (each === 0) return { skip: null, says: "its pods open no database connections" };
  const { measure, now, target } = context;
  const borne = await connectionsBorne({
    namespace: target.namespace,
    each,
    pods: of.replicas,
    added: of.added,
    measure,
    now,
  });
  return borne.ok ? { skip: null, says: borne.says } : no(borne.reason, borne.says);
}

interface Setting {
  target: Target;
  cluster: ClusterReader;
  lever: Facts["lever"];
  back: boolean;
}

/** The one write: this number for that one, on an object that is as approved. */
async function set({ target, cluster, lever, back }: Setting): Promise<Effect> {
  const [from, to] = back ? [lever.to, lever.from] : [lever.from, lever.to];
  const what = lever.field.slice("/spec/".length);
  const deployment = await cluster.get(target);
  if (deployment === null || deployment.metadata.uid !== target.uid)
    throw new ChangedWorld(`${nameOf(target)} is gone or another one`);
  if (!back && wantedBy(deployment) === 0) throw new ChangedWorld(`${nameOf(target)} was scaled to 0 by somebody`);
  return {
    object: lever.object,
    changed(live: KubeObject): string | null {
      const ref = live.spec?.scaleTargetRef as { name?: string } | undefined;
      if (live.kind !== "Deployment" && ref?.name !== target.name)
        return `${nameOf(lever.object)} scales ${ref?.name ?? "nothing"} by now: expected ${target.name}`;
      const found = valueAt(live, lever.field);
      if (found === from) return null;
      return `${nameOf(lever.object)}: expected ${what} ${from}, found ${found ?? "nothing"}`;
    },
    patch: () => [{ op: "add", path: lever.field, value: to }],
  };
}

/** The number at `/spec/NAME`, with the defaults that the API server or KEDA reads where none stands. */
function valueAt(object: KubeObject, field: string): number | null {
  const value = (object.spec as Record<string, unknown> | undefined)?.[field.slice("/spec/".length)];
  if (typeof value === "number") return value;
  const defaults: Record<string, number> = {
    "/spec/replicas": 1,
    "/spec/minReplicas": 1,
    "/spec/minReplicaCount": 0,
    "/spec/maxReplicaCount": 100,
  };
  return defaults[field] ?? null;
}

function pending(pod: KubeObject, now: number): boolean {
  if (pod.spec?.nodeName !== undefined || (pod.status?.phase ?? "Pending") !== "Pending") return false;
  return now - Date.parse(pod.metadata.creationTimestamp ?? "") > PENDING_MS;
}
