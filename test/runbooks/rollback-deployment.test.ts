import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { runbook as diagnose } from "../../runbooks/diagnose-pods.js";
import { runbook } from "../../runbooks/rollback-deployment.js";
import { type Kubernetes, startKubernetes } from "../../sandbox/kubernetes/kubernetes.js";
import { createKubernetes, type KubernetesClient } from "../../src/clients/kubernetes.js";
import { systemClock } from "../../src/clock.js";
import { headlineWithLog } from "../../src/notify/headline.js";
import { redact } from "../../src/log.js";
import { ownersOf } from "../../src/owner/owners.js";
import { ChangedWorld, type Effect, isSkip, type PlanDraft, type Target } from "../../src/runbook.js";
import { resolveTarget } from "../../src/target/resolve.js";
import { until } from "../harness/processes.js";
import { badRelease, deploy } from "../harness/world.js";

const NAMESPACE = "shop";

describe("rollback-deployment", () => {
  let kubernetes: Kubernetes;
  let k: KubernetesClient;
  const dir = mkdtempSync(join(tmpdir(), "rollback-"));

  beforeAll(async () => {
    kubernetes = await startKubernetes({
      behaviour: (pod) => (pod.metadata.name === "puller" ? { kind: "missing" } : null),
    });
    writeFileSync(join(dir, "kubeconfig"), kubernetes.kubeconfig());
    k = await createKubernetes({
      kubeconfig: join(dir, "kubeconfig"),
      clock: systemClock,
      fieldManager: "kubectl-test",
    });
  });

  afterAll(async () => {
    await k.close();
    await kubernetes.stop();
    rmSync(dir, { recursive: true, force: true });
  });

  const ref = (name: string) => ({ apiVersion: "apps/v1", kind: "Deployment", namespace: NAMESPACE, name });

  async function planFor(
    name: string,
    healthMs = 0,
  ): Promise<{ draft: Awaited<ReturnType<typeof runbook.plan>>; target: Target }> {
    const found = await resolveTarget(
      { cluster: "test", kind: "Deployment", namespace: NAMESPACE, name },
      { labels: {} },
      k,
    );
    if (!("target" in found)) throw new Error(found.says);
    const object = await k.get(found.target);
    const owners = object === null ? [] : await ownersOf(found.target, object, k);
    const draft = await runbook.plan({
      target: found.target,
      params: {},
      alerts: [],
      cluster: k,
      measure: async () => null,
      now: Date.now(),
      owners,
      settings: { rollbackHealthMs: healthMs },
    });
    return { draft, target: found.target };
  }

  /** Runs the one step with a writer of the test's own, as the engine would. */
  async function carryOut(name: string, draft: PlanDraft, target: Target): Promise<void> {
    await runbook.execute({
      target,
      params: {},
      alerts: [],
      cluster: k,
      measure: async () => null,
      now: Date.now(),
      plan: draft as never,
      step: async (_step, prepare: () => Promise<Effect>) => {
        const effect = await prepare();
        const live = await k.get(ref(name));
        if (live === null) throw new Error("gone");
        const changed = effect.changed(live);
        if (changed !== null) throw new ChangedWorld(changed);
        if ("evict" in effect) throw new Error("a rollback evicts nothing");
        await k.jsonPatch(ref(name), effect.patch(live));
      },
    });
  }

  function drafted(draft: Awaited<ReturnType<typeof runbook.plan>>): PlanDraft {
    if (isSkip(draft)) throw new Error(`${draft.skip}: ${draft.sentence}`);
    return draft;
  }

  it("pins revision, ReplicaSet and templates, and writes nothing while planning (H28)", async () => {
    await badRelease(k, { namespace: NAMESPACE, name: "pins" });
    const before = kubernetes.writes().length;

    const { draft } = await planFor("pins");

    expect(drafted(draft)).toMatchObject({
      sentence: "Roll back Deployment shop/pins from revision 2 to 1",
      steps: ["roll-back"],
      undo: "roll forward to revision 2 again",
    });
    expect(kubernetes.writes().length).toBe(before);
    expect(JSON.stringify(draft)).not.toContain('"value"');
  });

  it("writes exactly the earlier ReplicaSet's template, keeps nightshift.dev/*, and does nothing twice (H28)", async () => {
    await deploy(k, { namespace: NAMESPACE, name: "exact", tag: "good" });
    await until("the first release", async () => (await k.get(ref("exact")))?.status?.availableReplicas === 2);
    const first = (await k.get(ref("exact")))?.spec.template;
    await new Promise((done) => setTimeout(done, 1100));
    await deploy(k, { namespace: NAMESPACE, name: "exact", tag: "crash" });
    await until("the bad release", async () => ((await k.get(ref("exact")))?.status?.unavailableReplicas ?? 0) > 0);
    await k.mergePatch(ref("exact"), {
      metadata: { annotations: { "nightshift.dev/fence": "1 x", "team/owner": "shop" } },
    });
    const { draft, target } = await planFor("exact");

    await carryOut("exact", drafted(draft), target);

    const live = await k.get(ref("exact"));
    expect(live?.spec.template).toEqual(first);
    expect(live?.metadata.annotations).toMatchObject({ "nightshift.dev/fence": "1 x", "team/owner": "shop" });
    await expect(carryOut("exact", drafted(draft), target)).rejects.toThrow(/has the template to go back to already/);
    // Revision 1 is 3 now: a second rollback must not bring the bad release back as "the previous one".
    await until(
      "the rollout",
      async () => (await k.get(ref("exact")))?.metadata.annotations?.["deployment.kubernetes.io/revision"] === "3",
    );
    const again = (await planFor("exact")).draft;
    if (!isSkip(again)) expect(again.sentence).not.toContain("to 1");
  });

  const refusals: {
    why: string;
    name: string;
    skip: string;
    says: RegExp;
    prepare(name: string): Promise<void>;
    health?: number;
  }[] = [
    {
      why: "there is one revision only",
      name: "only",
      skip: "no-earlier-revision",
      says: /no earlier revision/,
      prepare: (name) => deploy(k, { namespace: NAMESPACE, name, tag: "good" }),
    },
    {
      why: "no earlier revision ran for long enough (H28)",
      name: "young",
      skip: "no-healthy-revision",
      says: /revision 1 ran only/,
      health: 15 * 60_000,
      prepare: (name) => badRelease(k, { namespace: NAMESPACE, name }),
    },
    {
      why: "a person paused the rollout",
      name: "paused",
      skip: "rollout-paused",
      says: /paused by a person/,
      prepare: async (name) => {
        await badRelease(k, { namespace: NAMESPACE, name });
        await k.mergePatch(ref(name), { spec: { paused: true } });
      },
    },
    {
      why: "a ConfigMap that it names is gone (H26)",
      name: "nomap",
      skip: "config-gone",
      says: /ConfigMap shop\/nomap-config is gone/,
      prepare: async (name) => {
        await badRelease(k, { namespace: NAMESPACE, name });
        kubernetes.remove("ConfigMap", NAMESPACE, `${name}-config`);
      },
    },
    {
      why: "configuration changed after it last ran (H26)",
      name: "changed",
      skip: "config-changed",
      says: /ConfigMap shop\/changed-config changed at/,
      prepare: async (name) => {
        await badRelease(k, { namespace: NAMESPACE, name });
        await new Promise((done) => setTimeout(done, 1100));
        await k.mergePatch(
          { apiVersion: "v1", kind: "ConfigMap", namespace: NAMESPACE, name: `${name}-config` },
          { data: { LEVEL: "debug" } },
        );
      },
    },
    {
      why: "its image cannot be pulled any more (H25)",
      name: "noimage",
      skip: "image-gone",
      says: /cannot pull registry\.example\/noimage:good/,
      prepare: async (name) => {
        await badRelease(k, { namespace: NAMESPACE, name });
        kubernetes.seed({
          apiVersion: "v1",
          kind: "Pod",
          metadata: { name: "puller", namespace: NAMESPACE },
          spec: { containers: [{ name: "c", image: `registry.example/${name}:good` }] },
        });
        const puller = { apiVersion: "v1", kind: "Pod", namespace: NAMESPACE, name: "puller" };
        await until(
          "a pod that cannot pull",
          async () => (await k.get(puller))?.status?.containerStatuses?.[0]?.state?.waiting !== undefined,
        );
      },
    },
    {
      why: "GitOps owns it: the change is handed off (H27)",
      name: "gitops",
      skip: "owned-by-gitops",
      says: /Argo CD application shop-apps/,
      prepare: async (name) => {
        await badRelease(k, { namespace: NAMESPACE, name });
        await k.mergePatch(ref(name), {
          metadata: { annotations: { "argocd.argoproj.io/tracking-id": "shop-apps:apps/Deployment:shop/gitops" } },
        });
      },
    },
    {
      why: "the newer revision migrated data (H24)",
      name: "migrated",
      skip: "config-changed",
      says: /migrated data/,
      prepare: async (name) => {
        await badRelease(k, { namespace: NAMESPACE, name });
        await k.mergePatch(ref(name), { metadata: { annotations: { "nightshift.dev/migration": "0042" } } });
      },
    },
  ];

  it.each(refusals)("refuses when $why", async ({ name, skip, says, prepare, health }) => {
    await prepare(name);

    const { draft } = await planFor(name, health);

    expect(draft).toMatchObject({ skip });
    expect((draft as { sentence: string }).sentence).toMatch(says);
    if (skip === "owned-by-gitops") expect((draft as { handOff: string }).handOff).toMatch(/Commit that change in Git/);
  });

  it("stops when its ReplicaSet is gone or the template moved since the plan (H44)", async () => {
    await badRelease(k, { namespace: NAMESPACE, name: "moved" });
    const { draft, target } = await planFor("moved");
    await k.jsonPatch(ref("moved"), [
      { op: "replace", path: "/spec/template/spec/containers/0/image", value: "registry.example/moved:hotfix" },
    ]);

    await expect(carryOut("moved", drafted(draft), target)).rejects.toThrow(/no longer the one that was approved/);

    const facts = drafted(draft).facts as { toReplicaSet: { name: string } };
    kubernetes.remove("ReplicaSet", NAMESPACE, facts.toReplicaSet.name);
    await expect(carryOut("moved", drafted(draft), target)).rejects.toThrow(/is gone/);
  });

  it("says what is wrong in four lines, the secret in the logs hidden (diagnose-pods)", async () => {
    await badRelease(k, { namespace: NAMESPACE, name: "sick" });
    await until("a crash", async () =>
      (await k.list({ apiVersion: "v1", kind: "Pod", namespace: NAMESPACE, labelSelector: "app=sick" })).some(
        (p) => p.status?.containerStatuses?.[0]?.lastState?.terminated,
      ),
    );
    const found = await resolveTarget(
      { cluster: "test", kind: "Deployment", namespace: NAMESPACE, name: "sick" },
      { labels: {} },
      k,
    );
    if (!("target" in found)) throw new Error(found.says);

    const diagnosis = await diagnose.diagnose({
      target: found.target,
      params: {},
      alerts: [],
      cluster: k,
      measure: async () => null,
      now: Date.now(),
      redact,
      logLines: 20,
      probe: async () => ({ ok: false, says: "not asked", ms: 0 }),
    });

    expect(diagnosis.headline.length).toBeLessThanOrEqual(4);
    expect(headlineWithLog(diagnosis).join("\n")).toMatch(
      /began .* after revision 2 was rolled out[\s\S]*(CrashLoopBackOff|Error), exit code 1; last log line: Error: it cannot start[\s\S]*revision 1 .* ran for/,
    );
    expect(diagnosis.details.map((d) => d.title)).toEqual(expect.arrayContaining(["Pods", "Rollouts", "Events"]));
  });
});
