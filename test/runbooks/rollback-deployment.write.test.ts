import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { KubeObject } from "../../src/cluster.js";
import { ChangedWorld, type Json, type Symptom } from "../../src/runbook.js";
import { runbook } from "../../runbooks/rollback-deployment.js";
import type { MemoryCluster } from "../harness/memory-cluster.js";
import {
  ago,
  API,
  CAUSE,
  carryOut,
  controllerTurn,
  DAY,
  drafted,
  edit,
  live,
  MINUTE,
  NOW,
  NS,
  plan,
  REVISION,
  shop,
  target,
  template,
} from "./scene.js";

const CONFIG = { kind: "ConfigMap", namespace: NS, name: "app-config" };
const configMap = (data: object): Partial<KubeObject> => ({
  apiVersion: "v1",
  kind: "ConfigMap",
  metadata: { name: "app-config", namespace: NS, uid: "cm", creationTimestamp: ago(90 * DAY) } as never,
  data,
});
const reads = { container: { envFrom: [{ configMapRef: { name: "app-config" } }] } };

function bad(to = template("v1.4.1"), of: { fromCause?: string; toCause?: string; more?: Partial<KubeObject>[] } = {}) {
  const cause = (words: string | undefined) => (words === undefined ? {} : { annotations: { [CAUSE]: words } });
  return shop(
    [
      { number: 41, age: 6 * DAY, template: to, ...cause(of.toCause) },
      { number: 42, age: 10 * MINUTE, template: template("v1.4.2"), ...cause(of.fromCause) },
    ],
    of.more ?? [],
  );
}

/** What a test changes in a ReplicaSet that is there. */
async function editSet(cluster: MemoryCluster, number: number, change: (set: KubeObject) => void): Promise<void> {
  const set = await cluster.get({
    apiVersion: "apps/v1",
    kind: "ReplicaSet",
    namespace: NS,
    name: `${API}-hash${number}`,
  });
  if (set === null) throw new Error(`no ReplicaSet of revision ${number}`);
  change(set);
  cluster.seed(set);
}

