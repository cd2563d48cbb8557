import { describe, expect, it } from "vitest";
import { runbook } from "../../runbooks/restart-pod.js";
import { isSkip } from "../../src/runbook.js";
import { ago, NS } from "./scene.js";
import {
  type Asking,
  carryOut,
  change,
  crashingStatus,
  drafted,
  lookAt,
  NAME,
  object,
  planOf,
  podOf,
  refused,
  type Shop,
  stall,
} from "./shop.js";

const naming = (...pods: string[]): Asking => ({ labels: pods.map((pod) => ({ alertname: "KubePodNotReady", pod })) });
const one = naming(`${NAME}-3`);
/** Three of four are ready; the fourth is sick. */
const sick = (seed: Parameters<typeof stall>[0] = {}) => stall({ ready: 3, ...seed });

const refusals: { why: string; shop(): Shop; asking: Asking; skip: string; says: RegExp }[] = [
  {
    why: "the alert names no pod (H21)",
    shop: sick,
    asking: { labels: [{ alertname: "KubePodNotReady" }] },
    skip: "missing-label",
    says: /expected a label `pod`/,
  },
  { why: "the label is empty (H21)", shop: sick, asking: naming(""), skip: "missing-label", says: /found none/ },
  {
    why: "the alerts name two pods (H21)",
    shop: sick,
    asking: naming(`${NAME}-2`, `${NAME}-3`),
    skip: "too-many-targets",
    says: /name 2 pods, expected one/,
  },
  {
    why: "the pod is another workload's (H21)",
    shop: sick,
    asking: naming("postgres-0"),
    skip: "nothing-to-do",
    says: /has no pod of the alert's name any more/,
  },
  {
    why: "a successor bears its name: it was replaced since the alert began (H01 H03)",
    shop: () => {
      const successor = podOf(3, { ready: false });
      Object.assign(successor.metadata ?? {}, { creationTimestamp: ago(0.5) });
      return stall({ kind: "StatefulSet", replicas: 5, more: [successor] });
    },
    asking: one,
    skip: "nothing-to-do",
    says: /after the alert began/,
  },
  {
    why: "the pod crashes by itself (H20)",
    shop: () => stall({ more: [podOf(9, { ready: false, status: crashingStatus })] }),
    asking: naming(`${NAME}-9`),
    skip: "crash-loop",
    says: /dies with exit code 1/,
  },
  {
    why: "it is the second member of three (H22)",
    shop: () => stall({ kind: "StatefulSet", replicas: 3, ready: 2 }),
    asking: naming(`${NAME}-1`),
    skip: "quorum",
    says: /expected at least 2 of 3 members to stay ready, found 1/,
  },
  {
    why: "it is the only one that serves",
    shop: () => stall({ replicas: 2, ready: 1 }),
    asking: naming(`${NAME}-0`),
    skip: "disrupted",
    says: /the only ready pod/,
  },
  {
    why: "it leaves already",
    shop: () => {
      const leaving = podOf(9);
      Object.assign(leaving.metadata ?? {}, { deletionTimestamp: "2026-11-20T12:00:00Z" });
      return stall({ more: [leaving] });
    },
    asking: naming(`${NAME}-9`),
    skip: "nothing-to-do",
    says: /leaving already/,
  },
  {
    why: "nothing would make another",
    shop: () => {
      const bare = podOf(9, { ready: false });
      Object.assign(bare.metadata ?? {}, { ownerReferences: [] });
      return stall({ more: [bare] });
    },
    asking: naming(`${NAME}-9`),
    skip: "unsupported-kind",
    says: /has no controller/,
  },
  {
    why: "it is a static pod of its node",
    shop: () => {
      const mirror = podOf(9, { ready: false });
      Object.assign(mirror.metadata ?? {}, { annotations: { "kubernetes.io/config.mirror": "x" } });
      return stall({ more: [mirror] });
    },
    asking: naming(`${NAME}-9`),
    skip: "unsupported-kind",
    says: /static pod/,
  },
  {
    why: "a ConfigMap that it needs is gone (H18)",
    shop: () =>
      stall({
        ready: 3,
        podSpec: { containers: [{ name: "server", image: "i", envFrom: [{ configMapRef: { name: "settings" } }] }] },
      }),
    asking: one,
    skip: "would-not-start",
    says: /ConfigMap mcp-production\/settings is gone/,
  },
];

describe("restart-pod", () => {
  it("asks a pod's age of the alert that names it: others of its incident may be older", async () => {
    const young = podOf(3, { ready: false });
    Object.assign(young.metadata ?? {}, { creationTimestamp: ago(300_000) });
    const shop = stall({ kind: "StatefulSet", replicas: 5, more: [young] });
    const labels = [{ alertname: "HighErrorRate" }, { alertname: "KubePodNotReady", pod: `${NAME}-3` }];
    const other: Asking = { labels, began: [600_000, 60_000] };

    expect(isSkip(await planOf(runbook, shop, other))).toBe(false);
  });

  it("evicts the one pod that the alert names, by its UID, and patches nothing (H23)", async () => {
    const budget = object("policy/v1", "PodDisruptionBudget", {
      name: "keep",
      spec: { selector: { matchLabels: { app: NAME } } },
      status: { disruptionsAllowed: 1 },
    });
    const shop = sick({ more: [budget] });
    const plan = await drafted(runbook, shop, one);

    expect(plan).toMatchObject({
      sentence: `Restart Pod ${NS}/${NAME}-3 of Deployment ${NS}/${NAME} by eviction`,
      changes: [{ object: { kind: "Pod", name: `${NAME}-3`, uid: "pod-3" }, from: "not ready, 0 restarts" }],
      evidence: ["3 other pods of 4 are ready", "disruption budgets: keep allows 1; the API server decides"],
    });
    expect(await carryOut(runbook, shop, { plan })).toEqual(["pod-3"]);
    expect(shop.cluster.writes()).toEqual([]);
  });

  it.each(refusals)("refuses when $why", async ({ shop, asking, skip, says }) => {
    const answer = await refused(runbook, shop(), asking);

    expect(answer.sentence).toMatch(says);
    expect(answer.skip).toBe(skip);
  });

  it("two alerts about one pod are one pod (H21)", async () => {
    expect(isSkip(await planOf(runbook, sick(), naming(`${NAME}-3`, `${NAME}-3`)))).toBe(false);
  });

  it("does not take a pod of the same name that came since (H44)", async () => {
    const shop = sick();
    const plan = await drafted(runbook, shop, one);
    await change(shop, { kind: "Pod", name: `${NAME}-3` }, (pod) => {
      pod.metadata.uid = "pod-new";
    });

    await expect(carryOut(runbook, shop, { plan })).rejects.toThrow("another object");
  });

  it("is proved once the pod has left and as many are ready as are wanted (H29)", async () => {
    const shop = sick();
    const plan = await drafted(runbook, shop, one);
    expect(await lookAt(runbook, shop, { plan })).toMatchObject({ world: "waiting" });

    await carryOut(runbook, shop, { plan });
    expect((await lookAt(runbook, shop, { plan })).says).toContain("the pod has left, 3 of 4 pods ready");

    shop.cluster.seed({ ...podOf(8), metadata: { ...podOf(8).metadata, uid: "pod-8" } as never });
    expect(await lookAt(runbook, shop, { plan })).toMatchObject({ world: "good", symptom: "gone" });
    expect(await lookAt(runbook, shop, { plan, symptom: "unknown" })).toMatchObject({ symptom: "unknown" });
  });
});
