import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Kubernetes, startKubernetes } from "../../../sandbox/kubernetes/kubernetes.js";
import { createKubernetes, type KubernetesClient } from "../../../src/clients/kubernetes.js";
import { systemClock } from "../../../src/clock.js";
import { FENCE, fence, LAST_OP, look, untilSeen } from "../../../src/execution/fence.js";
import type { LedgerOpen } from "../../../src/execution/ledger.js";

/** Fence and look by one worker after the other, each of which dies before it can note what it saw. */

const KEY = "0123456789abcdef0123456789abcdef";
const NS = "shop";

describe("fence, then look", () => {
  let kubernetes: Kubernetes;
  let k: KubernetesClient;
  const dir = mkdtempSync(join(tmpdir(), "fence-"));
  let number = 0;
  let name = "";

  beforeAll(async () => {
    // No controllers: whatever moves is moved here.
    kubernetes = await startKubernetes({ tickMs: null, namespaces: [NS] });
    writeFileSync(join(dir, "kubeconfig"), kubernetes.kubeconfig());
    k = await createKubernetes({ kubeconfig: join(dir, "kubeconfig"), clock: systemClock });
  });
  afterAll(async () => {
    await k.close();
    await kubernetes.stop();
    rmSync(dir, { recursive: true, force: true });
  });
  beforeEach(() => {
    number += 1;
    name = `web-${number}`;
  });

  const kinds = ["Deployment", "StatefulSet", "HorizontalPodAutoscaler"] as const;
  type Kind = (typeof kinds)[number];
  const refTo = (kind: Kind) => ({
    apiVersion: kind === "HorizontalPodAutoscaler" ? "autoscaling/v2" : "apps/v1",
    kind,
    namespace: NS,
    name,
  });

  async function made(kind: Kind): Promise<void> {
    const template = {
      metadata: { labels: { app: name } },
      spec: { containers: [{ name: "main", image: "registry.example/web:v1" }] },
    };
    const workload = { replicas: 2, serviceName: name, selector: { matchLabels: { app: name } }, template };
    const scaler = {
      minReplicas: 1,
      maxReplicas: 2,
      scaleTargetRef: { apiVersion: "apps/v1", kind: "Deployment", name },
    };
    await k.create({
      ...refTo(kind),
      metadata: { name, namespace: NS },
      spec: kind === "HorizontalPodAutoscaler" ? scaler : workload,
    });
  }

  async function intent(kind: Kind): Promise<LedgerOpen> {
    const live = await k.get(refTo(kind));
    return {
      key: KEY,
      object: { ...refTo(kind), uid: live?.metadata.uid ?? "" },
      resourceVersion: live?.metadata.resourceVersion ?? "",
      generation: live?.metadata.generation ?? 0,
      at: "2026-01-01T00:00:00.000Z",
    };
  }

  const change = (kind: Kind, value: number) =>
    kind === "HorizontalPodAutoscaler" ? { maxReplicas: value } : { replicas: value };
  const effect = (open: LedgerOpen, kind: Kind) =>
    k.mergePatch(refTo(kind), {
      metadata: {
        resourceVersion: open.resourceVersion,
        annotations: { [LAST_OP]: JSON.stringify({ key: open.key }) },
      },
      spec: change(kind, 3),
    });
  /** Somebody sets the field back and takes our key away; the fence's mark stays. */
  const takenBack = (kind: Kind) =>
    k.mergePatch(refTo(kind), { metadata: { annotations: { [LAST_OP]: null } }, spec: change(kind, 2) });
  /** A sick object's status moves all the time. */
  const statusMoves = (kind: Kind) => {
    const live = kubernetes.get(kind, NS, name);
    kubernetes.seed({ ...live, status: { ...live?.status, observedGeneration: 1, replicas: number } });
  };
  /** `workers` take over one after the other; the last one's look. */
  async function lookedAt(open: LedgerOpen, workers: number) {
    let fenced = await fence({ reader: k, writer: k }, open, "1 worker");
    for (let i = 2; i <= workers; i += 1) fenced = await fence({ reader: k, writer: k }, open, `${i} worker`);
    return look(k, open, fenced);
  }

  it.each(kinds)("%s: an effect that never came is told after any number of takeovers (H41)", async (kind) => {
    await made(kind);
    const open = await intent(kind);
    expect(await lookedAt(open, 3)).toBe("did-not");
    await expect(effect(open, kind)).rejects.toMatchObject({ status: 409 });
  });

  it.each(["Deployment", "StatefulSet"] as const)(
    "%s: also where its status moved before the first of them (H41)",
    async (kind) => {
      await made(kind);
      const open = await intent(kind);
      statusMoves(kind);
      expect(await lookedAt(open, 3)).toBe("did-not");
    },
  );

  it.each(kinds)("%s: an effect that came is told by its key (H41)", async (kind) => {
    await made(kind);
    const open = await intent(kind);
    await effect(open, kind);
    expect(await lookedAt(open, 3)).toBe("happened");
  });

  it.each(kinds)("%s: what a person took back cannot be told, however often it is looked at (H41 I1)", async (kind) => {
    await made(kind);
    const open = await intent(kind);
    await effect(open, kind);
    await takenBack(kind);
    expect(await lookedAt(open, 1)).toBe("cannot-tell");
    expect(await lookedAt(open, 2)).toBe("cannot-tell");
  });

  it.each(kinds)("%s: the proof of one intent is none for the next of the same step (I1)", async (kind) => {
    await made(kind);
    const first = await intent(kind);
    expect(await lookedAt(first, 1)).toBe("did-not");
    const second = await intent(kind);
    await effect(second, kind);
    await takenBack(kind);
    expect((await k.get(refTo(kind)))?.metadata.annotations?.[FENCE]).toContain(" void");
    expect(await lookedAt(second, 2)).toBe("cannot-tell");
  });

  it.each(["Deployment", "StatefulSet"] as const)(
    "%s: a mark put back from earlier never makes a change look like a fence (I1)",
    async (kind) => {
      await made(kind);
      const open = await intent(kind);
      statusMoves(kind);
      await lookedAt(open, 1);
      const early = (await k.get(refTo(kind)))?.metadata.annotations?.[FENCE];
      await lookedAt(open, 1);
      // As `kubectl rollout undo` does: older annotations, and a change of the spec.
      await k.mergePatch(refTo(kind), { metadata: { annotations: { [FENCE]: early } }, spec: change(kind, 4) });
      expect(await lookedAt(open, 1)).toBe("cannot-tell");
    },
  );

  it("Deployment: goes on only once its controller has seen what the fence did (H41)", async () => {
    await made("Deployment");
    const open = await intent("Deployment");
    await lookedAt(open, 1);
    let waits = true;
    const seen = untilSeen({ reader: k, clock: systemClock }, open.object).then(() => (waits = false));
    for (let i = 0; i < 10; i += 1) await k.get(refTo("Deployment"));
    expect(waits).toBe(true);
    const live = kubernetes.get("Deployment", NS, name);
    kubernetes.seed({ ...live, status: { observedGeneration: live?.metadata.generation } });
    await seen;
    expect(waits).toBe(false);
  });
});
