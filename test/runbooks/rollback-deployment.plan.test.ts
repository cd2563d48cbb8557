import { describe, expect, it } from "vitest";
import type { KubeObject } from "../../src/cluster.js";
import type { Owner } from "../../src/runbook.js";
import type { MemoryCluster } from "../harness/memory-cluster.js";
import {
  ago,
  API,
  carryOut,
  controllerTurn,
  DAY,
  deploymentRef,
  drafted,
  edit,
  live,
  MINUTE,
  NS,
  plan,
  refused,
  REVISION,
  shop,
  template,
} from "./scene.js";

/** Revision 41 ran 6 d, 42 came 10 min ago. */
const bad = (from = template("v1.4.2"), to = template("v1.4.1"), more: Partial<KubeObject>[] = []): MemoryCluster =>
  shop(
    [
      { number: 41, age: 6 * DAY, template: to },
      { number: 42, age: 10 * MINUTE, template: from },
    ],
    more,
  );

const written = (time: string, keys: string[], manager = "kubectl-edit") => [
  { manager, operation: "Update", time, fieldsV1: { "f:data": Object.fromEntries(keys.map((k) => [`f:${k}`, {}])) } },
];

const config = (kind: "ConfigMap" | "Secret", name: string, more: object = {}): Partial<KubeObject> => ({
  apiVersion: "v1",
  kind,
  metadata: { name, namespace: NS, creationTimestamp: ago(90 * DAY), ...more } as never,
  data: { LEVEL: "info" },
});

const pod = (name: string, more: { spec?: object; status?: object; uid?: string }): Partial<KubeObject> => ({
  apiVersion: "v1",
  kind: "Pod",
  metadata: { name, namespace: NS, labels: { app: "api" } } as never,
  spec: more.spec,
  status: more.status,
});

