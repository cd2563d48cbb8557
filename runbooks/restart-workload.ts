import {
  budgetsOver,
  ChangedWorld,
  type ClusterReader,
  crashLooping,
  defineRemedy,
  digestOf,
  type Effect,
  imagesText,
  isReady,
  type Json,
  type JsonPatchOp,
  type KubeObject,
  nameOf,
  noUndo,
  type PlanContext,
  podsOf,
  quorumLost,
  podsBy,
  rolloutState,
  selectorText,
  type Skip,
  skip,
  type Target,
  wantedBy,
  wouldNotStart,
  z,
} from "../src/runbook.js";

/**
 * Restarts a workload as `kubectl rollout restart` does: a new annotation on the pod template, and the workload's own
 * controller replaces its pods as its strategy says. Pods must be able to start again before any is taken away.
 */

const RESTARTED = "kubectl.kubernetes.io/restartedAt";
/** `cache` or `stateful`, written by the owner of a workload whose pods hold what a restart loses. */
const STATE = "nightshift.dev/state";

interface Facts extends Record<string, Json> {
  fromTemplate: string;
  toTemplate: string;
  at: string;
  /** Label selector of its own pods, as it cannot change; null where it has expressions. */
  pods: string | null;
}

export const runbook = defineRemedy<Record<string, never>, Facts>({
  name: "restart-workload",
  version: 1,
  summary: "Restarts a workload's pods, one after the other, as its own strategy says.",
  kinds: ["Deployment", "StatefulSet", "DaemonSet"],
  params: z.strictObject({}),
  risk: "A",
  needs: [
    { verb: "get", group: "apps", resource: "deployments" },
    { verb: "patch", group: "apps", resource: "deployments" },
    { verb: "patch", group: "apps", resource: "statefulsets" },
    { verb: "patch", group: "apps", resource: "daemonsets" },
    { verb: "list", group: "", resource: "pods" },
    { verb: "list", group: "policy", resource: "poddisruptionbudgets" },
  ],
  diagnosis: "diagnose-pods",
  giveUpAfterMs: 5 * 60_000,
  onFailed: "stop",
  undo: noUndo("a restart cannot be taken back: the new pods run what the old ones ran"),

  async plan(context) {
    const { target, cluster, now } = context;
    const name = nameOf(target);
    const live = await cluster.get(target);
    if (live === null) return skip("target-not-found", `${name} is gone`);
    const asked = podsOf(target, live, cluster);
    const [pods, couldNot] = await Promise.all([asked, couldNotStart(target, { live, pods: asked, cluster })]);
    const refused =
      ownedElsewhere(context) ??
      noPointInIt(name, live, pods) ??
      (await notDisrupted(target, { live, pods, cluster })) ??
      couldNot;
    if (refused !== null) return refused;

    const at = new Date(now).toISOString();
    const before = live.spec.template.metadata?.annotations?.[RESTARTED];
    const fromTemplate = digestOf(live.spec.template);
    const toTemplate = digestOf(restarted(live.spec.template, at));
    const lost = stateOf(live);
    return {
      sentence: `Restart ${name}, ${wantedBy(live)} pod${wantedBy(live) === 1 ? "" : "s"}`,
      verb: "restart",
      changes: [
        {
          object: {
            apiVersion: target.apiVersion,
            kind: target.kind,
            namespace: target.namespace,
            name: target.name,
            uid: target.uid,
          },
          field: `/spec/template/metadata/annotations/${RESTARTED.replace("/", "~1")}`,
          from: before ?? "never restarted",
          to: at,
          fromDigest: fromTemplate,
          toDigest: toTemplate,
        },
      ],
      loses: lost.length > 0 ? lost.join("; ") : "requests in flight that do not end within the grace period",
      takes: "about 2 min",
      undo: "not possible",
      ...(lost.length > 0 ? { risk: "B" as const } : {}),
      steps: ["restart"],
      undoSteps: [],
      facts: { fromTemplate, toTemplate, at, pods: selectorText(live) },
      evidence: [
        `${pods.filter(isReady).length} of ${wantedBy(live)} pods are ready; one after the other, as its strategy says`,
        `the same template stays: ${imagesText(live.spec.template)}`,
        "ConfigMaps and Secrets that it names are there; whether its images can still be pulled: the registry was not asked, no pod here fails to",
      ],
    };
  },

  async execute({ target, plan, cluster, step }) {
    await step("restart", () => restart(target, plan.facts, cluster));
  },

  async verify({ target, plan, cluster, symptom, memo }) {
    const live = await cluster.get(target);
    if (live === null || live.metadata.uid !== target.uid)
      return { world: "bad", symptom: "unknown", says: `${nameOf(target)} is gone` };
    if (digestOf(live.spec.template) !== plan.facts.toTemplate)
      return {
        world: "bad",
        symptom: "unknown",
        says: `${nameOf(target)}: its template is no longer the one of this restart: somebody or something changed it`,
      };
    const world = await rolloutState(target, live, cluster, memo);
    const seen = await symptom();
    return { world: world.state, symptom: seen.state, says: `${world.says}; ${seen.says}`, memo: world.memo };
  },
});

