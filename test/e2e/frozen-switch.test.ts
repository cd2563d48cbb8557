import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import type { SeenRequest } from "../../sandbox/kubernetes/world.js";
import { planeMissing, type Plane, startPlane } from "../cluster/plane.js";
import { type Install, install } from "../harness/install.js";
import { alertmanagerProgram, until } from "../harness/processes.js";
import { type Relay, startRelay } from "../harness/relay/relay.js";
import { type Hands, startHands } from "../harness/workers.js";
import { badRelease, deploy, OWN, startWorld, testPolicy, type World } from "../harness/world.js";

const missing = planeMissing() ?? (alertmanagerProgram() === null ? "no Alertmanager on this machine" : null);
const SHOP = "shop";
const HANDS = "system:serviceaccount:nightshift:nightshift-hands";
const RULES = `    autonomy: auto
  - { name: sick-pod, match: ['alertname="PodSick"'], runbook: restart-pod, autonomy: approve, approval: { from: ['slack-group:sre'], count: 1, expires: 10m }, target: { from: pod, namespace: $labels.namespace, name: $labels.pod } }`;

/**
 * A write is under way when every process of Nightshift stands still, and then everything is paused: nobody is left who could
 * revoke a Lease or fence an object. Only the API server can refuse it.
 */
describe.skipIf(missing !== null)(
  `the kill switch with nobody awake${missing === null ? "" : ` (not run: ${missing})`}`,
  () => {
    let plane: Plane;
    let installed: Install;
    let relay: Relay;
    let world: World;
    let hands: Hands;
    const seen: SeenRequest[] = [];
    const dir = mkdtempSync(join(tmpdir(), "nightshift-frozen-switch-"));

    beforeAll(async () => {
      plane = await startPlane();
      installed = await install(plane.kubeconfig, { dir, namespaces: { [SHOP]: ["a", "b"] } });
      const front = "system:serviceaccount:nightshift:nightshift";
      relay = await startRelay({
        kubeconfig: plane.kubeconfig,
        identities: [
          { token: "front", user: front },
          { token: "hands", user: HANDS },
        ],
        followed: [
          { kind: "Deployment", namespace: SHOP },
          { kind: "Pod", namespace: SHOP },
        ],
        observe: (request) => void seen.push(request),
      });
      const kubeconfig = (name: string) => {
        writeFileSync(join(dir, name), relay.kubeconfig(name));
        return join(dir, name);
      };
      world = await startWorld({
        kubeconfig: plane.kubeconfig,
        policy: testPolicy([SHOP], RULES),
        env: { NIGHTSHIFT_ROLE: "front", KUBECONFIG: kubeconfig("front") },
      });
      for (const name of ["HighErrorRate", "PodSick"]) world.prometheus.rules.push({ name, query: `sick_${name} > 0` });
      hands = await startHands({
        count: 2,
        env: { ...world.env, KUBECONFIG_HANDS: kubeconfig("hands") },
        asked: async () => undefined,
      });
    }, 120_000);

    afterAll(async () => {
      await hands?.stop();
      await world?.stop();
      await relay?.stop();
      await installed?.close();
      await plane?.stop();
      rmSync(dir, { recursive: true, force: true });
    }, 60_000);

    const control = `/api/v1/namespaces/${OWN}/configmaps/nightshift-control`;
    const switched = async (stop: "true" | "false") => {
      const answer = await installed.admin.ask("PATCH", control, { data: { stop, pauses: "[]" } });
      expect(answer.status).toBe(200);
      // The API server hears of it a moment later.
      const probe = { spec: { template: { metadata: { annotations: { probe: "x" } } } } };
      const path = `${relay.url}/apis/apps/v1/namespaces/${SHOP}/deployments/probe?dryRun=All`;
      await until(`the switch to be obeyed: ${stop}`, async () => {
        const tried = await fetch(path, {
          method: "PATCH",
          headers: { authorization: "Bearer hands", "content-type": "application/merge-patch+json" },
          body: JSON.stringify(probe),
        });
        return tried.status === (stop === "true" ? 403 : 200);
      });
    };
    let undo: () => Promise<void> = async () => undefined;
    afterEach(async () => {
      await undo();
      undo = async () => undefined;
    });
    const deployment = (name: string) => relay.get("Deployment", SHOP, name);
    const podsOf = (name: string) => relay.list("Pod", SHOP).filter((pod) => pod.metadata.labels?.app === name);

    interface Case {
      name: string;
      /** Makes it, and returns what fires. */
      build(name: string): Promise<Record<string, string>>;
      match: { verb: string; resource: string; subresource?: string };
      happened(name: string): boolean;
    }
    const first = new Map<string, string>();
    const cases: Case[] = [
      {
        name: "rollback",
        async build(name) {
          await badRelease(world.k, { namespace: SHOP, name });
          return { alertname: "HighErrorRate", service: `${name}-service` };
        },
        match: { verb: "patch", resource: "deployments" },
        happened: (name) => String(deployment(name)?.spec.template.spec.containers[0].image).endsWith(":good"),
      },
      {
        name: "eviction",
        async build(name) {
          await deploy(world.k, { namespace: SHOP, name, tag: "good" });
          await until("its pods", async () => deployment(name)?.status?.availableReplicas === 2);
          const pod = podsOf(name)[0];
          first.set(name, pod?.metadata.uid);
          return { alertname: "PodSick", pod: pod?.metadata.name };
        },
        match: { verb: "create", resource: "pods", subresource: "eviction" },
        happened: (name) => !podsOf(name).some((pod) => pod.metadata.uid === first.get(name)),
      },
    ];

    /** Fires, waits until the write is at the relay, and stops everybody in the middle of it. */
    async function underWay(of: Case, name: string, between: (letGo: () => Promise<void>) => Promise<void>) {
      const labels: Record<string, string> = { namespace: SHOP, severity: "critical", ...(await of.build(name)) };
      world.prometheus.answer((expr) =>
        expr === `sick_${labels["alertname"]}` ? [{ metric: labels, value: of.happened(name) ? 0 : 1 }] : null,
      );
      const held = relay.faults.add(
        {
          ...of.match,
          namespace: SHOP,
          user: HANDS,
          body: (body) => !/dryRun|"nightshift.dev\/fence"/.test(JSON.stringify(body)),
        },
        { do: "hold" },
        1,
      );
      await world.fire(labels);
      if (of.name === "eviction") {
        const ask = await world.incident(
          "an ask",
          (r) => r.target?.name === name && r.state === "waiting" && !!r.slack,
        );
        const shown = world.slack.messages.find((m) => m.ts === ask.slack?.ts && m.threadTs === null);
        if (shown) await world.slack.press(shown, "approve", { user: "U1" });
      }
      await world.until("the write to be under way", () => held.met().then(() => true));
      const asleep = hands.serving();
      await world.restart(async () => {
        await Promise.all(asleep.map((hand) => hand.freeze()));
        await between(() => held.release());
      });
      for (const hand of asleep) hand.thaw();
    }
    const written = (of: Case) =>
      seen.filter(
        ({ user, route, dryRun, body }) =>
          user === HANDS &&
          !dryRun &&
          route.verb === of.match.verb &&
          route.kind.plural === of.match.resource &&
          !/dryRun|"nightshift.dev\/fence"/.test(JSON.stringify(body)),
      );

    it.each(cases)(
      "$name: what is under way when all of Nightshift stands still is refused by the API server (I6 H49)",
      async (of) => {
        const name = `${of.name}-paused`;
        await deploy(world.k, { namespace: SHOP, name: "probe", tag: "good" });
        seen.length = 0;
        await underWay(of, name, async (letGo) => {
          undo = () => switched("false");
          await switched("true");
          await letGo();
          await until("its verdict", async () => written(of).length > 0);
          expect(written(of).map(({ status }) => status)).toEqual([403]);
          expect(of.happened(name)).toBe(false);
        });
        const record = await world.incident(
          "its end",
          (r) => r.target?.name === name && r.state === "held" && r.page === "sent",
        );

        expect(record.says).toContain(
          "Nightshift is paused and may not write: ConfigMap nightshift/nightshift-control has data.stop=true",
        );
        expect(of.happened(name)).toBe(false);
        expect(written(of).map(({ status }) => status)).toEqual([403]);
      },
      120_000,
    );

    it.each(cases)(
      "$name: the same is written when nothing is paused: the test can fail",
      async (of) => {
        const name = `${of.name}-let`;
        await deploy(world.k, { namespace: SHOP, name: "probe", tag: "good" });
        seen.length = 0;
        await underWay(of, name, async (letGo) => {
          await letGo();
          await until("its effect", async () => of.happened(name));
          expect(written(of).map(({ status }) => status)).toEqual([of.name === "eviction" ? 201 : 200]);
        });
      },
      120_000,
    );
  },
);
