import {
  ChangedWorld,
  type Change,
  type ClusterReader,
  configurationOf,
  cannotPull,
  contentDigest,
  currentOf,
  defineRemedy,
  digestOf,
  imagesText,
  type Json,
  type JsonPatchOp,
  type KubeObject,
  type Look,
  nameOf,
  podsOf,
  newestWriter,
  type PlanContext,
  type Ran,
  ranFor,
  type Revision,
  revisionsOf,
  rolloutState,
  skip,
  span,
  type Target,
  templateDifferences,
  withoutHash,
  z,
  WARNINGS,
} from "../src/runbook.js";

/**
 * Rolls a Deployment back to the last revision that ran well.
 *
 * The revision is pinned when the plan is made (ReplicaSet by UID, template by digest), so that doing it twice changes
 * nothing more and a change made by anybody meanwhile stops it. The template written is the one that
 * `kubectl rollout undo --to-revision` would write; annotations stay, but for the change's cause.
 */

const CAUSE = "kubernetes.io/change-cause";

/** So many restarts of a revision's pods with back-off, and it did not run well. */
const CRASHES = 5;

interface Facts extends Record<string, Json> {
  fromRevision: number;
  toRevision: number;
  fromReplicaSet: { name: string; uid: string; createdAt: string };
  toReplicaSet: { name: string; uid: string; createdAt: string };
  fromTemplate: string;
  toTemplate: string;
  config: { kind: string; name: string; digest: string }[];
}

export const runbook = defineRemedy<Record<string, never>, Facts>({
  name: "rollback-deployment",
  version: 1,
  summary: "Rolls a Deployment back to the last revision that ran well.",
  kinds: ["Deployment"],
  params: z.strictObject({}),
  risk: "A",
  needs: [
    { verb: "get", group: "apps", resource: "deployments" },
    { verb: "patch", group: "apps", resource: "deployments" },
    { verb: "get", group: "apps", resource: "replicasets" },
    { verb: "get", group: "", resource: "configmaps" },
    { verb: "list", group: "", resource: "pods" },
  ],
  diagnosis: "diagnose-pods",
  giveUpAfterMs: 5 * 60_000,
  onFailed: "stop",

  async plan(context) {
    const { target, cluster, now } = context;
    const name = nameOf(target);
    const deployment = await cluster.get(target);
    if (deployment === null) return skip("target-not-found", `${name} is gone`);
    if (deployment.spec?.paused === true)
      return skip(
        "rollout-paused",
        `${name}: its rollout is paused by a person; resume it first with \`kubectl rollout resume\``,
      );
    const revisions = await revisionsOf(target, deployment, cluster);
    const current = currentOf(deployment, revisions);
    if (current === undefined && revisions.length > 0)
      return skip(
        "change-in-flight",
        `${name} has a template that no revision has yet: a rollout is just beginning; expected the template of revision ${revisions.at(-1)?.number}, found ${imagesText(deployment.spec?.template)}. Look again in a minute`,
      );
    const earlier = revisions.filter((revision) => revision.number < (current?.number ?? 0)).reverse();
    if (current === undefined || earlier.length === 0)
      return skip(
        "no-earlier-revision",
        `${name} has no earlier revision to go back to: expected at least two ReplicaSets with a revision, found ${revisions.length}`,
      );

    const passed: string[] = [];
    const crashes = await crashesIn(target, cluster);
    let chosen: { revision: Revision; ran: Ran } | undefined;
    for (const candidate of earlier) {
      if (candidate.templateDigest === current.templateDigest) continue;
      const ran = ranFor(candidate, revisions, now);
      const crashed = crashes.of(candidate);
      if (ran.ms >= context.settings.rollbackHealthMs && crashed < CRASHES) {
        chosen = { revision: candidate, ran };
        break;
      }
      passed.push(`revision ${candidate.number} ${unwell(ran, crashed, context.settings.rollbackHealthMs)}`);
    }
    if (chosen === undefined) {
      if (passed.length === 0)
        return skip("nothing-to-do", `${name}: every earlier revision has the template that runs now`);
      return skip(
        "no-healthy-revision",
        `${name}: no earlier revision ran well for ${span(context.settings.rollbackHealthMs)}: ${passed.join(", ")}; choose one by hand`,
      );
    }
    const { revision: to, ran } = chosen;
    const owned = ownedElsewhere(context, { chosen: to, current, deployment });
    if (owned !== null) return owned;

    const template = await templateOf(target, to, cluster);
    const refused =
      (await imageGone({ target, deployment, template, cluster })) ?? migrated(name, deployment, template);
    if (refused !== null) return refused;
    const config = await configurationOf({
      target,
      template,
      cluster,
      window: { from: Date.parse(current.createdAt), to: Date.parse(to.createdAt) },
    });
    if ("skip" in config) return config;

    const fromTemplate = digestOf(deployment.spec.template);
    const toTemplate = digestOf(template);
    const facts: Facts = {
      fromRevision: current.number,
      toRevision: to.number,
      fromReplicaSet: pick(current),
      toReplicaSet: pick(to),
      fromTemplate,
      toTemplate,
      config: config.found,
    };
    const change: Change = {
      object: {
        apiVersion: target.apiVersion,
        kind: target.kind,
        namespace: target.namespace,
        name: target.name,
        uid: target.uid,
      },
      field: "/spec/template",
      from: `revision ${current.number} (${imagesText(deployment.spec.template)})`,
      to: `revision ${to.number} (${imagesText(template)})`,
      // What was looked at binds the approval: the template, and the configuration that it would run with.
      fromDigest: digestOf([fromTemplate, config.found]),
      toDigest: toTemplate,
    };
    const helm = context.owners.find((owner) => owner.kind === "helm");
    return {
      sentence: `Roll back ${name} from revision ${current.number} to ${to.number}`,
      verb: "rollback",
      changes: [change],
      loses: `what revision ${current.number} brought`,
      takes: "about 2 min",
      undo: `roll forward to revision ${current.number} again`,
      steps: ["roll-back"],
      undoSteps: ["undo:roll-back"],
      facts,
      evidence: [
        `revision ${to.number} ran ${ran.exact ? "" : "at least "}${span(ran.ms)}, until revision ${revisions[revisions.indexOf(to) + 1]?.number} was rolled out`,
        ...(helm === undefined ? [] : [helm.says]),
        ...templateDifferences(deployment.spec.template, template),
        ...(passed.length === 0
          ? []
          : [`passed over: ${passed.slice(0, 3).join(", ")}${passed.length > 3 ? ", …" : ""}`]),
        ...config.notes,
        ...crashes.notes,
        "whether its images can still be pulled: the registry was not asked, no pod here fails to",
      ],
    };
  },

  async execute({ target, plan, cluster, step }) {
    await step("roll-back", () =>
      swap({
        target,
        cluster,
        facts: plan.facts,
        from: plan.facts.fromTemplate,
        to: plan.facts.toReplicaSet,
        digest: plan.facts.toTemplate,
      }),
    );
  },

  async undo({ target, plan, cluster, step }) {
    await step("undo:roll-back", () =>
      swap({
        target,
        cluster,
        facts: null,
        from: plan.facts.toTemplate,
        to: plan.facts.fromReplicaSet,
        digest: plan.facts.fromTemplate,
      }),
    );
  },

  async verify({ target, plan, cluster, symptom, memo }) {
    const live = await cluster.get(target);
    if (live === null || live.metadata.uid !== target.uid)
      return { world: "bad", symptom: "unknown", says: `${nameOf(target)} is gone` };
    if (digestOf(live.spec.template) !== plan.facts.toTemplate) {
      return {
        world: "bad",
        symptom: "unknown",
        says: `${nameOf(target)}: its template is no longer the one of revision ${plan.facts.toRevision}: somebody or something changed it`,
      };
    }
    const world = await rolloutState(target, live, cluster, memo);
    const seen = await symptom();
    const look: Look = {
      world: world.state,
      symptom: seen.state,
      says: `${world.says}; ${seen.says}`,
      memo: world.memo,
    };
    return look;
  },
});