function ownedElsewhere(context: PlanContext<unknown>): Skip | null {
  const { target } = context;
  const owner = context.owners.find((one) => one.handsOff);
  if (owner === undefined) return null;
  const kind = target.kind.toLowerCase();
  const how =
    owner.kind === "argo-cd"
      ? `argocd app actions run ${owner.name} restart --kind ${target.kind} --resource-name ${target.name}`
      : `kubectl -n ${target.namespace} rollout restart ${kind}/${target.name}`;
  const reason = owner.kind === "argo-cd" || owner.kind === "flux" ? "owned-by-gitops" : "owned-elsewhere";
  return skip(reason, `${owner.says}: ${nameOf(target)} is restarted through it, not here`, how);
}

/** A restart mends what a process got itself into; not what its template, its configuration or a person does. */
function noPointInIt(name: string, live: KubeObject, pods: readonly KubeObject[]): Skip | null {
  if (live.spec?.paused === true)
    return skip(
      "rollout-paused",
      `${name}: its rollout is paused by a person; resume it first with \`kubectl rollout resume\``,
    );
  if (wantedBy(live) === 0) return skip("nothing-to-do", `${name} is scaled to 0: there is nothing to restart`);
  const update = live.spec?.updateStrategy as { type?: string; rollingUpdate?: { partition?: number } } | undefined;
  if (update?.type === "OnDelete")
    return skip(
      "unsupported-kind",
      `${name}: its update strategy is OnDelete, so that a new template restarts nothing; restart its pods one by one`,
    );
  if ((update?.rollingUpdate?.partition ?? 0) > 0)
    return skip(
      "change-in-flight",
      `${name}: a person holds its rollout at partition ${update?.rollingUpdate?.partition}; expected 0`,
    );
  const crashed = pods.map((pod) => ({ pod, loop: crashLooping(pod) })).find((one) => one.loop !== null);
  if (crashed?.loop)
    return skip(
      "crash-loop",
      `${name}: container ${crashed.loop.container} of Pod ${crashed.pod.metadata.name} already restarts by itself and dies${crashed.loop.exitCode === null ? "" : ` with exit code ${crashed.loop.exitCode}`}: the diagnosis shows what changed and its last log lines`,
    );
  return null;
}

/** Rollouts do not ask disruption budgets; so it is asked here, for each strategy that takes a pod away before its successor is ready. */
async function notDisrupted(
  target: Target,
  of: { live: KubeObject; pods: readonly KubeObject[]; cluster: ClusterReader },
): Promise<Skip | null> {
  const { live, pods, cluster } = of;
  const ready = pods.filter(isReady).length;
  const quorum = quorumLost(live, ready - 1);
  if (quorum !== null) return skip("quorum", `${nameOf(target)}: a restart takes one member away; ${quorum}`);
  if (surgesFirst(live)) return null;
  const labels = (live.spec?.template?.metadata?.labels ?? {}) as Record<string, string>;
  const tight = (await budgetsOver(target.namespace, labels, cluster)).find((budget) => budget.allowed < 1);
  return tight === undefined
    ? null
    : skip(
        "disrupted",
        `${nameOf(target)}: PodDisruptionBudget ${tight.name} allows no pod to leave now; expected at least 1`,
      );
}