describe("rollback-deployment: the plan", () => {
  it("reads only, and the world is byte for byte what it was", async () => {
    const cluster = bad();
    const before = cluster.world();

    drafted(await plan(cluster));

    expect(cluster.world()).toEqual(before);
    expect(cluster.writes()).toEqual([]);
  });

  it("names absolute revisions and binds both templates (H28)", async () => {
    const draft = drafted(await plan(bad()));

    expect(draft).toMatchObject({
      sentence: `Roll back Deployment ${NS}/${API} from revision 42 to 41`,
      verb: "rollback",
      steps: ["roll-back"],
      facts: {
        fromRevision: 42,
        toRevision: 41,
        fromReplicaSet: { name: `${API}-hash42`, uid: "rs-42", createdAt: ago(10 * MINUTE) },
        toReplicaSet: { name: `${API}-hash41`, uid: "rs-41", createdAt: ago(6 * DAY) },
      },
    });
    expect(draft.changes).toHaveLength(1);
    expect(draft.changes[0]).toMatchObject({
      object: { ...deploymentRef, uid: "d1" },
      field: "/spec/template",
      from: "revision 42 (registry.example/api:v1.4.2)",
      to: "revision 41 (registry.example/api:v1.4.1)",
    });
    expect(draft.evidence.join("\n")).toContain("image registry.example/api:v1.4.2 → registry.example/api:v1.4.1");
    expect(draft.verb.length).toBeLessThanOrEqual(20);
  });

  it("gives the same digests twice, and others once either template is another", async () => {
    const digests = async (cluster: MemoryCluster) =>
      drafted(await plan(cluster)).changes.map((c) => [c.fromDigest, c.toDigest]);

    const [[from, to] = []] = await digests(bad());
    const [[fromAgain, toAgain] = []] = await digests(bad());
    const [[otherFrom] = []] = await digests(bad(template("v1.4.3")));
    const [[, otherTo] = []] = await digests(bad(undefined, template("v1.4.0")));

    expect([fromAgain, toAgain]).toEqual([from, to]);
    expect(otherFrom).not.toBe(from);
    expect(otherTo).not.toBe(to);
  });

  it("shows names of the environment that differ, and no value of it anywhere", async () => {
    const env = (password: string) => ({ container: { env: [{ name: "DB_PASSWORD", value: password }] } });

    const draft = drafted(await plan(bad(template("v1", env("hunter2-new")), template("v1", env("hunter2-old")))));

    expect(draft.evidence.join("\n")).toContain("DB_PASSWORD (values not shown)");
    expect(JSON.stringify(draft)).not.toContain("hunter2");
  });

  it("passes over a revision that ran too shortly and says so (H28)", async () => {
    const cluster = shop([
      { number: 40, age: 9 * DAY, template: template("v1.4.0") },
      { number: 41, age: 12 * MINUTE, template: template("v1.4.1") },
      { number: 42, age: 10 * MINUTE, template: template("v1.4.2") },
    ]);

    const draft = drafted(await plan(cluster));

    expect(draft.facts).toMatchObject({ fromRevision: 42, toRevision: 40 });
    expect(draft.evidence.join("\n")).toContain("revision 41 ran only 2 min");
  });

  it("takes what exactly reached the wanted time, and not what fell one second short", async () => {
    const ran = (ms: number) =>
      shop([
        { number: 41, age: 10 * MINUTE + ms, template: template("v1.4.1") },
        { number: 42, age: 10 * MINUTE, template: template("v1.4.2") },
      ]);

    expect(drafted(await plan(ran(15 * MINUTE))).facts.toRevision).toBe(41);
    expect(refused(await plan(ran(15 * MINUTE - 1000))).skip).toBe("no-healthy-revision");
  });

  it("looks only at ReplicaSets that this very Deployment owns, by UID (H28)", async () => {
    const foreign = {
      apiVersion: "apps/v1",
      kind: "ReplicaSet",
      metadata: {
        name: `${API}-foreign`,
        namespace: NS,
        uid: "rs-foreign",
        creationTimestamp: ago(3 * DAY),
        annotations: { [REVISION]: "41" },
        // Same name, another life of it: deleted and made again.
        ownerReferences: [{ apiVersion: "apps/v1", kind: "Deployment", name: API, uid: "an-earlier-life" }],
      } as never,
      spec: { template: template("evil") },
    };

    const cluster = shop(
      [
        { number: 40, age: 6 * DAY, template: template("v1.4.0") },
        { number: 42, age: 10 * MINUTE, template: template("v1.4.2") },
      ],
      [foreign],
    );

    expect(drafted(await plan(cluster)).facts).toMatchObject({ toRevision: 40, toReplicaSet: { uid: "rs-40" } });
  });

  it("takes revisions as numbers: 10 comes after 9", async () => {
    const cluster = shop([
      { number: 9, age: 9 * DAY, template: template("v9") },
      { number: 10, age: 6 * DAY, template: template("v10") },
      { number: 11, age: 10 * MINUTE, template: template("v11") },
    ]);

    expect(drafted(await plan(cluster)).facts).toMatchObject({ fromRevision: 11, toRevision: 10 });
  });

  it("after 42 → 41 the good template is 43, and the way back leads past the bad one (H28)", async () => {
    const cluster = shop([
      { number: 40, age: 9 * DAY, template: template("v1.4.0") },
      { number: 41, age: 6 * DAY, template: template("v1.4.1") },
      { number: 42, age: 10 * MINUTE, template: template("v1.4.2") },
    ]);
    await carryOut(cluster, drafted(await plan(cluster)));

    const next = await controllerTurn(cluster);
    const again = drafted(await plan(cluster));

    expect(next).toBe(43);
    expect((await live(cluster)).metadata.annotations?.[REVISION]).toBe("43");
    expect(again.facts).toMatchObject({ fromRevision: 43, toRevision: 40 });
    expect(again.facts.fromReplicaSet.uid).toBe("rs-41");
  });

  it("says that Helm has it, and plans all the same", async () => {
    const helm: Owner = { kind: "helm", name: "api", says: "Helm release api manages it", handsOff: false, writes: [] };

    expect(drafted(await plan(bad(), { owners: [helm] })).evidence.join("\n")).toContain("Helm release api manages it");
  });
});

interface Refusal {
  why: string;
  reason: string;
  says: RegExp;
  cluster(): MemoryCluster | Promise<MemoryCluster>;
  owners?: Owner[];
}

const envFrom = (kind: "configMapKeyRef" | "secretKeyRef", name: string, more: object = {}) => ({
  container: { env: [{ name: "X", valueFrom: { [kind]: { name, key: "LEVEL", ...more } } }] },
});
const owner = (kind: Owner["kind"], says: string): Owner => ({ kind, name: "x", says, handsOff: true, writes: [] });