describe("rollback-deployment: the write", () => {
  it("leaves exactly the ReplicaSet's template without its hash label, every other label kept", async () => {
    const to = template("v1.4.1", { annotations: { "team/owner": "shop" } });
    to.metadata.labels = { ...to.metadata.labels, tier: "front" } as never;
    const cluster = bad(to);

    expect(await carryOut(cluster, drafted(await plan(cluster)))).toEqual(["roll-back"]);

    expect((await live(cluster)).spec.template).toEqual(to);
  });

  it("keeps fields that no SDK knows, byte for byte and in their order", async () => {
    await fc.assert(
      fc.asyncProperty(fc.jsonValue({ maxDepth: 3 }), fc.jsonValue({ maxDepth: 3 }), async (one, two) => {
        const to = template("v1.4.1", { pod: { zFutureField: one, aFutureField: { two } } });
        const cluster = bad(to);

        await carryOut(cluster, drafted(await plan(cluster)));

        expect(JSON.stringify((await live(cluster)).spec.template)).toBe(JSON.stringify(to));
      }),
      { numRuns: 60 },
    );
  });

  it("touches the template and nothing else of the Deployment", async () => {
    const cluster = bad();
    await edit(cluster, (d) => {
      d.metadata.annotations = { ...d.metadata.annotations, "nightshift.dev/fence": "1 x", "team/owner": "shop" };
    });
    const before = await live(cluster);

    await carryOut(cluster, drafted(await plan(cluster)));

    const after = await live(cluster);
    expect({ ...after.spec, template: null }).toEqual({ ...before.spec, template: null });
    expect({ ...after.metadata, resourceVersion: "" }).toEqual({ ...before.metadata, resourceVersion: "" });
    expect(cluster.writes().flatMap((w) => w.ops.map((op) => `${op.op} ${op.path}`))).toEqual([
      "replace /spec/template",
    ]);
  });

  it.each([
    {
      why: "carries the earlier revision's cause over",
      fromCause: "release 42",
      toCause: "release 41",
      after: "release 41",
    },
    { why: "adds it where there was none", toCause: "release 41", after: "release 41" },
    { why: "drops the bad release's cause where the earlier one has none", fromCause: "release 42", after: undefined },
  ])("change-cause: $why", async ({ fromCause, toCause, after }) => {
    const cluster = bad(undefined, {
      ...(fromCause === undefined ? {} : { fromCause }),
      ...(toCause === undefined ? {} : { toCause }),
    });

    await carryOut(cluster, drafted(await plan(cluster)));

    const { annotations } = (await live(cluster)).metadata;
    expect(annotations?.[CAUSE]).toBe(after);
    expect(annotations?.[REVISION]).toBe("42");
  });

  it("done twice it writes once: the second time the world is no longer the approved one (H28)", async () => {
    const cluster = bad();
    const draft = drafted(await plan(cluster));
    await carryOut(cluster, draft);
    await controllerTurn(cluster);

    await expect(carryOut(cluster, draft)).rejects.toThrow(ChangedWorld);
    await expect(carryOut(cluster, draft)).rejects.toThrow(/somebody else did it/);

    expect(cluster.writes()).toHaveLength(1);
    expect((await live(cluster)).spec.template).toEqual(template("v1.4.1"));
  });

  const moved: { why: string; says: RegExp; change(cluster: MemoryCluster): void | Promise<void> }[] = [
    {
      why: "a person released a hotfix (H44)",
      says: /no longer the one that was approved \(registry\.example\/api:hotfix\)/,
      change: (c) =>
        edit(c, (d) => {
          d.spec.template = template("hotfix");
        }),
    },
    {
      why: "a person paused the rollout (H44)",
      says: /paused by a person/,
      change: (c) =>
        edit(c, (d) => {
          d.spec.paused = true;
        }),
    },
    {
      why: "the ReplicaSet to go back to is gone (H25)",
      says: /ReplicaSet mcp-production\/mcp-typescript-api-hash41.* is gone/,
      change: (c) => c.remove({ kind: "ReplicaSet", namespace: NS, name: `${API}-hash41` }),
    },
    {
      why: "the ReplicaSet was made again under the same name (H28)",
      says: /is gone/,
      change: (c) =>
        editSet(c, 41, (set) => {
          set.metadata.uid = "another-life";
        }),
    },
    {
      why: "the ReplicaSet has another template (H28)",
      says: /no longer has the template that was approved/,
      change: (c) =>
        editSet(c, 41, (set) => {
          set.spec.template.spec.containers[0].image = "registry.example/api:evil";
        }),
    },
    {
      why: "the ConfigMap that it reads changed (H26)",
      says: /ConfigMap mcp-production\/app-config changed since the plan was made/,
      change: (c) => void c.seed(configMap({ LEVEL: "debug" })),
    },
    {
      why: "the ConfigMap that it reads is gone (H26)",
      says: /ConfigMap mcp-production\/app-config was there when the plan was made and is gone/,
      change: (c) => c.remove(CONFIG),
    },
  ];

  it.each(moved)("writes nothing when, since the plan, $why", async ({ says, change }) => {
    const cluster = bad(template("v1.4.1", reads), { more: [configMap({ LEVEL: "info" })] });
    const draft = drafted(await plan(cluster));
    await change(cluster);
    const before = await live(cluster);

    const run = carryOut(cluster, draft);

    await expect(run).rejects.toThrow(ChangedWorld);
    await expect(run).rejects.toThrow(says);
    expect(cluster.writes()).toEqual([]);
    expect(await live(cluster)).toEqual(before);
  });

  it("undo puts the replaced template back byte for byte, whatever became of the configuration", async () => {
    const cluster = bad(template("v1.4.1", reads), { more: [configMap({ LEVEL: "info" })] });
    const draft = drafted(await plan(cluster));
    await carryOut(cluster, draft);
    await controllerTurn(cluster);
    cluster.remove(CONFIG);

    expect(await carryOut(cluster, draft, "undo")).toEqual(draft.undoSteps);

    expect(JSON.stringify((await live(cluster)).spec.template)).toBe(JSON.stringify(template("v1.4.2")));
  });

  it("undo leaves alone what a person released after the rollback (H44)", async () => {
    const cluster = bad();
    const draft = drafted(await plan(cluster));
    await carryOut(cluster, draft);
    await edit(cluster, (d) => {
      d.spec.template = template("hotfix");
    });

    await expect(carryOut(cluster, draft, "undo")).rejects.toThrow(/no longer the one that was approved/);

    expect((await live(cluster)).spec.template).toEqual(template("hotfix"));
  });

  it("runs the very steps that the plan names, and no other", async () => {
    const cluster = bad();
    const draft = drafted(await plan(cluster));

    expect(await carryOut(cluster, draft)).toEqual(draft.steps);
    expect(await carryOut(cluster, draft, "undo")).toEqual(draft.undoSteps);
  });

  it("binds a Secret by when it was written, never by what it holds", async () => {
    const digestsWith = async (data: string, time: string) => {
      const secret: Partial<KubeObject> = {
        apiVersion: "v1",
        kind: "Secret",
        metadata: {
          name: "app-secret",
          namespace: NS,
          uid: "s1",
          creationTimestamp: ago(90 * DAY),
          managedFields: [{ manager: "kubectl", time, fieldsV1: { "f:data": { "f:PASSWORD": {} } } }],
        } as never,
        data: { PASSWORD: data },
      };
      const to = template("v1.4.1", { container: { envFrom: [{ secretRef: { name: "app-secret" } }] } });
      return drafted(await plan(bad(to, { more: [secret] })));
    };

    const one = await digestsWith("aHVudGVyMg==", ago(20 * DAY));
    const other = await digestsWith("c2VjcmV0", ago(20 * DAY));
    const later = await digestsWith("aHVudGVyMg==", ago(19 * DAY));

    expect(other.facts.config).toEqual(one.facts.config);
    expect(later.changes[0]?.fromDigest).not.toBe(one.changes[0]?.fromDigest);
    expect(JSON.stringify(one)).not.toContain("aHVudGVyMg");
  });
});

