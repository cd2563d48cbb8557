import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { loadRunbooks } from "../../src/plan/registry.js";
import type { IncidentRecord } from "../../src/record/incident.js";
import { type AuditLine, planeMissing, type Plane, startPlane } from "../cluster/plane.js";
import { alertmanagerProgram, until } from "../harness/processes.js";
import { type Install, install } from "../harness/install.js";
import { badRelease, startWorld, testPolicy, type World } from "../harness/world.js";

const missing = planeMissing() ?? (alertmanagerProgram() === null ? "no Alertmanager on this machine" : null);
const NAMESPACE = "catalogue";

const RULES = `    autonomy: auto
  - { name: slow, match: ['alertname="HighResponseTime"'], runbook: scale-deployment, autonomy: auto, target: { kind: Deployment, namespace: $labels.namespace, name: $labels.name } }
  - { name: stuck, match: ['alertname="Stuck"', 'kind="Deployment"'], runbook: restart-workload, autonomy: auto, target: { kind: Deployment, namespace: $labels.namespace, name: $labels.name } }
  - { name: stuck-set, match: ['alertname="Stuck"', 'kind="StatefulSet"'], runbook: restart-workload, autonomy: auto, target: { kind: StatefulSet, namespace: $labels.namespace, name: $labels.name } }
  - { name: stuck-agents, match: ['alertname="Stuck"', 'kind="DaemonSet"'], runbook: restart-workload, autonomy: auto, target: { kind: DaemonSet, namespace: $labels.namespace, name: $labels.name } }
  - { name: sick-pod, match: ['alertname="KubePodNotReady"'], runbook: restart-pod, autonomy: approve, approval: { from: ['slack-group:sre'], count: 1, expires: 10m }, target: { from: pod, namespace: $labels.namespace, name: $labels.pod } }
  - { name: look-at-pods, match: ['alertname="LookPods"'], runbook: diagnose-pods, target: { kind: Deployment, namespace: $labels.namespace, name: $labels.name } }
  - { name: look-at-latency, match: ['alertname="LookLatency"'], runbook: diagnose-latency, target: { kind: Deployment, namespace: $labels.namespace, name: $labels.name } }
  - { name: look-at-health, match: ['alertname="LookHealth"'], runbook: check-health, target: { kind: Deployment, namespace: $labels.namespace, name: $labels.name } }`;