const refusals: Refusal[] = [
  {
    why: "the Deployment is gone",
    reason: "target-not-found",
    says: /is gone/,
    cluster: () => {
      const cluster = bad();
      cluster.remove(deploymentRef);
      return cluster;
    },
  },
  {
    why: "a person paused the rollout",
    reason: "rollout-paused",
    says: /paused by a person.*kubectl rollout resume/,
    cluster: async () => {
      const cluster = bad();
      await edit(cluster, (d) => {
        d.spec.paused = true;
      });
      return cluster;
    },
  },
  {
    why: "there is one revision only",
    reason: "no-earlier-revision",
    says: /expected at least two ReplicaSets.*found 1/,
    cluster: () => shop([{ number: 42, age: DAY, template: template("v1") }]),
  },
  {
    why: "the history limit of 0 left no ReplicaSet",
    reason: "no-earlier-revision",
    says: /no earlier revision/,
    cluster: () => {
      const cluster = bad();
      for (const n of [41, 42]) cluster.remove({ kind: "ReplicaSet", namespace: NS, name: `${API}-hash${n}` });
      return cluster;
    },
  },
  {
    why: "every earlier revision has the template that runs now",
    reason: "nothing-to-do",
    says: /has the template that runs now/,
    cluster: () => bad(template("v1"), template("v1")),
  },
  {
    why: "the only earlier revision ran for 2 min (H28)",
    reason: "no-healthy-revision",
    says: /revision 41 ran only 2 min/,
    cluster: () =>
      shop([
        { number: 41, age: 12 * MINUTE, template: template("v1") },
        { number: 42, age: 10 * MINUTE, template: template("v2") },
      ]),
  },
  {
    why: "the new template has no ReplicaSet yet: a rollout is just beginning (H28)",
    reason: "change-in-flight",
    says: /expected the template of revision 42, found registry\.example\/api:v1\.4\.3/,
    cluster: async () => {
      const cluster = bad();
      await edit(cluster, (d) => {
        d.spec.template = template("v1.4.3");
      });
      return cluster;
    },
  },
  ...(
    [
      ["a key of the environment", envFrom("configMapKeyRef", "app-config")],
      ["the whole environment", { container: { envFrom: [{ configMapRef: { name: "app-config" } }] } }],
      ["a volume", { pod: { volumes: [{ name: "v", configMap: { name: "app-config" } }] } }],
      [
        "a projected volume",
        { pod: { volumes: [{ name: "v", projected: { sources: [{ configMap: { name: "app-config" } }] } }] } },
      ],
      [
        "an init container",
        {
          pod: {
            initContainers: [{ name: "i", image: "busybox", envFrom: [{ configMapRef: { name: "app-config" } }] }],
          },
        },
      ],
    ] as [string, Parameters<typeof template>[1]][]
  ).map(([how, more]) => ({
    why: `the ConfigMap that it reads by ${how} is gone (H26)`,
    reason: "config-gone",
    says: /ConfigMap mcp-production\/app-config is gone/,
    cluster: () => bad(undefined, template("v1.4.1", more)),
  })),
  ...(
    [
      ["a key of the environment", envFrom("secretKeyRef", "app-secret")],
      ["the whole environment", { container: { envFrom: [{ secretRef: { name: "app-secret" } }] } }],
      ["a volume", { pod: { volumes: [{ name: "v", secret: { secretName: "app-secret" } }] } }],
      [
        "a projected volume",
        { pod: { volumes: [{ name: "v", projected: { sources: [{ secret: { name: "app-secret" } }] } }] } },
      ],
    ] as [string, Parameters<typeof template>[1]][]
  ).map(([how, more]) => ({
    why: `the Secret that it reads by ${how} is gone (H18)`,
    reason: "config-gone",
    says: /Secret mcp-production\/app-secret is gone/,
    cluster: () => bad(undefined, template("v1.4.1", more)),
  })),
  {
    why: "a key that it reads was written after the new revision came (H26)",
    reason: "config-changed",
    says: /ConfigMap mcp-production\/app-config changed at .* \(kubectl-edit\)/,
    cluster: () =>
      bad(undefined, template("v1.4.1", envFrom("configMapKeyRef", "app-config")), [
        config("ConfigMap", "app-config", { managedFields: written(ago(5 * MINUTE), ["LEVEL"]) }),
      ]),
  },
  {
    why: "its ConfigMap was written 30 s before the new revision, so came with it (H26)",
    reason: "config-changed",
    says: /app-config changed at/,
    cluster: () =>
      bad(undefined, template("v1.4.1", envFrom("configMapKeyRef", "app-config")), [
        config("ConfigMap", "app-config", { managedFields: written(ago(10 * MINUTE + 30_000), ["LEVEL"]) }),
      ]),
  },
  {
    why: "its Secret was deleted and made again since (H26)",
    reason: "config-changed",
    says: /Secret mcp-production\/app-secret changed at/,
    cluster: () =>
      bad(undefined, template("v1.4.1", envFrom("secretKeyRef", "app-secret")), [
        config("Secret", "app-secret", { creationTimestamp: ago(5 * MINUTE) }),
      ]),
  },
  ...["ImagePullBackOff", "ErrImagePull"].map((waiting) => ({
    why: `a pod cannot pull its image: ${waiting} (H25)`,
    reason: "image-gone",
    says: /Pod mcp-production\/old cannot pull registry\.example\/api:v1\.4\.1/,
    cluster: () =>
      bad(undefined, undefined, [
        pod("old", {
          spec: { containers: [{ name: "api", image: "registry.example/api:v1.4.1" }] },
          status: { containerStatuses: [{ name: "api", state: { waiting: { reason: waiting } } }] },
        }),
      ]),
  })),
  {
    why: "the revision that runs now says that it migrated data (H24)",
    reason: "config-changed",
    says: /migrated data \(0042\).*fix forward/,
    cluster: () => bad(template("v1.4.2", { annotations: { "nightshift.dev/migration": "0042" } })),
  },
  {
    why: "Argo CD has it (H27)",
    reason: "owned-by-gitops",
    says: /Argo CD has it.*revert it in Git/,
    cluster: () => bad(),
    owners: [owner("argo-cd", "Argo CD has it")],
  },
  {
    why: "Flux has it (H27)",
    reason: "owned-by-gitops",
    says: /Flux has it.*revert it in Git/,
    cluster: () => bad(),
    owners: [owner("flux", "Flux has it")],
  },
  {
    why: "Argo Rollouts has it (H27)",
    reason: "owned-elsewhere",
    says: /Argo Rollouts has it/,
    cluster: () => bad(),
    owners: [owner("argo-rollouts", "Argo Rollouts has it")],
  },
];