const gone: Symptom = { state: "gone", says: "the expression no longer holds" };
const done = { observedGeneration: 8, replicas: 2, updatedReplicas: 2, availableReplicas: 2 };
const overdue = {
  ...done,
  availableReplicas: 0,
  conditions: [{ type: "Progressing", status: "False", reason: "ProgressDeadlineExceeded" }],
};

interface Looked {
  why: string;
  world: "good" | "waiting" | "bad";
  says: RegExp;
  status?: object;
  change?(cluster: MemoryCluster): void | Promise<void>;
  memo?: Json;
  restarts?: number;
}

const looks: Looked[] = [
  { why: "every replica is new and available", world: "good", says: /rollout 2\/2, no new restarts/ },
  {
    why: "the controller has not seen the change (H12)",
    world: "waiting",
    says: /not yet seen by the controller/,
    status: { ...done, observedGeneration: 7 },
  },
  { why: "one replica is old", world: "waiting", says: /rollout 2\/2/, status: { ...done, updatedReplicas: 1 } },
  { why: "one is not available", world: "waiting", says: /out 1\/2/, status: { ...done, availableReplicas: 1 } },
  { why: "an old pod is still there", world: "waiting", says: /rollout 2\/2/, status: { ...done, replicas: 3 } },
  { why: "there is no status at all (H16)", world: "waiting", says: /rollout 0\/2/, status: {} },
  {
    why: "the progress deadline has passed, and had at the last look",
    world: "bad",
    says: /progress deadline has passed/,
    memo: { overdue: true },
    status: overdue,
  },
  {
    why: "the deadline's verdict may be the former rollout's: it stands until a pod moves",
    world: "waiting",
    says: /progress deadline has passed/,
    status: overdue,
  },
  {
    why: "a container restarted since the last look",
    world: "waiting",
    says: /1 new restarts/,
    memo: { restarts: 2 },
    restarts: 3,
  },
  {
    why: "no container restarted since the last look",
    world: "good",
    says: /no new/,
    memo: { restarts: 3 },
    restarts: 3,
  },
  {
    why: "something put the bad template back (H27)",
    world: "bad",
    says: /no longer the one of revision 41: somebody or something changed it/,
    change: (c) =>
      edit(c, (d) => {
        d.spec.template = template("v1.4.2");
      }),
  },
  {
    why: "the Deployment is gone",
    world: "bad",
    says: /is gone/,
    change: (c) => c.remove({ kind: "Deployment", namespace: NS, name: API }),
  },
  {
    why: "the Deployment was made again under its name",
    world: "bad",
    says: /is gone/,
    change: (c) =>
      edit(c, (d) => {
        d.metadata.uid = "another-life";
      }),
  },
];

describe("rollback-deployment: the look", () => {
  async function look(of: Looked, symptom = gone) {
    const pods = [1, 2].map((n) => ({
      apiVersion: "v1",
      kind: "Pod",
      metadata: { name: `api-${n}`, namespace: NS, labels: { app: "api" } } as never,
      status: { containerStatuses: [{ name: "api", restartCount: n === 1 ? (of.restarts ?? 0) : 0 }] },
    }));
    const cluster = bad(undefined, { more: pods });
    const draft = drafted(await plan(cluster));
    await carryOut(cluster, draft);
    await edit(cluster, (d) => {
      d.metadata.generation = 8;
      d.status = of.status ?? done;
    });
    await of.change?.(cluster);
    return runbook.verify({
      target,
      params: {},
      alerts: [],
      cluster,
      measure: async () => null,
      now: NOW,
      plan: draft,
      since: NOW - MINUTE,
      symptom: async () => symptom,
      memo: of.memo ?? null,
    });
  }

  it.each(looks)("$world when $why", async (row) => {
    const seen = await look(row);

    expect(seen.world).toBe(row.world);
    expect(seen.says).toMatch(row.says);
  });

  it("hands the restarts on to the next look", async () => {
    expect((await look({ why: "", world: "good", says: /./, restarts: 4 })).memo).toEqual({
      restarts: 4,
      overdue: false,
    });
  });

  it.each(["present", "gone", "unknown"] as const)(
    "tells the symptom as it is: %s, unknown is never gone (H29)",
    async (state) => {
      const seen = await look({ why: "", world: "good", says: /./ }, { state, says: `it is ${state}` });

      expect(seen).toMatchObject({ world: "good", symptom: state });
      expect(seen.says).toContain(`it is ${state}`);
    },
  );

  it("never says that the symptom is gone when the world is bad and it was not asked (H29)", async () => {
    for (const row of looks.filter((l) => l.world === "bad" && l.change !== undefined))
      expect((await look(row)).symptom).toBe("unknown");
  });
});