/** Why a revision was passed over. */
function unwell(ran: Ran, crashed: number, needed: number): string {
  if (crashed >= CRASHES) return `crashed: its pods were restarted with back-off ${crashed} times`;
  return ran.exact
    ? `ran only ${span(ran.ms)}`
    : `is not known to have run for ${span(needed)}: a ReplicaSet was taken up again`;
}

/** Restarts with back-off of each revision's pods, as far as events go back (an hour, as a rule). */
async function crashesIn(
  target: Target,
  cluster: ClusterReader,
): Promise<{ of(revision: Revision): number; notes: string[] }> {
  let events: KubeObject[];
  try {
    events = await cluster.list({
      apiVersion: "v1",
      kind: "Event",
      namespace: target.namespace,
      fieldSelector: WARNINGS,
    });
  } catch (error) {
    if ((error as { status?: unknown }).status !== 403) throw error;
    return { of: () => 0, notes: ["crashes of earlier revisions not checked: no right to list events"] };
  }
  const backOffs = events.filter(
    (event) => event["reason"] === "BackOff" && /restarting failed container/.test(String(event["message"] ?? "")),
  );
  return {
    of: (revision) =>
      backOffs
        .filter((event) =>
          (event["involvedObject"] as { name?: string } | undefined)?.name?.startsWith(`${revision.name}-`),
        )
        .reduce((sum, event) => sum + Number(event["count"] ?? 1), 0),
    notes: [],
  };
}