/** Whether new pods are ready before old ones leave: no pod is missed meanwhile. */
function surgesFirst(live: KubeObject): boolean {
  if (live.kind !== "Deployment" || live.spec?.strategy?.type === "Recreate") return false;
  const most = live.spec?.strategy?.rollingUpdate?.maxUnavailable as string | number | undefined;
  const share = /^(\d+)%$/.exec(String(most ?? "25%"));
  return (share ? Math.floor((wantedBy(live) * Number(share[1])) / 100) : Number(most)) === 0;
}

async function couldNotStart(
  target: Target,
  of: { live: KubeObject; pods: Promise<readonly KubeObject[]>; cluster: ClusterReader },
): Promise<Skip | null> {
  const { live, pods, cluster } = of;
  const says = await wouldNotStart({ namespace: target.namespace, template: live.spec.template, pods, cluster });
  return says === null
    ? null
    : skip("would-not-start", `${nameOf(target)}: ${says}: what is stopped now would not come back`);
}

/** What a restart loses, in words; nothing for a workload without state of its own. */
function stateOf(live: KubeObject): string[] {
  const spec = live.spec?.template?.spec as { volumes?: { name: string; emptyDir?: object }[] } | undefined;
  const scratch = (spec?.volumes ?? []).filter((volume) => volume.emptyDir !== undefined).map((volume) => volume.name);
  const said = live.metadata.annotations?.[STATE] ?? live.spec?.template?.metadata?.annotations?.[STATE];
  return [
    ...(live.kind === "StatefulSet" ? ["each member's memory, and its connections, one member at a time"] : []),
    ...(said === undefined ? [] : [`its owner marks it as ${String(said).slice(0, 30)}: what it holds in memory`]),
    ...(scratch.length > 0 ? [`what its pods keep in ${scratch.join(", ")} (emptyDir)`] : []),
    ...(live.spec?.strategy?.type === "Recreate" ? ["availability: all its pods stop before new ones start"] : []),
  ];
}

function restarted(template: KubeObject["spec"], at: string): KubeObject["spec"] {
  const copy = structuredClone(template);
  copy.metadata = { ...copy.metadata, annotations: { ...copy.metadata?.annotations, [RESTARTED]: at } };
  return copy;
}

async function restart(target: Target, facts: Facts, cluster: ClusterReader): Promise<Effect> {
  // Asked for while the target itself is: by the very question that is asked below.
  if (facts.pods) podsBy(target, facts.pods, cluster).catch(() => undefined);
  const now = await cluster.get(target);
  if (now !== null) {
    const pods = podsOf(target, now, cluster);
    const says = await wouldNotStart({ namespace: target.namespace, template: now.spec.template, pods, cluster });
    if (says !== null) throw new ChangedWorld(`${nameOf(target)}: ${says}: what is stopped now would not come back`);
  }
  return {
    object: {
      apiVersion: target.apiVersion,
      kind: target.kind,
      namespace: target.namespace,
      name: target.name,
      uid: target.uid,
    },
    changed(live: KubeObject): string | null {
      if (live.spec?.paused === true) return `${nameOf(target)}: its rollout was paused by a person`;
      if (wantedBy(live) === 0) return `${nameOf(target)} was scaled to 0 by somebody`;
      const found = digestOf(live.spec.template);
      if (found === facts.fromTemplate) return null;
      return `${nameOf(target)}: its pod template is no longer the one that was approved (${imagesText(live.spec.template)}, restarted ${live.spec.template.metadata?.annotations?.[RESTARTED] ?? "never"})`;
    },
    patch(live: KubeObject): JsonPatchOp[] {
      const path = "/spec/template/metadata/annotations";
      const there = live.spec.template.metadata?.annotations !== undefined;
      return [
        ...(there ? [] : [{ op: "add" as const, path, value: {} }]),
        { op: "add", path: `${path}/${RESTARTED.replace("/", "~1")}`, value: facts.at },
      ];
    },
  };
}