describe("rollback-deployment: the refusals", () => {
  it.each(refusals)("refuses when $why", async ({ reason, says, cluster, owners }) => {
    const world = await cluster();

    const answer = refused(await plan(world, owners === undefined ? {} : { owners }));

    expect(answer.skip).toBe(reason);
    expect(answer.sentence).toMatch(says);
    expect(answer.sentence).toMatch(new RegExp(`${NS}/`));
    expect(world.writes()).toEqual([]);
  });

  it("hands GitOps the images that run now and the revision to go back to (H27)", async () => {
    const answer = refused(await plan(bad(), { owners: [owner("argo-cd", "Argo CD has it")] }));

    expect(answer.handOff).toMatch(/revision 41[\s\S]*registry\.example\/api:v1\.4\.2[\s\S]*Commit that change in Git/);
  });

  const goodEnough: { why: string; cluster(): MemoryCluster; evidence?: RegExp }[] = [
    {
      why: "what is gone was optional",
      cluster: () => bad(undefined, template("v1", envFrom("configMapKeyRef", "app-config", { optional: true }))),
    },
    {
      why: "the key that changed is not one that it reads",
      cluster: () =>
        bad(undefined, template("v1", envFrom("configMapKeyRef", "app-config")), [
          config("ConfigMap", "app-config", { managedFields: written(ago(5 * MINUTE), ["OTHER"]) }),
        ]),
    },
    {
      why: "only metadata was written since (H26)",
      cluster: () =>
        bad(undefined, template("v1", { container: { envFrom: [{ configMapRef: { name: "app-config" } }] } }), [
          config("ConfigMap", "app-config", {
            managedFields: [{ manager: "x", time: ago(5 * MINUTE), fieldsV1: { "f:metadata": { "f:labels": {} } } }],
          }),
        ]),
    },
    {
      why: "its configuration is as old as the hills",
      cluster: () =>
        bad(undefined, template("v1", envFrom("configMapKeyRef", "app-config")), [config("ConfigMap", "app-config")]),
      evidence: /configuration unchanged: ConfigMap app-config/,
    },
    {
      why: "Secrets may not be read, and says that they were not checked",
      cluster: () => {
        const cluster = bad(undefined, template("v1", envFrom("secretKeyRef", "app-secret")));
        cluster.forbid("Secret");
        return cluster;
      },
      evidence: /Secret mcp-production\/app-secret not checked: no right to read it/,
    },
    {
      why: "another image cannot be pulled",
      cluster: () =>
        bad(undefined, undefined, [
          pod("other", {
            spec: { containers: [{ name: "api", image: "registry.example/api:v1.4.2" }] },
            status: { containerStatuses: [{ name: "api", state: { waiting: { reason: "ImagePullBackOff" } } }] },
          }),
        ]),
    },
    {
      why: "both revisions carry the same migration",
      cluster: () => {
        const annotations = { "nightshift.dev/migration": "0041" };
        return bad(template("v2", { annotations }), template("v1", { annotations }));
      },
    },
  ];

  it.each(goodEnough)("plans when $why", async ({ cluster, evidence }) => {
    const draft = drafted(await plan(cluster()));

    expect(draft.facts.toRevision).toBe(41);
    if (evidence !== undefined) expect(draft.evidence.join("\n")).toMatch(evidence);
  });

  it("fails aloud, and plans nothing, when half of what it needs cannot be read", async () => {
    for (const kind of ["ReplicaSet", "Pod", "Deployment"]) {
      const cluster = bad();
      cluster.forbid(kind);
      await expect(plan(cluster), kind).rejects.toMatchObject({ status: 403 });
    }
  });
});