function ownedElsewhere(
  context: PlanContext<unknown>,
  of: { chosen: Revision; current: Revision; deployment: KubeObject },
) {
  const owner = context.owners.find((o) => o.handsOff);
  if (owner === undefined) return null;
  const name = nameOf(context.target);
  if (owner.kind === "argo-cd" || owner.kind === "flux") {
    const handOff = `${name}: set its pod template back to revision ${of.chosen.number}.\nNow (revision ${of.current.number}): ${imagesText(of.deployment.spec?.template)}\nSee it with: kubectl -n ${context.target.namespace} rollout history deployment/${context.target.name} --revision=${of.chosen.number}\nCommit that change in Git and let it sync.`;
    return skip(
      "owned-by-gitops",
      `${owner.says}: rolling ${name} back here would be undone; revert it in Git`,
      handOff,
    );
  }
  return skip("owned-elsewhere", `${owner.says}: ${name} is rolled back through it, not here`);
}

async function templateOf(target: Target, revision: Revision, cluster: ClusterReader): Promise<KubeObject["spec"]> {
  const set = await cluster.get({
    apiVersion: "apps/v1",
    kind: "ReplicaSet",
    namespace: target.namespace,
    name: revision.name,
  });
  if (set === null || set.metadata.uid !== revision.uid)
    throw new ChangedWorld(`ReplicaSet ${target.namespace}/${revision.name} of revision ${revision.number} is gone`);
  return withoutHash(set.spec?.template);
}

async function imageGone(of: {
  target: Target;
  deployment: KubeObject;
  template: KubeObject["spec"];
  cluster: ClusterReader;
}) {
  const { target, template, cluster } = of;
  const pods = podsOf(target, of.deployment, cluster);
  const says = await cannotPull({ namespace: target.namespace, template, pods, cluster });
  return says === null ? null : skip("image-gone", `${says}, which the earlier revision needs: push it again first`);
}

/** A revision that says that it migrated data cannot be taken back by code alone. */
function migrated(name: string, deployment: KubeObject, template: KubeObject["spec"]) {
  const marker = "nightshift.dev/migration";
  const now = deployment.spec?.template?.metadata?.annotations?.[marker] ?? deployment.metadata.annotations?.[marker];
  const then = template?.metadata?.annotations?.[marker];
  if (now === undefined || now === then) return null;
  return skip(
    "config-changed",
    `${name}: the revision that runs now migrated data (${String(now).slice(0, 60)}); the earlier one may not read it: fix forward, or ask its owner`,
  );
}

interface Swap {
  target: Target;
  cluster: ClusterReader;
  /** The plan's facts while rolling back; null for the undo, which must not be kept from undoing by configuration. */
  facts: Facts | null;
  from: string;
  to: { name: string; uid: string };
  digest: string;
}

/** The one write: this template for that one, on a Deployment that is as approved. */
async function swap(s: Swap) {
  const { target, cluster } = s;
  const set = await cluster.get({
    apiVersion: "apps/v1",
    kind: "ReplicaSet",
    namespace: target.namespace,
    name: s.to.name,
  });
  if (set === null || set.metadata.uid !== s.to.uid)
    throw new ChangedWorld(`ReplicaSet ${target.namespace}/${s.to.name}, whose template was to be written, is gone`);
  const template = withoutHash(set.spec?.template);
  if (digestOf(template) !== s.digest)
    throw new ChangedWorld(`ReplicaSet ${target.namespace}/${s.to.name} no longer has the template that was approved`);
  for (const one of s.facts?.config ?? []) {
    const object = await cluster.get({ apiVersion: "v1", kind: one.kind, namespace: target.namespace, name: one.name });
    if (object === null)
      throw new ChangedWorld(
        `${one.kind} ${target.namespace}/${one.name} was there when the plan was made and is gone`,
      );
    if (contentDigest(object) !== one.digest)
      throw new ChangedWorld(
        `${one.kind} ${target.namespace}/${one.name} changed since the plan was made${newestWriter(object)}`,
      );
  }
  const cause = set.metadata.annotations?.[CAUSE];
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
      const found = digestOf(live.spec?.template);
      if (found === s.from) return null;
      if (found === s.digest) return `${nameOf(target)} has the template to go back to already: somebody else did it`;
      return `${nameOf(target)}: its pod template is no longer the one that was approved (${imagesText(live.spec?.template)})`;
    },
    patch(live: KubeObject): JsonPatchOp[] {
      const path = `/metadata/annotations/${CAUSE.replace("/", "~1")}`;
      const had = live.metadata.annotations?.[CAUSE] !== undefined;
      const words: JsonPatchOp[] =
        cause !== undefined ? [{ op: "add", path, value: cause }] : had ? [{ op: "remove", path }] : [];
      return [{ op: "replace", path: "/spec/template", value: template }, ...words];
    },
  };
}

function pick(revision: Revision): { name: string; uid: string; createdAt: string } {
  return { name: revision.name, uid: revision.uid, createdAt: revision.createdAt };
}
