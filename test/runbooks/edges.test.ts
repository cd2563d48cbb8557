/** Edges of runbooks and registry that each once went wrong. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import type { KubeObject } from "../../src/cluster.js";
import { FaultsError } from "../../src/errors.js";
import { redact } from "../../src/log.js";
import { loadRunbooks } from "../../src/plan/registry.js";
import type { Alert, Owner } from "../../src/runbook.js";
import { runbook as diagnosis } from "../../runbooks/diagnose-pods.js";
import type { MemoryCluster } from "../harness/memory-cluster.js";
import {
  ago,
  API,
  controllerTurn,
  DAY,
  drafted,
  edit,
  MINUTE,
  NOW,
  NS,
  plan,
  refused,
  shop,
  target,
  template,
} from "./scene.js";

describe("rollback-deployment: edges", () => {
  it("a bad release that was rolled back soon is not taken for one that ran well afterwards (H28)", async () => {
    // 42 was the current one for 10 min only; 43 is 41's ReplicaSet, whose creation is older than 42's.
    const cluster = shop([
      { number: 41, age: 6 * DAY, template: template("v1.4.1") },
      { number: 42, age: 60 * MINUTE, template: template("v1.4.2") },
    ]);
    await edit(cluster, (d) => {
      d.spec.template = template("v1.4.1");
    });
    await controllerTurn(cluster, NOW - 50 * MINUTE);

    expect(refused(await plan(cluster)).skip).toBe("no-healthy-revision");
  });

  it("a revision whose pods crashed all its time did not run well (H28)", async () => {
    const crashed: Partial<KubeObject> = {
      apiVersion: "v1",
      kind: "Event",
      metadata: { name: "crash", namespace: NS } as never,
      type: "Warning",
      reason: "BackOff",
      count: 400,
      message: "Back-off restarting failed container api",
      involvedObject: { kind: "Pod", name: `${API}-hash41-abcde`, namespace: NS },
      firstTimestamp: ago(54 * MINUTE),
      lastTimestamp: ago(11 * MINUTE),
    };
    const cluster = shop(
      [
        { number: 40, age: 9 * DAY, template: template("v1.4.0") },
        { number: 41, age: 55 * MINUTE, template: template("v1.4.1") },
        { number: 42, age: 10 * MINUTE, template: template("v1.4.2") },
      ],
      [crashed],
    );

    expect(drafted(await plan(cluster)).facts.toRevision).toBe(40);
  });

  it("refuses when the image of an init container cannot be pulled (H25)", async () => {
    const initContainers = [{ name: "m", image: "registry.example/migrate:v1.4.1" }];
    const cluster = release(template("v1.4.1", { pod: { initContainers } }), [
      {
        apiVersion: "v1",
        kind: "Pod",
        metadata: { name: "old", namespace: NS, labels: { app: "api" } } as never,
        spec: { initContainers, containers: [] },
        status: { initContainerStatuses: [{ name: "m", state: { waiting: { reason: "ImagePullBackOff" } } }] },
      },
    ]);

    expect(refused(await plan(cluster)).skip).toBe("image-gone");
  });

  it("refuses when the Secret that its image is pulled with is gone (H18)", async () => {
    const cluster = release(template("v1.4.1", { pod: { imagePullSecrets: [{ name: "registry" }] } }));

    expect(refused(await plan(cluster)).skip).toBe("config-gone");
  });

  it("says that a rollout is beginning, not that there is no earlier revision (H28)", async () => {
    const cluster = release(template("v1.4.1"));
    await edit(cluster, (d) => {
      d.spec.template = template("v1.4.3");
    });

    expect(refused(await plan(cluster)).skip).not.toBe("no-earlier-revision");
  });

  it("says in the evidence that the registry was not asked (H25)", async () => {
    expect(drafted(await plan(release(template("v1.4.1")))).evidence.join("\n")).toMatch(
      /registry was not asked|not checked/,
    );
  });

  it("does not drop Helm's warning when many revisions were passed over (H27)", async () => {
    const cluster = shop([
      { number: 35, age: 9 * DAY, template: template("v35") },
      ...[36, 37, 38, 39, 40, 41].map((n) => ({ number: n, age: (52 - n) * MINUTE, template: template(`v${n}`) })),
      { number: 42, age: 10 * MINUTE, template: template("v42") },
    ]);
    const helm: Owner = { kind: "helm", name: "api", says: "Helm release api manages it", handsOff: false, writes: [] };

    expect(drafted(await plan(cluster, { owners: [helm] })).evidence.join("\n")).toContain("Helm release api");
  });
});

describe("diagnose-pods: edges", () => {
  it("a pod that is ready and crashed once a month ago is not what is failing now (H20)", async () => {
    const cluster = release(template("v1.4.1"), [
      pod({
        name: "api",
        ready: true,
        restartCount: 1,
        state: { running: { startedAt: ago(30 * DAY) } },
        lastState: { terminated: { exitCode: 137, reason: "OOMKilled", finishedAt: ago(30 * DAY) } },
      }),
    ]);

    expect((await diagnose(cluster, [ago(5 * MINUTE)])).headline[0]).toMatch(/^began 5 min after revision 42/);
  });

  it("hides a secret whose key is coloured in the log", async () => {
    const cluster = release(template("v1.4.1"), [crashing]);
    cluster.setLogs("api", "\u001b[36mpassword\u001b[0m=hunter2", { previous: true });

    expect(JSON.stringify(await diagnose(cluster))).not.toContain("hunter2");
  });

  it("takes text direction overrides and C1 controls out of the workload's words", async () => {
    const cluster = release(template("v1.4.1"), [crashing]);
    cluster.setLogs("api", "a\u202eb\u009b31mc", { previous: true });

    expect(JSON.stringify(await diagnose(cluster))).not.toMatch(/[\u202e\u009b]/);
  });

  it("takes control characters out of events, whose probe messages are the workload's words", async () => {
    const cluster = release(template("v1.4.1"), [
      crashing,
      {
        apiVersion: "v1",
        kind: "Event",
        metadata: { name: "e", namespace: NS } as never,
        type: "Warning",
        reason: "Unhealthy",
        message: "Readiness probe failed: \u001b[31mone\ntwo",
        involvedObject: { uid: "uid-api" },
        lastTimestamp: ago(MINUTE),
      } as Partial<KubeObject>,
    ]);

    const events = (await diagnose(cluster)).details.find((d) => d.title === "Events")?.lines ?? [];
    expect(events.join("")).not.toMatch(/[\u001b\n]/);
  });

  it("counts the rollback, not the reused ReplicaSet's birth, as the last rollout", async () => {
    const cluster = shop([
      { number: 41, age: 6 * DAY, template: template("v1.4.1") },
      { number: 42, age: 60 * MINUTE, template: template("v1.4.2") },
    ]);
    await edit(cluster, (d) => {
      d.spec.template = template("v1.4.1");
    });
    await controllerTurn(cluster, NOW - 50 * MINUTE);

    expect((await diagnose(cluster, [ago(49 * MINUTE)])).headline[0]).not.toMatch(/revision 43\) was 6 d before/);
  });

  it("works without the right to list ReplicaSets, and says what it did not see", async () => {
    const cluster = release(template("v1.4.1"), [crashing]);
    cluster.forbid("ReplicaSet");

    expect((await diagnose(cluster)).headline.join()).toContain("CrashLoopBackOff");
  });
});

describe("the registry: edges", () => {
  const good = `export const runbook = { kind: "diagnosis", name: "good", version: 1, summary: "Looks.", kinds: ["Pod"] };`;

  async function faultsOf(files: Record<string, string>): Promise<readonly string[]> {
    const dir = mkdtempSync(join(tmpdir(), "runbooks-"));
    try {
      for (const [name, text] of Object.entries(files)) writeFileSync(join(dir, name), text);
      const error = await loadRunbooks(dir)
        .then(() => null)
        .catch((thrown: unknown) => thrown);
      if (!(error instanceof FaultsError)) throw new Error(`expected faults, found ${String(error)}`);
      return error.faults;
    } finally {
      rmSync(dir, { recursive: true, force: true });
    }
  }

  it("names the file that cannot be imported, beside all other faults", async () => {
    const found = await faultsOf({ "broken.js": "throw new Error('boom');", "empty.js": "export const a = 1;" });

    expect(found).toHaveLength(2);
    expect(found.join()).toContain("broken.js");
  });

  it("finds a remedy without risk, needs or version faulty", async () => {
    const bare = `export const runbook = { kind: "remedy", name: "bare", summary: "Mends.", kinds: ["Pod"], diagnosis: "good" };`;

    expect((await faultsOf({ "bare.js": bare, "good.js": good })).join()).toMatch(/bare.*risk/);
  });

  it("finds two files of one name faulty", async () => {
    expect((await faultsOf({ "good.js": good, "good.ts": good })).join()).toMatch(/good/);
  });
});

/** 41 ran 6 d with `to`; 42 came 10 min ago. */
function release(to: KubeObject["spec"], more: Partial<KubeObject>[] = []): MemoryCluster {
  return shop(
    [
      { number: 41, age: 6 * DAY, template: to },
      { number: 42, age: 10 * MINUTE, template: template("v1.4.2") },
    ],
    more,
  );
}

function pod(status: object): Partial<KubeObject> {
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name: "api", namespace: NS, uid: "uid-api", labels: { app: "api" } } as never,
    spec: { containers: [{ name: "api" }] },
    status: { phase: "Running", containerStatuses: [status] },
  };
}

const crashing = pod({
  name: "api",
  ready: false,
  restartCount: 6,
  state: { waiting: { reason: "CrashLoopBackOff" } },
  lastState: { terminated: { exitCode: 1, reason: "Error", finishedAt: ago(9 * MINUTE) } },
});

function diagnose(cluster: MemoryCluster, starts: string[] = []) {
  return diagnosis.diagnose({
    target,
    params: {},
    alerts: starts.map((startsAt) => ({ startsAt })) as unknown as Alert[],
    cluster,
    measure: async () => null,
    now: NOW,
    redact,
    logLines: 20,
    probe: async () => ({ ok: false, says: "not asked", ms: 0 }),
  });
}