/** What each runbook does to a real API server with the rights that the chart gives and no more; the audit log counts. */
describe.skipIf(missing !== null)(
  `the catalogue on a real API server${missing === null ? "" : ` (not run: ${missing})`}`,
  () => {
    let plane: Plane;
    let installed: Install;
    let world: World;
    const dir = mkdtempSync(join(tmpdir(), "nightshift-catalogue-"));
    const firing = new Set<string>();

    beforeAll(async () => {
      plane = await startPlane();
      installed = await install(plane.kubeconfig, { dir, namespaces: { [NAMESPACE]: ["a", "b"] } });
      world = await startWorld({
        kubeconfig: plane.kubeconfig,
        policy: testPolicy([NAMESPACE], RULES),
        app: { evictEveryMs: 1000 },
        env: { KUBECONFIG: installed.front, KUBECONFIG_HANDS: installed.hands },
      });
      // One gauge per object stands for what is wrong with it: 1 while it is.
      for (const name of ["HighErrorRate", "HighResponseTime", "Stuck", "KubePodNotReady"])
        world.prometheus.rules.push({ name, query: `sick_${name.toLowerCase()} > 0` });
      world.prometheus.answer((expr) =>
        expr.startsWith("sick_")
          ? [...firing].map((key) => ({ metric: JSON.parse(key) as Record<string, string>, value: 1 })).concat(gone())
          : null,
      );
    }, 120_000);

    afterAll(async () => {
      await world?.stop();
      await installed?.close();
      await plane?.stop();
      rmSync(dir, { recursive: true, force: true });
    }, 60_000);

    const mended = new Set<string>();
    const gone = () => [...mended].map((key) => ({ metric: JSON.parse(key) as Record<string, string>, value: 0 }));

    async function workload(
      kind: "Deployment" | "StatefulSet" | "DaemonSet",
      name: string,
      replicas = 3,
    ): Promise<void> {
      const labels = { app: name };
      const template = {
        metadata: { labels },
        spec: {
          containers: [
            { name: "main", image: `registry.example/${name}:v1`, resources: { requests: { cpu: "100m" } } },
          ],
        },
      };
      await world.k.create({
        apiVersion: "apps/v1",
        kind,
        metadata: { name, namespace: NAMESPACE },
        spec: {
          selector: { matchLabels: labels },
          template,
          ...(kind === "DaemonSet" ? {} : { replicas }),
          ...(kind === "StatefulSet" ? { serviceName: name, podManagementPolicy: "Parallel" } : {}),
        },
      });
      await until(`${kind} ${name}`, async () => {
        const { status } = (await world.k.get(ref(kind, name))) ?? {};
        if (kind === "DaemonSet")
          return status?.numberAvailable > 0 && status.numberAvailable === status.desiredNumberScheduled;
        return status?.availableReplicas === replicas;
      });
    }

    const ref = (kind: string, name: string, apiVersion = "apps/v1") => ({
      apiVersion,
      kind,
      namespace: NAMESPACE,
      name,
    });
    const of = (name: string) => (record: IncidentRecord) => record.target?.name === name;

    async function fire(labels: Record<string, string>): Promise<void> {
      const all = { namespace: NAMESPACE, severity: "critical", ...labels };
      firing.add(JSON.stringify(all));
      await world.fire(all);
    }

    /** The cause is gone as soon as `when` says so: what Prometheus and Alertmanager would then do. */
    async function mendedWhen(labels: Record<string, string>, when: () => Promise<boolean>): Promise<void> {
      const all = { namespace: NAMESPACE, severity: "critical", ...labels };
      await world.until("the mending", when);
      firing.delete(JSON.stringify(all));
      mended.add(JSON.stringify(all));
      await world.resolve(all);
    }

    /** Writes of ours that the API server took, fences and dry runs apart. */
    function effects(resource: string, name: string): AuditLine[] {
      return plane
        .auditLog()
        .filter(
          (line) =>
            line.objectRef?.resource === resource &&
            line.objectRef.name === name &&
            ["patch", "create", "update", "delete"].includes(line.verb) &&
            line.userAgent === "nightshift" &&
            !line.requestURI.includes("dryRun") &&
            !JSON.stringify(line.requestObject ?? {}).includes("dryRun") &&
            (line.responseStatus?.code ?? 500) < 300,
        );
    }
    const counted = (resource: string, name: string, count: number) => {
      if (plane.dir !== null) expect(effects(resource, name)).toHaveLength(count);
    };

    const approve = async (record: IncidentRecord) => {
      const shown = await until("the ask", async () =>
        world.slack.messages.find((m) => m.ts === record.slack?.ts && m.threadTs === null),
      );
      await world.slack.press(shown, "approve", { user: "U1" });
    };

    it("has a rule for every runbook that there is", async () => {
      const ruled = [...testPolicy([NAMESPACE], RULES).matchAll(/runbook: ([a-z-]+)/g)].map(([, name]) => name);
      expect(new Set(ruled)).toEqual(new Set((await loadRunbooks()).keys()));
    });

    it("rolls a Deployment back (I1)", async () => {
      const service = "bad-release";
      const labels = { alertname: "HighErrorRate", service };
      await badRelease(world.k, { namespace: NAMESPACE, name: service });

      await fire(labels);
      await mendedWhen(labels, async () =>
        String((await world.k.get(ref("Deployment", service)))?.spec?.template.spec.containers[0].image).endsWith(
          ":good",
        ),
      );
      await world.incident("the end", (r) => of(service)(r) && r.state === "remediated");

      counted("deployments", service, 1);
    }, 120_000);

    it.each([["LookPods"], ["LookLatency"], ["LookHealth"]])(
      "looks without being refused anything: %s",
      async (alertname) => {
        const name = alertname.toLowerCase();
        await workload("Deployment", name, 2);
        await fire({ alertname, name });
        const held = await world.incident("the facts", (r) => of(name)(r) && r.state === "held");

        expect(held).toMatchObject({ reason: "diagnosis", diagnosis: { headline: expect.anything() } });
        expect(held.diagnosis?.headline.length).toBeGreaterThan(0);
        expect(JSON.stringify([held.diagnosis, held.says, held.timeline])).not.toMatch(
          /no diagnosis|forbidden|no right|\b403\b|may not/i,
        );
        counted("deployments", name, 0);
      },
      60_000,
    );

    it("scales a Deployment by its own replicas, proved by pods in service (H12 I1)", async () => {
      await workload("Deployment", "slow-one", 4);
      await world.k.create({
        apiVersion: "v1",
        kind: "Service",
        metadata: { name: "slow-one", namespace: NAMESPACE },
        spec: { selector: { app: "slow-one" }, ports: [{ port: 80 }] },
      });
      const labels = { alertname: "HighResponseTime", name: "slow-one" };

      await fire(labels);
      await mendedWhen(
        labels,
        async () => (await world.k.get(ref("Deployment", "slow-one")))?.status?.availableReplicas === 5,
      );
      const done = await world.incident("the end", (r) => of("slow-one")(r) && r.state === "remediated");

      expect(done.plan?.sentence).toBe(`Scale Deployment ${NAMESPACE}/slow-one from 4 to 5`);
      counted("deployments", "slow-one", 1);
    }, 120_000);

    it("raises the ceiling of the autoscaler, and never writes the Deployment (H14 I1)", async () => {
      await workload("Deployment", "slow-two", 4);
      const hpa = ref("HorizontalPodAutoscaler", "slow-two", "autoscaling/v2");
      const resource = { name: "cpu", target: { type: "Utilization", averageUtilization: 70 } };
      await world.k.create({
        apiVersion: "autoscaling/v2",
        kind: "HorizontalPodAutoscaler",
        metadata: { name: "slow-two", namespace: NAMESPACE },
        spec: {
          minReplicas: 1,
          maxReplicas: 4,
          scaleTargetRef: { apiVersion: "apps/v1", kind: "Deployment", name: "slow-two" },
          metrics: [{ type: "Resource", resource }],
        },
      });
      const labels = { alertname: "HighResponseTime", name: "slow-two" };

      await fire(labels);
      await world.until("the effect", async () => (await world.k.get(hpa))?.spec?.maxReplicas === 5);
      // There are no metrics for it to act on here: what an autoscaler would do now is done for it.
      await world.k.mergePatch(ref("Deployment", "slow-two"), { spec: { replicas: 5 } });
      await mendedWhen(
        labels,
        async () => (await world.k.get(ref("Deployment", "slow-two")))?.status?.availableReplicas === 5,
      );
      await world.incident("the end", (r) => of("slow-two")(r) && r.state === "remediated");

      counted("horizontalpodautoscalers", "slow-two", 1);
      counted("deployments", "slow-two", 0);
    }, 120_000);

    it("takes a scaling back that did not help, and pages (H12 H29)", async () => {
      await workload("Deployment", "slow-three", 2);
      const labels = { alertname: "HighResponseTime", name: "slow-three" };

      await fire(labels);
      await world.until(
        "the effect",
        async () => (await world.k.get(ref("Deployment", "slow-three")))?.spec?.replicas === 3,
      );
      // Somebody else's quota, a broken node: the new pod never comes; the controller says so.
      await world.k.mergePatch(ref("Deployment", "slow-three"), { spec: { replicas: 2 } });
      const held = await world.incident("the end", (r) => of("slow-three")(r) && r.state === "held");

      expect(held.says + held.timeline.map((t) => t.says).join("\n")).toMatch(/expected replicas 3, found 2/);
      await until("the page", async () => world.pager.alerts.some((a) => a.dedupKey === held.dedupKey));
      expect((await world.k.get(ref("Deployment", "slow-three")))?.spec?.replicas).toBe(2);
      counted("deployments", "slow-three", 1);
    }, 120_000);

    it.each([
      ["Deployment", "deployments"],
      ["DaemonSet", "daemonsets"],
    ] as const)(
      "restarts a %s with one write of its template (I1)",
      async (kind, resource) => {
        const name = `stuck-${kind.toLowerCase()}`;
        await workload(kind, name);
        const before = new Set((await podsOf(name)).map((pod) => pod.metadata.uid));
        const labels = { alertname: "Stuck", kind, name };

        await fire(labels);
        await mendedWhen(labels, async () => {
          const now = await podsOf(name);
          return now.length === before.size && now.every((pod) => !before.has(pod.metadata.uid));
        });
        const done = await world.incident("the end", (r) => of(name)(r) && r.state === "remediated");

        expect(done.run?.steps.map((s) => s.name)).toEqual(["restart"]);
        counted(resource, name, 1);
      },
      120_000,
    );

    it("asks before it restarts a StatefulSet, whatever the rule's autonomy is (H19)", async () => {
      await workload("StatefulSet", "members");
      const before = new Set((await podsOf("members")).map((pod) => pod.metadata.uid));
      const labels = { alertname: "Stuck", kind: "StatefulSet", name: "members" };

      await fire(labels);
      const ask = await world.incident("an ask", (r) => of("members")(r) && r.state === "waiting" && r.slack !== null);
      expect(ask.plan?.loses).toContain("each member's memory");
      counted("statefulsets", "members", 0);
      await approve(ask);
      await mendedWhen(labels, async () => {
        const now = await podsOf("members");
        return now.length === before.size && now.every((pod) => !before.has(pod.metadata.uid));
      });
      await world.incident("the end", (r) => of("members")(r) && r.state === "remediated");

      counted("statefulsets", "members", 1);
    }, 120_000);

    const podsOf = (app: string) =>
      world.k.list({ apiVersion: "v1", kind: "Pod", namespace: NAMESPACE, labelSelector: `app=${app}` });

    it("evicts the one pod once its disruption budget allows it; 429 is an answer (H23 I1)", async () => {
      await workload("Deployment", "tight", 2);
      const budget = ref("PodDisruptionBudget", "tight", "policy/v1");
      await world.k.create({
        apiVersion: "policy/v1",
        kind: "PodDisruptionBudget",
        metadata: { name: "tight", namespace: NAMESPACE },
        spec: { minAvailable: 2, selector: { matchLabels: { app: "tight" } } },
      });
      await until("the budget", async () => ((await world.k.get(budget))?.status?.expectedPods ?? 0) === 2);
      const [pod, other] = await podsOf("tight");
      const labels = { alertname: "KubePodNotReady", pod: pod?.metadata.name ?? "" };

      await fire(labels);
      const ask = await world.incident("an ask", (r) => of("tight")(r) && r.state === "waiting" && r.slack !== null);
      expect(ask.plan?.dryRun).toContain("a disruption budget does not allow it at this moment");
      await approve(ask);
      await until(
        "a refused eviction",
        async () =>
          plane.dir === null ||
          plane
            .auditLog()
            .some(
              (line) =>
                line.objectRef?.subresource === "eviction" &&
                line.responseStatus?.code === 429 &&
                !JSON.stringify(line.requestObject ?? {}).includes("dryRun"),
            ),
      );
      expect((await podsOf("tight")).map((one) => one.metadata.uid)).toContain(pod?.metadata.uid);

      await world.k.mergePatch(budget, { spec: { minAvailable: 1 } });
      await mendedWhen(
        labels,
        async () => !(await podsOf("tight")).some((one) => one.metadata.uid === pod?.metadata.uid),
      );
      await world.incident("the end", (r) => of("tight")(r) && r.state === "remediated");
      expect((await podsOf("tight")).map((one) => one.metadata.uid)).toContain(other?.metadata.uid);
      counted("pods", pod?.metadata.name ?? "", 1);
    }, 120_000);
  },
);
