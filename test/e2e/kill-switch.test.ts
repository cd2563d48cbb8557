import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createKubernetes, type KubernetesClient } from "../../src/clients/kubernetes.js";
import { systemClock } from "../../src/clock.js";
import { createAuditHeads } from "../../src/execution/audit-heads.js";
import { type ControlStore, createControl, revokeLeases } from "../../src/execution/control.js";
import { createLeaseStore } from "../../src/execution/lease.js";
import { emptyLedger } from "../../src/execution/ledger.js";
import { planeMissing, type Plane, startPlane } from "../cluster/plane.js";
import { type Install, install } from "../harness/install.js";
import { until } from "../harness/processes.js";
import { type RawApi, type RawAnswer, rawApi } from "../harness/raw-api.js";
import { deploy, OWN } from "../harness/world.js";

const missing = planeMissing();
const SHOP = "shop";
const OTHER = "warehouse";

/** The admission policy of the chart: what Nightshift itself writes into its control ConfigMap, obeyed by a real API server. */
describe.skipIf(missing !== null)(
  `the kill switch at the API server${missing === null ? "" : ` (not run: ${missing})`}`,
  () => {
    let plane: Plane;
    let installed: Install;
    let hands: RawApi;
    let client: KubernetesClient;
    let control: ControlStore;
    const dir = mkdtempSync(join(tmpdir(), "nightshift-switch-"));

    beforeAll(async () => {
      plane = await startPlane();
      installed = await install(plane.kubeconfig, { dir, namespaces: { [SHOP]: ["a", "b"], [OTHER]: ["a", "b"] } });
      hands = rawApi(installed.hands);
      client = await createKubernetes({ kubeconfig: installed.hands, clock: systemClock });
      const admin = await createKubernetes({ kubeconfig: plane.kubeconfig, clock: systemClock });
      for (const namespace of [SHOP, OTHER]) {
        await deploy(admin, { namespace, name: "web", tag: "good" });
        await until("the pods", async () => (await admin.get(web(namespace)))?.status?.availableReplicas === 2);
      }
      await admin.create({
        apiVersion: "autoscaling/v2",
        kind: "HorizontalPodAutoscaler",
        metadata: { name: "web", namespace: SHOP },
        spec: { maxReplicas: 4, scaleTargetRef: { apiVersion: "apps/v1", kind: "Deployment", name: "web" } },
      });
      await admin.close();
      control = createControl(client, OWN);
    }, 120_000);

    afterAll(async () => {
      await Promise.allSettled([hands?.close(), client?.close(), installed?.close()]);
      await plane?.stop();
      rmSync(dir, { recursive: true, force: true });
    }, 60_000);

    const web = (namespace: string) => ({ apiVersion: "apps/v1", kind: "Deployment", namespace, name: "web" });
    const path = (namespace: string) => `/apis/apps/v1/namespaces/${namespace}/deployments/web`;
    const switchPath = `/api/v1/namespaces/${OWN}/configmaps/nightshift-control`;
    let count = 0;
    /** A change of the pod template, as every remedy of a Deployment makes one. */
    const write = (as: RawApi, namespace = SHOP) =>
      as.ask("PATCH", path(namespace), {
        spec: { template: { metadata: { annotations: { try: String((count += 1)) } } } },
      });
    const evict = async () => {
      const pods = await client.list({ apiVersion: "v1", kind: "Pod", namespace: SHOP });
      const name = pods.find((pod) => pod.metadata.deletionTimestamp === undefined)?.metadata.name ?? "";
      return hands.ask("POST", `/api/v1/namespaces/${SHOP}/pods/${name}/eviction?dryRun=All`, {
        apiVersion: "policy/v1",
        kind: "Eviction",
        metadata: { name, namespace: SHOP },
      });
    };

    /** The API server hears of a change a moment later. */
    async function becomes(status: number, attempt: () => Promise<RawAnswer>): Promise<RawAnswer> {
      let last: RawAnswer | null = null;
      await until(
        `an answer of ${status}`,
        async () => {
          last = await attempt();
          return last.status === status;
        },
        10_000,
      ).catch((error: unknown) => {
        throw new Error(`${String(error)}; last: ${last?.status} ${JSON.stringify(last?.body?.message)}`);
      });
      return last as unknown as RawAnswer;
    }
    const set = async (data: Record<string, string>) => {
      expect((await installed.admin.ask("PATCH", switchPath, { data })).status).toBe(200);
    };
    const paused = async () => {
      await set({ stop: "true", pauses: "[]" });
      await becomes(403, () => write(hands));
    };
    const running = async () => {
      await set({ stop: "false", pauses: "[]" });
      await becomes(200, () => write(hands));
    };

    it("hinders nobody's write before there is one", async () => {
      expect((await write(installed.admin)).status).toBe(200);
      await control.create();
      await becomes(200, () => write(hands));
    });

    it("refuses the writer while everything is paused, says why and what lifts it, and lets people write (H49)", async () => {
      await control.pause({ scope: "all", by: "ada", why: 'a "strange" \\ release, {"scope":"x"}', until: null });
      const no = await becomes(403, () => write(hands));

      expect(no.body.message).toContain(`Nightshift is paused and may not write: ConfigMap ${OWN}/nightshift-control`);
      expect(no.body.message).toContain('"by":"ada"');
      expect(no.body.message).toContain("`nightshift resume SCOPE` lifts it");
      expect((await write(installed.admin)).status).toBe(200);

      await control.resume("all");
      await becomes(200, () => write(hands));
    });

    it("refuses evictions and autoscalers as well", async () => {
      await running();
      expect((await evict()).status).toBe(201);
      await paused();

      expect((await evict()).status).toBe(403);
      const hpa = `/apis/autoscaling/v2/namespaces/${SHOP}/horizontalpodautoscalers/web`;
      expect((await hands.ask("PATCH", hpa, { spec: { maxReplicas: 5 } })).status).toBe(403);
      expect((await installed.admin.ask("PATCH", hpa, { spec: { maxReplicas: 5 } })).status).toBe(200);
    });

    it("is not touched by the head of the audit, which the hands keep beside it, paused or not (I6)", async () => {
      await paused();
      const head = { seq: 7, hash: "0f".repeat(32), id: "1-0", at: 1 };
      await createAuditHeads(client, OWN).change(async (kept) => ({ ...kept, heads: [head] }));

      expect(await createAuditHeads(client, OWN).read()).toMatchObject({ heads: [head] });
      expect((await installed.admin.ask("GET", switchPath)).body.data).toEqual({ stop: "true", pauses: "[]" });
      expect((await write(hands)).status).toBe(403);
      await running();
      expect(await createAuditHeads(client, OWN).read()).toMatchObject({ heads: [head] });
    });

    it("refuses in the paused namespace alone", async () => {
      await running();
      await control.pause({ scope: `namespace:${SHOP}`, by: "ada", why: "a change", until: null });
      // The second pause writes the first one anew, as it was read.
      await control.pause({ scope: "runbook:restart-pod", by: "ada", why: "a bug", until: null });

      await becomes(403, () => write(hands));
      expect((await write(hands, OTHER)).status).toBe(200);
      await control.resume(`namespace:${SHOP}`);
      await control.resume("runbook:restart-pod");
      await becomes(200, () => write(hands));
    });

    it("refuses where its cluster is paused", async () => {
      await running();
      await control.pause({ scope: "cluster:eu-1", by: "ada", why: "", until: null });
      await becomes(403, () => write(hands, OTHER));
      await control.resume("cluster:eu-1");
      await becomes(200, () => write(hands));
    });

    it.each([
      ["data.stop alone", { stop: "true", pauses: "[]" }, "`nightshift resume all` lifts it"],
      ["any other word", { stop: "yes please", pauses: "[]" }, "data.stop=yes please"],
      ["no list of pauses", { stop: "false", pauses: "nonsense" }, "in a form that Nightshift does not write"],
      ["an entry that is none", { stop: "false", pauses: '[{"scope":"all"}]' }, "does not write"],
      [
        "a pause written by hand, with spaces",
        {
          stop: "false",
          pauses:
            '[ { "scope": "runbook:x", "by": "b", "why": "w", "until": null },\n {"scope" : "all", "by":"","why":"","until": null}]',
        },
        '"scope" : "all"',
      ],
    ])("refuses on %s", async (_what, data, says) => {
      await running();
      await set(data);
      expect((await becomes(403, () => write(hands))).body.message).toContain(says);
    });

    it.each([
      ["a pause of a runbook: Nightshift itself keeps it", "runbook:restart-pod", null],
      ["a pause of another namespace whose name begins alike", "namespace:sho", null],
      ["a pause with an end: there is no clock at the API server", "all", 4_000_000_000_000],
    ])("does not refuse on %s", async (_what, scope, until) => {
      await paused();
      await set({ stop: "false", pauses: "[]" });
      await control.pause({ scope, by: "ada", why: '"scope":"all","until":null', until });
      await becomes(200, () => write(hands));
    });

    it("lets a Lease be taken away while everything is paused: its fence passes, and nothing that rides on one (H49 I3)", async () => {
      await running();
      const leases = createLeaseStore(client, OWN, { clock: systemClock, durationSeconds: 35 });
      const live = await client.get(web(SHOP));
      if (live === null) throw new Error("no Deployment");
      const open = {
        key: "0123456789abcdef0123456789abcdef",
        object: { ...web(SHOP), uid: live.metadata.uid },
        resourceVersion: live.metadata.resourceVersion,
        generation: live.metadata.generation ?? 0,
        at: new Date().toISOString(),
      };
      await leases.write("nightshift-t-switch", null, {
        holder: "frozen",
        token: 1,
        ledger: { ...structuredClone(emptyLedger), open },
      });
      await paused();

      expect(await revokeLeases(leases, client, () => true)).toBe(1);

      expect(await leases.read("nightshift-t-switch")).toMatchObject({ holder: "", token: 2 });
      const fenced = await client.get(web(SHOP));
      expect(fenced?.metadata.annotations?.["nightshift.dev/fence"]).toMatch(/^2 revoked \d+ 1 void$/);
      const riding = [
        { metadata: { annotations: { "nightshift.dev/fence": "3", other: "x" } } },
        { metadata: { annotations: { "nightshift.dev/fence": "3", RELEASE: null }, labels: { team: "x" } } },
        { metadata: { annotations: { "nightshift.dev/fence": "3" }, finalizers: ["x.example/y"] } },
        { metadata: { annotations: { "nightshift.dev/fence": "3", "deployment.kubernetes.io/revision": null } } },
        { metadata: { annotations: { "nightshift.dev/fence": "3" } }, spec: { replicas: 1 } },
      ];
      for (const body of riding)
        expect([body, (await hands.ask("PATCH", path(SHOP), body)).status]).toEqual([body, 403]);
      expect((await client.get(web(SHOP)))?.metadata.annotations?.["nightshift.dev/fence"]).toMatch(
        /^2 revoked \d+ 1 void$/,
      );
    });

    it("cannot be deleted by anybody while it is installed, alone or among others", async () => {
      const no = await installed.admin.ask("DELETE", switchPath);
      expect([no.status, no.body.message]).toEqual([403, expect.stringContaining('set data.stop to "true" in it')]);
      const all = await installed.admin.ask("DELETE", `/api/v1/namespaces/${OWN}/configmaps`);
      expect(all.status).toBe(403);
      expect((await installed.admin.ask("GET", switchPath)).status).toBe(200);
      // Other ConfigMaps of that name are nobody's business.
      const elsewhere = `/api/v1/namespaces/${OTHER}/configmaps`;
      await installed.admin.ask("POST", elsewhere, { metadata: { name: "nightshift-control" } });
      expect((await installed.admin.ask("DELETE", `${elsewhere}/nightshift-control`)).status).toBe(200);
    });

    it("goes with its namespace, and then hinders nobody", async () => {
      // Only a control plane of our own: nobody else's namespace is taken away.
      if (plane.dir === null) return;
      await paused();
      expect((await installed.admin.ask("DELETE", `/api/v1/namespaces/${OWN}`)).status).toBe(200);
      await until("its end", async () => (await installed.admin.ask("GET", switchPath)).status === 404);
      expect((await write(installed.admin)).status).toBe(200);
    }, 60_000);
  },
);
