import { describe, expect, it } from "vitest";
import type { Change, PlanDraft } from "../../../src/runbook.js";
import { compare } from "../../../src/shadow/compare.js";
import type { Deed } from "../../../src/shadow/deed.js";
import { deedsBetween } from "../../../src/shadow/deeds.js";
import type { Excuses, SeenRevision, SeenWrite, Sight } from "../../../src/shadow/shadow.js";

/** What people did beside what the plan said, row by row, on sights made by hand. */

const T = Date.parse("2026-11-24T03:00:00Z");
const MINUTE = 60_000;
const UNTIL = T + 30 * MINUTE;
const NAME = { kind: "Deployment", name: "cart" };
const BAD = { template: "bad", plain: "bad", images: "image-bad" };
const GOOD = { template: "good", plain: "good", images: "image-good" };
const OLD = { template: "old", plain: "old", images: "image-old" };

function revision(number: number, of: typeof BAD, more: Partial<SeenRevision> = {}): SeenRevision {
  return { number, earlier: [], ...of, bornAt: T - (100 - number) * MINUTE, ...more };
}

function pod(i: number) {
  return { name: `cart-${i}`, uid: `uid-${i}`, node: "node-a" };
}

/** Revision 42 is bad, 41 good, 40 older; three replicas, settled. */
function sight(at: number, more: Partial<Omit<Sight, "workload">> & { workload?: object | null } = {}): Sight {
  const { workload, ...rest } = more;
  return {
    at,
    workload:
      workload === null
        ? null
        : { ...BAD, generation: 7, rest: "rest", replicas: 3, paused: false, settled: true, ...workload },
    revisions: [revision(40, OLD), revision(41, GOOD), revision(42, BAD)],
    bounds: [],
    pods: [pod(1), pod(2), pod(3)],
    writes: [],
    notRead: [],
    ...rest,
  };
}

const write = (manager: string, minutes: number, of: Partial<SeenWrite> = {}): SeenWrite => ({
  manager,
  at: T + minutes * MINUTE,
  template: false,
  replicas: false,
  ...of,
});
const bound = (field: string, value: number, by = "kubectl-edit", minutes = -600) => ({
  kind: "HorizontalPodAutoscaler",
  name: "auto",
  field,
  value,
  by,
  at: T + minutes * MINUTE,
});

function plan(change: Partial<Change>): PlanDraft {
  const object = { apiVersion: "apps/v1", ...NAME, namespace: "shop", uid: "u" };
  const whole: Change = { object, field: "", from: "", to: "", fromDigest: "", toDigest: "", ...change };
  return { changes: [whole] } as unknown as PlanDraft;
}
const rollback = plan({ field: "/spec/template", toDigest: "good" });
const restart = plan({ field: "/spec/template/metadata/annotations/kubectl.kubernetes.io~1restartedAt" });
const scale = plan({ field: "/spec/replicas", from: "3", to: "4" });
const raise = plan({
  field: "/spec/maxReplicas",
  from: "10",
  to: "12",
  object: { apiVersion: "autoscaling/v2", kind: "HorizontalPodAutoscaler", name: "auto", namespace: "shop", uid: "h" },
});
const evict = plan({
  field: "/metadata/deletionTimestamp",
  object: { apiVersion: "v1", kind: "Pod", name: "cart-2", namespace: "shop", uid: "uid-2" },
});
const foreign = plan({ field: "/spec/instances" });

const ON_TIME = UNTIL + MINUTE;
const LATE = UNTIL + 600 * MINUTE;
const people = { template: true, replicas: false };
/** 41 was taken up again as 43. */
const undone = (at: number, minutes = 10) =>
  sight(at, {
    workload: GOOD,
    revisions: [revision(40, OLD), revision(42, BAD), revision(43, GOOD, { earlier: [41] })],
    writes: [write("kubectl-rollout", minutes, people)],
    pods: [pod(7), pod(8), pod(9)],
  });

interface Row {
  what: string;
  plan?: PlanDraft | null;
  before?: Sight;
  after: Sight;
  excuses?: Excuses;
  verdict: string;
  says?: RegExp;
}

