import { describe, expect, it } from "vitest";
import type { Clock } from "../../../src/clock.js";
import { ClusterError, type KubeObject, type OwnObjects } from "../../../src/cluster.js";
import { type Budgets, createBudgets } from "../../../src/execution/budget.js";
import type { BudgetEntry } from "../../../src/guard/guard.js";

/** One Lease as the API server keeps it, and what was sent to it. */
function cluster() {
  let lease: KubeObject | null = null;
  let version = 0;
  const sent: string[] = [];
  const turn = () => new Promise<void>((done) => setImmediate(done));
  const put = (object: KubeObject) => {
    version += 1;
    lease = { ...object, metadata: { ...object.metadata, resourceVersion: String(version) } };
    return structuredClone(lease);
  };
  const objects = {
    async get() {
      sent.push("GET");
      await turn();
      return lease === null ? null : structuredClone(lease);
    },
    async create(object: unknown) {
      sent.push("POST");
      await turn();
      if (lease !== null) throw new ClusterError(409, "AlreadyExists", "there is one");
      return put(object as KubeObject);
    },
    async replace(object: unknown) {
      sent.push("PUT");
      await turn();
      // Like a real one: a write that names no version is taken whatever is there.
      const named = (object as KubeObject).metadata.resourceVersion as string | undefined;
      if (named !== undefined && named !== lease?.metadata.resourceVersion)
        throw new ClusterError(409, "Conflict", "it moved");
      return put(object as KubeObject);
    },
  } as unknown as OwnObjects;
  return { objects, sent };
}

let mono = 0;
const clock = { now: () => 1_800_000_000_000 + mono, monotonic: () => mono, sleep: async () => undefined } as Clock;
const entry = (run: string): BudgetEntry => ({
  run,
  cluster: "c",
  namespace: "n",
  target: run,
  at: clock.now(),
  open: true,
});
const atMost = (most: number) => async (present: BudgetEntry[]) =>
  present.length < most ? null : "the budget is used up";

describe("budgets", () => {
  it("are never overspent, however many processes reserve at once (I9)", async () => {
    const { objects } = cluster();
    const processes = Array.from({ length: 4 }, () => createBudgets(objects, "nightshift", clock));
    const answers = await Promise.all(
      Array.from({ length: 24 }, (_, i) => (processes[i % 4] as Budgets).reserve(entry(`run-${i}`), atMost(10))),
    );

    expect(answers.filter((no) => no === null)).toHaveLength(10);
    expect(await createBudgets(objects, "nightshift", clock).read()).toHaveLength(10);
  });

  it("are reserved on the version that was just read, in one request", async () => {
    const { objects, sent } = cluster();
    const budgets = createBudgets(objects, "nightshift", clock);
    await budgets.reserve(entry("run-1"), atMost(10));
    await budgets.read();
    sent.length = 0;
    await budgets.reserve(entry("run-2"), atMost(10));
    await budgets.reserve(entry("run-3"), atMost(10));

    expect(sent).toEqual(["PUT", "PUT"]);
  });

  it("are asked for anew where another process wrote since, and judged by what it wrote (I9)", async () => {
    const { objects, sent } = cluster();
    const [mine, theirs] = [createBudgets(objects, "nightshift", clock), createBudgets(objects, "nightshift", clock)];
    await mine.reserve(entry("run-1"), atMost(2));
    await theirs.reserve(entry("run-2"), atMost(2));
    sent.length = 0;

    expect(await mine.reserve(entry("run-3"), atMost(2))).toBe("the budget is used up");
    expect(sent).toEqual(["PUT", "GET"]);
  });

  it("what was seen more than a second ago is read again", async () => {
    const { objects, sent } = cluster();
    const budgets = createBudgets(objects, "nightshift", clock);
    await budgets.reserve(entry("run-1"), atMost(10));
    mono += 1001;
    sent.length = 0;
    await budgets.reserve(entry("run-2"), atMost(10));

    expect(sent).toEqual(["GET", "PUT"]);
  });

  it("the same run counts once, and no longer as under way when it is closed", async () => {
    const { objects } = cluster();
    const budgets = createBudgets(objects, "nightshift", clock);
    await budgets.reserve(entry("run-1"), atMost(1));
    expect(await budgets.reserve(entry("run-1"), atMost(1))).toBeNull();
    await budgets.close("run-1");

    expect(await budgets.read()).toEqual([expect.objectContaining({ run: "run-1", open: false })]);
  });
});
