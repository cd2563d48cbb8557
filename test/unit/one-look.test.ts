import { describe, expect, it } from "vitest";
import { rememberYes } from "../../src/app/rights.js";
import { shareAnswer } from "../../src/clients/shared-answer.js";
import { type Clock, systemClock } from "../../src/clock.js";
import type { AccessQuestion, ClusterReader, KubeObject } from "../../src/cluster.js";
import { oneLook } from "../../src/one-look.js";

const pods = { apiVersion: "v1", kind: "Pod", namespace: "shop" };
const right: AccessQuestion = { verb: "patch", group: "apps", resource: "deployments", namespace: "shop" };

/** Counts what reaches the API server. */
function counting(): ClusterReader & { asked: string[] } {
  const asked: string[] = [];
  return {
    asked,
    async get(ref) {
      asked.push(`get ${ref.name}`);
      if (ref.name === "broken") throw new Error("no answer");
      return { ...ref, metadata: { name: ref.name, uid: "u", resourceVersion: String(asked.length) } } as KubeObject;
    },
    async list(query) {
      asked.push(`list ${query.labelSelector ?? ""}`);
      return [];
    },
    logs: async () => "",
    can: async () => true,
  };
}

describe("one look", () => {
  it("asks each question once and answers everybody alike; another look asks anew", async () => {
    const reader = counting();
    const look = oneLook(reader);
    const ref = { ...pods, name: "a" };

    const [one, two] = await Promise.all([look.get(ref), look.get({ ...ref })]);
    await look.list(pods);
    await look.list({ ...pods, labelSelector: "app=a" });
    await look.list(pods);

    expect(one).toBe(two);
    expect(reader.asked).toEqual(["get a", "list ", "list app=a"]);
    expect((await oneLook(reader).get(ref))?.metadata.resourceVersion).toBe("4");
  });

  it("hands an error to everybody who asks", async () => {
    const look = oneLook(counting());
    const ref = { ...pods, name: "broken" };

    await expect(look.get(ref)).rejects.toThrow("no answer");
    await expect(look.get(ref)).rejects.toThrow("no answer");
  });
});

describe("a remembered right", () => {
  it("is a yes of a short while; a no is asked again at once", async () => {
    let now = 0;
    let may = false;
    let asked = 0;
    const clock: Clock = { ...systemClock, monotonic: () => now };
    const can = rememberYes(async () => {
      asked += 1;
      return may;
    }, clock);

    expect([await can(right), await can(right)]).toEqual([false, false]);
    may = true;
    expect([await can(right), await can(right), await can(right)]).toEqual([true, true, true]);
    expect(asked).toBe(3);
    may = false;
    expect(await can({ ...right, namespace: "other" })).toBe(false);
    now = 10_000;
    expect(await can(right)).toBe(false);
  });
});

describe("a shared answer", () => {
  it("keeps no error for those who come later", async () => {
    let asked = 0;
    const shared = shareAnswer(async () => {
      asked += 1;
      if (asked === 1) throw new Error("away");
      return asked;
    }, 60_000);

    await expect(shared.recent().answer).rejects.toThrow("away");
    expect(await shared.recent().answer).toBe(2);
    expect(await shared.recent().answer).toBe(2);
    expect(await shared.next()).toBe(3);
  });
});