const rows: Row[] = [
  { what: "nothing", after: sight(ON_TIME), verdict: "nothing", says: /nothing was changed on the target/ },
  { what: "nothing, read late", after: sight(LATE), verdict: "nothing" },
  {
    what: "the same rollback",
    after: undone(ON_TIME),
    verdict: "agree",
    says: /back to revision 41 \(kubectl-rollout\)/,
  },
  { what: "the same rollback, read late", after: undone(LATE), verdict: "agree" },
  {
    what: "the same rollback after the time, read late",
    after: undone(LATE, 200),
    verdict: "unknown",
    says: /cannot be told whether in that time/,
  },
  {
    what: "a rollback to another revision",
    after: sight(ON_TIME, {
      workload: OLD,
      revisions: [revision(41, GOOD), revision(42, BAD), revision(43, OLD, { earlier: [40] })],
      writes: [write("kubectl-rollout", 10, people)],
    }),
    verdict: "differ",
    says: /revision 40/,
  },
  {
    what: "the good images by a pipeline that adds annotations",
    after: sight(ON_TIME, {
      workload: { ...GOOD, template: "good+note", plain: "good+note" },
      revisions: [
        revision(42, BAD),
        revision(43, { ...GOOD, template: "good+note", plain: "good+note" }, { bornAt: T + 5 * MINUTE }),
        revision(41, GOOD),
      ],
    }),
    verdict: "agree",
  },
  {
    what: "a release of something new",
    after: sight(ON_TIME, {
      workload: { template: "fix", plain: "fix", images: "image-fix" },
      revisions: [
        revision(41, GOOD),
        revision(42, BAD),
        revision(43, { template: "fix", plain: "fix", images: "image-fix" }, { bornAt: T + 5 * MINUTE }),
      ],
    }),
    verdict: "differ",
    says: /template that it did not have before/,
  },
  {
    what: "a release long after the time, read late: its creation says so",
    after: sight(LATE, {
      workload: { template: "fix", plain: "fix", images: "image-fix" },
      revisions: [
        revision(41, GOOD),
        revision(42, BAD),
        revision(43, { template: "fix", plain: "fix", images: "image-fix" }, { bornAt: T + 300 * MINUTE }),
      ],
    }),
    verdict: "nothing",
  },
  {
    what: "the same rollback, and the bad release again",
    after: sight(ON_TIME, {
      revisions: [revision(40, OLD), revision(43, GOOD, { earlier: [41] }), revision(44, BAD, { earlier: [42] })],
      writes: [write("kubectl-rollout", 20, people)],
    }),
    verdict: "agree",
    says: /revision 41, then rolled it back to revision 42/,
  },
  {
    what: "a revision in between is gone from the history",
    after: sight(ON_TIME, {
      workload: OLD,
      revisions: [revision(43, BAD), revision(45, OLD, { earlier: [40] })],
      writes: [write("kubectl-rollout", 20, people)],
    }),
    verdict: "unknown",
    says: /revision 44 is no longer in its history/,
  },
  {
    what: "a restart",
    after: sight(ON_TIME, {
      workload: { ...BAD, template: "bad+restarted" },
      revisions: [revision(42, BAD), revision(43, { ...BAD, template: "bad+restarted" }, { bornAt: T + MINUTE })],
    }),
    verdict: "differ",
    says: /restarted it/,
  },
  {
    what: "Nightshift itself, by another rule",
    after: sight(ON_TIME, { ...undone(ON_TIME), workload: GOOD, writes: [write("nightshift", 10, people)] }),
    verdict: "unknown",
    says: /Nightshift itself/,
  },
  { what: "its deletion", after: sight(ON_TIME, { workload: null }), verdict: "differ", says: /deleted it/ },
  {
    what: "a pause of the rollout",
    after: sight(ON_TIME, { workload: { paused: true }, writes: [write("kubectl", 3)] }),
    verdict: "differ",
    says: /paused its rollout \(kubectl\)/,
  },
  {
    what: "a write that leaves it as it was",
    after: sight(ON_TIME, { writes: [write("kubectl-edit", 3)] }),
    verdict: "unknown",
    says: /kubectl-edit wrote it in that time, and it looks as it did before/,
  },
  {
    what: "a write by a part of the cluster that leaves it as it was",
    after: sight(ON_TIME, { writes: [write("kube-controller-manager", 3)] }),
    verdict: "nothing",
  },
  {
    what: "a scaling there and back, which carries no time",
    plan: scale,
    after: sight(ON_TIME, {
      workload: { generation: 9 },
      writes: [{ ...write("kubectl", 0), at: null, replicas: true }],
    }),
    verdict: "unknown",
    says: /kubectl wrote it in that time/,
  },
  {
    what: "an autoscaler's way there and back, which takes pods with it",
    plan: evict,
    after: sight(ON_TIME, {
      workload: { generation: 9 },
      writes: [{ ...write("kube-controller-manager", 0), at: null, replicas: true }],
      pods: [pod(1), pod(3), pod(4)],
    }),
    excuses: { "uid-2": null },
    verdict: "unknown",
  },
  {
    what: "no baseline of it",
    before: sight(T, { workload: null }),
    after: sight(ON_TIME),
    verdict: "unknown",
  },
  {
    what: "no right to list ReplicaSets",
    after: sight(ON_TIME, { notRead: ["no right to list ReplicaSets"] }),
    verdict: "unknown",
    says: /no right to list ReplicaSets/,
  },
  // restarts
  {
    what: "the same restart",
    plan: restart,
    after: sight(ON_TIME, {
      workload: { ...BAD, template: "bad+restarted" },
      revisions: [revision(42, BAD), revision(43, { ...BAD, template: "bad+restarted" }, { bornAt: T + MINUTE })],
    }),
    verdict: "agree",
  },
  {
    what: "all pods deleted instead of a restart",
    plan: restart,
    after: sight(ON_TIME, { pods: [pod(4), pod(5), pod(6)] }),
    excuses: { "uid-1": null, "uid-2": null, "uid-3": null },
    verdict: "agree",
  },
  { what: "a rollback instead of a restart", plan: restart, after: undone(ON_TIME), verdict: "differ" },
  // pods
  {
    what: "the same pod deleted",
    plan: evict,
    after: sight(ON_TIME, { pods: [pod(1), pod(3), pod(4)] }),
    excuses: { "uid-2": null },
    verdict: "agree",
    says: /made Pod cart-2 leave/,
  },
  {
    what: "another pod deleted",
    plan: evict,
    after: sight(ON_TIME, { pods: [pod(2), pod(3), pod(4)] }),
    excuses: { "uid-1": null },
    verdict: "differ",
  },
  {
    what: "the pod taken by the cluster",
    plan: evict,
    after: sight(ON_TIME, { pods: [pod(1), pod(3), pod(4)] }),
    excuses: { "uid-2": "the cluster took it away (Preempted)" },
    verdict: "nothing",
  },
  {
    what: "a pod gone, and no right to ask why",
    plan: evict,
    after: sight(ON_TIME, { pods: [pod(1), pod(3), pod(4)] }),
    excuses: { "uid-2": "?" },
    verdict: "unknown",
  },
  {
    what: "a pod gone, read when no event is kept any more",
    plan: evict,
    after: sight(LATE, { pods: [pod(1), pod(3), pod(4)] }),
    excuses: { "uid-2": null },
    verdict: "unknown",
  },
  {
    what: "a pod gone while a rollout was under way",
    plan: evict,
    before: sight(T, { workload: { settled: false } }),
    after: sight(ON_TIME, { pods: [pod(1), pod(3), pod(4)] }),
    excuses: { "uid-2": null },
    verdict: "unknown",
  },
  // numbers
  {
    what: "more replicas, another number",
    plan: scale,
    after: sight(ON_TIME, {
      workload: { replicas: 6 },
      writes: [write("kubectl", 4, { replicas: true })],
      pods: [1, 2, 3, 4, 5, 6].map(pod),
    }),
    verdict: "agree",
    says: /replicas of Deployment cart from 3 to 6 \(kubectl\)/,
  },
  {
    what: "fewer replicas",
    plan: scale,
    after: sight(ON_TIME, {
      workload: { replicas: 1 },
      writes: [write("kubectl", 4, { replicas: true })],
      pods: [pod(1)],
    }),
    verdict: "differ",
  },
  {
    what: "replicas by the autoscaler alone",
    plan: scale,
    after: sight(ON_TIME, {
      workload: { replicas: 6 },
      writes: [write("kube-controller-manager", 4, { replicas: true })],
    }),
    verdict: "nothing",
  },
  {
    what: "replicas changed, and nothing says by whom, under an autoscaler",
    plan: scale,
    before: sight(T, { bounds: [bound("/spec/maxReplicas", 10)] }),
    after: sight(ON_TIME, { workload: { replicas: 6 }, bounds: [bound("/spec/maxReplicas", 10)] }),
    verdict: "unknown",
  },
  {
    what: "the autoscaler's ceiling raised",
    plan: raise,
    before: sight(T, { bounds: [bound("/spec/maxReplicas", 10)] }),
    after: sight(ON_TIME, { bounds: [bound("/spec/maxReplicas", 20, "kubectl-edit", 9)] }),
    verdict: "agree",
    says: /maxReplicas of HorizontalPodAutoscaler auto from 10 to 20/,
  },
  {
    what: "the autoscaler's floor raised instead",
    plan: raise,
    before: sight(T, { bounds: [bound("/spec/minReplicas", 2)] }),
    after: sight(ON_TIME, { bounds: [bound("/spec/minReplicas", 4, "kubectl-edit", 9)] }),
    verdict: "differ",
  },
  {
    what: "a scaling instead of the rollback",
    after: sight(ON_TIME, { workload: { replicas: 6 }, writes: [write("kubectl", 4, { replicas: true })] }),
    verdict: "differ",
  },
  {
    what: "fewer replicas by the autoscaler alone, and the pods that it took",
    plan: evict,
    after: sight(ON_TIME, {
      workload: { replicas: 2 },
      writes: [write("kube-controller-manager", 4, { replicas: true })],
      pods: [pod(1), pod(3)],
    }),
    excuses: { "uid-2": null },
    verdict: "nothing",
  },
  {
    what: "a release after the time that took every pod",
    plan: evict,
    after: sight(LATE, {
      workload: { template: "fix", plain: "fix", images: "image-fix" },
      revisions: [
        revision(42, BAD),
        revision(43, { template: "fix", plain: "fix", images: "image-fix" }, { bornAt: T + 300 * MINUTE }),
      ],
      pods: [pod(7), pod(8), pod(9)],
    }),
    excuses: { "uid-1": null, "uid-2": null, "uid-3": null },
    verdict: "unknown",
    says: /left while a rollout/,
  },
  // plans that no rule covers, and no plan at all
  { what: "something, beside a field that no rule covers", plan: foreign, after: undone(ON_TIME), verdict: "unknown" },
  { what: "nothing, beside a field that no rule covers", plan: foreign, after: sight(ON_TIME), verdict: "nothing" },
  { what: "something, where there was no plan", plan: null, after: undone(ON_TIME), verdict: "acted" },
  { what: "nothing, where there was no plan", plan: null, after: sight(ON_TIME), verdict: "nothing" },
];

describe("what people did, beside the plan", () => {
  it.each(rows)("$what: $verdict", (row) => {
    const before = row.before ?? sight(T);
    const window = { from: T, until: UNTIL, late: row.after.at === LATE };
    const deeds = deedsBetween({ before, after: row.after, excuses: row.excuses ?? {}, window }, NAME);

    const found = compare({ plan: row.plan === undefined ? rollback : row.plan, before, deeds });

    expect(found, JSON.stringify(deeds)).toMatchObject({ verdict: row.verdict });
    if (row.says) expect(found.says).toMatch(row.says);
  });

  it("a runbook's own answer stands instead of the rules by field", () => {
    const alike = (of: PlanDraft, deed: Deed) => of === foreign && deed.what === "rollback";
    const deeds = deedsBetween(
      { before: sight(T), after: undone(ON_TIME), excuses: {}, window: { from: T, until: UNTIL, late: false } },
      NAME,
    );

    expect(compare({ plan: foreign, before: sight(T), deeds, alike }).verdict).toBe("agree");
    expect(compare({ plan: rollback, before: sight(T), deeds, alike: () => null }).verdict).toBe("unknown");
  });
});
