import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Raw } from "../../sandbox/kubernetes/kinds.js";
import { listPath, objectPath } from "../../src/clients/kubernetes-paths.js";
import { ClusterError, type ClusterReader, type KubeObject } from "../../src/cluster.js";
import type { Change, PlanDraft } from "../../src/runbook.js";
import { compare } from "../../src/shadow/compare.js";
import { deedsBetween } from "../../src/shadow/deeds.js";
import { excusesFor } from "../../src/shadow/excuses.js";
import { lookAt } from "../../src/shadow/look.js";
import type { Sight } from "../../src/shadow/shadow.js";
import type { Target } from "../../src/target/target.js";
import { candidates, deployment, freshNamespace, kubectlMissing, type Subject, until } from "./cluster/subject.js";

/** What kubectl does to a Deployment, as an API server's history tells it: the stand-in's and a real one's. */

interface Row {
  what: string;
  /** kubectl's words; NS, and POD for the first of its pods, are filled in. */
  does: string[][];
  plan: "rollback" | "scale" | "restart" | "evict" | "raise";
  verdict: string;
  says: RegExp;
  /** Awaited after the deeds. */
  seen?(live: Raw): boolean;
}

const template = (name: string) => (live: Raw) =>
  live.spec.template.spec.containers[0].image === name &&
  live.status.observedGeneration === live.metadata.generation &&
  live.status.updatedReplicas === live.spec.replicas;

const rows: Row[] = [
  { what: "nothing", does: [], plan: "rollback", verdict: "nothing", says: /nothing was changed/ },
  {
    what: "rollout undo",
    does: [["rollout", "undo", "deployment/cart"]],
    plan: "rollback",
    verdict: "agree",
    says: /rolled it back to revision 1 \(kubectl/,
    seen: template("app:v1"),
  },
  {
    what: "set image to the old one",
    does: [["set", "image", "deployment/cart", "app=app:v1"]],
    plan: "rollback",
    verdict: "agree",
    says: /rolled it back to revision 1 \(kubectl/,
    seen: template("app:v1"),
  },
  {
    what: "rollout undo, and the new release again",
    does: [
      ["rollout", "undo", "deployment/cart"],
      ["set", "image", "deployment/cart", "app=app:v2"],
    ],
    plan: "rollback",
    verdict: "agree",
    says: /revision 1, then rolled it back to revision 2 \(kubectl/,
    seen: template("app:v2"),
  },
  {
    what: "a third release",
    does: [["set", "image", "deployment/cart", "app=app:v3"]],
    plan: "rollback",
    verdict: "differ",
    says: /rolled out a template that it did not have before/,
    seen: template("app:v3"),
  },
  {
    what: "rollout restart",
    does: [["rollout", "restart", "deployment/cart"]],
    plan: "restart",
    verdict: "agree",
    says: /restarted it \(kubectl/,
    seen: template("app:v2"),
  },
  {
    what: "rollout restart instead of a rollback",
    does: [["rollout", "restart", "deployment/cart"]],
    plan: "rollback",
    verdict: "differ",
    says: /restarted it/,
    seen: template("app:v2"),
  },
  {
    what: "scale",
    does: [["scale", "deployment/cart", "--replicas=5"]],
    plan: "scale",
    verdict: "agree",
    says: /set replicas of Deployment cart from 2 to 5 \(kubectl/,
    seen: (live) => live.status.replicas === 5,
  },
  {
    what: "delete the pod",
    does: [["delete", "pod", "POD", "--wait=true"]],
    plan: "evict",
    verdict: "agree",
    says: /made Pod cart-\S+ leave/,
    seen: (live) => live.status.readyReplicas === 2,
  },
  {
    what: "cordon the pod's node and delete the pod, as a drain does",
    does: [
      ["cordon", "NODE"],
      ["delete", "pod", "POD", "--wait=true"],
    ],
    plan: "evict",
    verdict: "nothing",
    says: /nothing was changed on the target/,
    seen: (live) => live.status.readyReplicas === 2,
  },
  {
    what: "pause the rollout",
    does: [["rollout", "pause", "deployment/cart"]],
    plan: "rollback",
    verdict: "differ",
    says: /paused its rollout/,
  },
  {
    what: "annotate",
    does: [["annotate", "deployment/cart", "note=looked"]],
    plan: "rollback",
    verdict: "nothing",
    says: /nothing was changed on the target/,
  },
  {
    what: "scale up and down again",
    does: [
      ["scale", "deployment/cart", "--replicas=3"],
      ["scale", "deployment/cart", "--replicas=2"],
    ],
    plan: "scale",
    verdict: "unknown",
    says: /wrote it in that time, and it looks as it did before/,
    seen: (live) => live.status.replicas === 2 && live.status.readyReplicas === 2,
  },
  {
    what: "raise the autoscaler's ceiling",
    does: [["patch", "hpa", "auto", "--type=merge", "-p", '{"spec":{"maxReplicas":20}}']],
    plan: "raise",
    verdict: "agree",
    says: /set maxReplicas of HorizontalPodAutoscaler auto from 10 to 20 \(kubectl/,
  },
  {
    what: "the autoscaler alone",
    does: [],
    plan: "scale",
    verdict: "nothing",
    says: /nothing was changed on the target/,
  },
];

for (const { title, missing, start } of candidates) {
  const why = missing ?? kubectlMissing();
  describe.skipIf(why !== null)(
    `what kubectl did, read from the API server: ${title}${why === null ? "" : ` (skipped: ${why})`}`,
    { timeout: 90_000 },
    () => {
      let api: Subject;
      let reader: ClusterReader;
      beforeAll(async () => {
        api = await start();
        reader = readerOver(api);
      }, 90_000);
      afterAll(async () => {
        await api?.stop();
      }, 30_000);

      it.each(rows)("$what, beside $plan: $verdict", async (row) => {
        const ns = await freshNamespace(api);
        const alone = row.what === "the autoscaler alone";
        const path = `/apis/apps/v1/namespaces/${ns}/deployments`;
        const live = async () => (await api.call("GET", `${path}/cart`)).body;
        await api.call("POST", path, deployment("cart", { image: "app:v1" }));
        await until("the first release", async () => template("app:v1")(await live()));
        await kubectl(api, ns, ["set", "image", "deployment/cart", "app=app:v2"]);
        await until("the second release", async () => {
          const now = await live();
          return template("app:v2")(now) && now.status.replicas === 2 && now.status.readyReplicas === 2;
        });
        if (row.plan === "raise") await autoscaler(api, ns, 1);
        const uid = (await live()).metadata.uid as string;
        const target: Target = {
          cluster: "test",
          apiVersion: "apps/v1",
          kind: "Deployment",
          namespace: ns,
          name: "cart",
          uid,
        };
        // Field managers' times have whole seconds.
        await new Promise((done) => setTimeout(done, 1100));
        // It looks for the first time some seconds after it was made.
        if (alone) await autoscaler(api, ns, 4);
        const before = await lookAt(target, reader, Date.now());
        expect(before.workload?.replicas).toBe(2);
        const [pod] = before.pods ?? [];

        for (const words of row.does)
          await kubectl(
            api,
            ns,
            words.map((word) => (word === "POD" ? (pod?.name ?? "") : word === "NODE" ? (pod?.node ?? "") : word)),
          );
        if (alone) await scaledByController(api, `${path}/cart`, title !== "the stand-in");
        await until("what was done to be seen", async () => row.seen?.(await live()) ?? true);
        const after = await lookAt(target, reader, Date.now());
        const uids = new Set((after.pods ?? []).map((one) => one.uid));
        const gone = (before.pods ?? []).filter((one) => !uids.has(one.uid));
        const excuses = await excusesFor(gone, { namespace: ns, cluster: reader });
        const window = { from: before.at, until: after.at, late: false };
        const deeds = deedsBetween({ before, after, excuses, window }, { kind: "Deployment", name: "cart" });
        const found = compare({ plan: planOf(row.plan, { target, before }), before, deeds });
        if (row.does[0]?.[0] === "cordon") await kubectl(api, ns, ["uncordon", pod?.node ?? ""]);

        expect(found, JSON.stringify({ deeds, after }, null, 1)).toMatchObject({ verdict: row.verdict });
        expect(found.says).toMatch(row.says);
        await api.call("DELETE", `/api/v1/namespaces/${ns}`);
      });
    },
  );
}

async function kubectl(api: Subject, ns: string, words: string[]): Promise<void> {
  const ran = await api.kubectl("-n", ns, ...words);
  expect(ran.code, ran.out).toBe(0);
}

async function autoscaler(api: Subject, ns: string, floor: number): Promise<void> {
  const spec = {
    scaleTargetRef: { apiVersion: "apps/v1", kind: "Deployment", name: "cart" },
    minReplicas: floor,
    maxReplicas: 10,
  };
  const body = { apiVersion: "autoscaling/v2", kind: "HorizontalPodAutoscaler", metadata: { name: "auto" }, spec };
  const made = await api.call("POST", `/apis/autoscaling/v2/namespaces/${ns}/horizontalpodautoscalers`, body);
  expect(made.status, made.text).toBe(201);
}

/** The real controller raises the replicas to the floor; the stand-in has none: the write is made in that one's name. */
async function scaledByController(api: Subject, path: string, real: boolean): Promise<void> {
  const agent = "kube-controller-manager";
  const body = { spec: { replicas: 4 } };
  if (!real) await api.call("PATCH", `${path}/scale`, body, { type: "application/merge-patch+json", agent });
  await until("the autoscaler's write", async () => (await api.call("GET", path)).body.spec.replicas === 4);
}

function planOf(what: Row["plan"], of: { target: Target; before: Sight }): PlanDraft {
  const { cluster: _cluster, ...object } = of.target;
  const pod = of.before.pods?.[0];
  const changes: Record<Row["plan"], Partial<Change>> = {
    rollback: {
      field: "/spec/template",
      toDigest: of.before.revisions.find((one) => one.number === 1)?.template ?? "",
    },
    scale: { field: "/spec/replicas", from: "2", to: "3" },
    restart: { field: "/spec/template/metadata/annotations/kubectl.kubernetes.io~1restartedAt" },
    evict: {
      field: "/metadata/deletionTimestamp",
      object: { ...object, apiVersion: "v1", kind: "Pod", name: pod?.name ?? "", uid: pod?.uid ?? "" },
    },
    raise: {
      field: "/spec/maxReplicas",
      from: "10",
      to: "12",
      object: { ...object, apiVersion: "autoscaling/v2", kind: "HorizontalPodAutoscaler", name: "auto" },
    },
  };
  const change = { object, field: "", from: "", to: "", fromDigest: "", toDigest: "", ...changes[what] };
  return { changes: [change] } as unknown as PlanDraft;
}

/** Reads as the client does, over the contract's raw HTTP. */
function readerOver(api: Subject): ClusterReader {
  return {
    async get(ref) {
      const answer = await api.call("GET", objectPath(ref) ?? "/none");
      if (answer.status === 404) return null;
      if (answer.status !== 200) throw new ClusterError(answer.status, "", answer.text);
      return answer.body as unknown as KubeObject;
    },
    async list(query) {
      const path = listPath(query.apiVersion, query.kind, query.namespace) ?? "/none";
      const fields =
        query.fieldSelector === undefined ? "" : `?fieldSelector=${encodeURIComponent(query.fieldSelector)}`;
      const answer = await api.call("GET", `${path}${fields}`);
      if (answer.status === 404) return [];
      if (answer.status !== 200) throw new ClusterError(answer.status, "", answer.text);
      const item = { apiVersion: query.apiVersion, kind: query.kind };
      return (answer.body.items as Raw[]).map((one) => ({ ...item, ...one })) as never;
    },
    logs: async () => "",
    can: async () => true,
  };
}
