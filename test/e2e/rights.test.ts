import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { examine } from "../../src/cli/doctor.js";
import { planeMissing, type Plane, startPlane } from "../cluster/plane.js";
import { type Install, install } from "../harness/install.js";
import { alertmanagerProgram, until } from "../harness/processes.js";
import { type RawApi, rawApi } from "../harness/raw-api.js";
import { badRelease, deploy, errorRate, OWN, startWorld, testPolicy, type World } from "../harness/world.js";

const missing = planeMissing() ?? (alertmanagerProgram() === null ? "no Alertmanager on this machine" : null);
const OPEN = "shop";
const WATCHED = "observed";
const APPROVE = "    autonomy: approve\n    approval: { from: ['slack-group:sre'], count: 1, expires: 10m }";

/** The manifest of deploy/ on a real API server: what its two identities may do, and what they may not. */
describe.skipIf(missing !== null)(`the chart's rights${missing === null ? "" : ` (not run: ${missing})`}`, () => {
  let plane: Plane;
  let installed: Install;
  let world: World;
  let hands: RawApi;
  let front: RawApi;
  let person: RawApi;
  const dir = mkdtempSync(join(tmpdir(), "nightshift-rights-"));
  const sick = new Set<string>();

  beforeAll(async () => {
    plane = await startPlane();
    installed = await install(plane.kubeconfig, { dir, namespaces: { [OPEN]: ["a", "b"], [WATCHED]: [] } });
    person = installed.admin;
    hands = rawApi(installed.hands);
    front = rawApi(installed.front);
    world = await startWorld({
      kubeconfig: plane.kubeconfig,
      policy: testPolicy([OPEN, WATCHED], APPROVE),
      apart: { front: installed.front, hands: installed.hands },
    });
    errorRate(
      world.prometheus,
      ({ service }) => (sick.has(service) ? 0.4 : 0),
      ["one", "two"].map((service) => ({ namespace: service === "two" ? WATCHED : OPEN, service })),
    );
    await deploy(world.k, { namespace: OPEN, name: "web", tag: "good" });
    await deploy(world.k, { namespace: WATCHED, name: "web", tag: "good" });
    for (const namespace of [OPEN, WATCHED])
      await until("the pods", async () => (await world.k.get(webIn(namespace)))?.status?.availableReplicas === 2);
  }, 120_000);

  afterAll(async () => {
    await world?.stop();
    await Promise.allSettled([hands?.close(), front?.close(), installed?.close()]);
    await plane?.stop();
    rmSync(dir, { recursive: true, force: true });
  }, 60_000);

  const webIn = (namespace: string) => ({ apiVersion: "apps/v1", kind: "Deployment", namespace, name: "web" });
  const web = (namespace: string) => `/apis/apps/v1/namespaces/${namespace}/deployments/web`;
  const control = `/api/v1/namespaces/${OWN}/configmaps/nightshift-control`;

  /** What the API server itself says that an identity may do in a namespace, without what every identity may. */
  async function rules(of: RawApi, namespace: string): Promise<string[]> {
    const answer = await of.ask("POST", "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews", {
      apiVersion: "authorization.k8s.io/v1",
      kind: "SelfSubjectRulesReview",
      spec: { namespace },
    });
    expect(answer.status).toBe(201);
    const found = answer.body.status.resourceRules as {
      verbs: string[];
      apiGroups: string[];
      resources: string[];
      resourceNames?: string[];
    }[];
    return found
      .flatMap((rule) =>
        rule.verbs.flatMap((verb) =>
          rule.resources.map(
            (resource) => `${verb} ${resource}${rule.resourceNames ? ` ${rule.resourceNames.join(",")}` : ""}`,
          ),
        ),
      )
      .filter((rule) => !/ selfsubject/.test(rule))
      .sort();
  }

  const READS = [
    "get configmaps",
    "get cronjobs",
    "get daemonsets",
    "get deployments",
    "get horizontalpodautoscalers",
    "get ingresses",
    "get jobs",
    "get persistentvolumeclaims",
    "get pods",
    "get pods/log",
    "get replicasets",
    "get services",
    "get statefulsets",
    "list daemonsets",
    "list deployments",
    "list endpointslices",
    "list events",
    "list horizontalpodautoscalers",
    "list poddisruptionbudgets",
    "list pods",
    "list replicasets",
    "list resourcequotas",
    "list rollouts",
    "list scaledobjects",
    "list services",
    "list statefulsets",
  ];
  const CLUSTER = ["get namespaces", "get nodes", "list nodes", "list pods"];
  const CLASS_A = ["daemonsets", "deployments", "horizontalpodautoscalers", "statefulsets"].map(
    (one) => `patch ${one}`,
  );
  const CLASS_B = ["create pods/eviction"];
  const set = (...lists: string[][]) => [...new Set(lists.flat())].sort();

  it("are what the runbooks write where the owner bound both classes, and nothing else (H43)", async () => {
    expect(set(await rules(hands, OPEN))).toEqual(set(READS, CLUSTER, CLASS_A, CLASS_B));
  });

  it("are reads alone where no class is bound, and for the front everywhere", async () => {
    const review = ["create subjectaccessreviews"];
    expect(set(await rules(hands, WATCHED))).toEqual(set(READS, CLUSTER));
    expect(set(await rules(front, WATCHED))).toEqual(set(READS, CLUSTER, review));
    expect(set(await rules(front, OPEN))).toEqual(set(READS, CLUSTER, review));
  });

  it("are nodes, namespaces and whether there is room in every other namespace", async () => {
    expect(set(await rules(hands, "default"))).toEqual(set(CLUSTER));
    expect(set(await rules(hands, "kube-system"))).toEqual(set(CLUSTER));
  });

  it("are Leases and the kill switch in the own namespace", async () => {
    const ofSwitch = ["get configmaps nightshift-control", "update configmaps nightshift-control"];
    const leases = ["create", "get", "list", "update"].map((verb) => `${verb} leases`);
    expect(set(await rules(hands, OWN))).toEqual(set(CLUSTER, leases, ofSwitch, ["create configmaps"]));
    expect(set(await rules(front, OWN))).toEqual(
      set(CLUSTER, ["get leases", "list leases"], ofSwitch, ["create subjectaccessreviews"]),
    );
  });

  const podIn = async (namespace: string) =>
    (await world.k.list({ apiVersion: "v1", kind: "Pod", namespace }))[0]?.metadata.name ?? "";
  const minimalPod = { apiVersion: "v1", kind: "Pod", metadata: { name: "x" }, spec: { containers: [] } };
  const replicas = { spec: { replicas: 2 } };

  it.each<[string, (as: { hands: RawApi; front: RawApi }) => Promise<{ status: number }>]>([
    ["the writer lists Secrets", ({ hands }) => hands.ask("GET", `/api/v1/namespaces/${OPEN}/secrets`)],
    ["the writer reads a Secret", ({ hands }) => hands.ask("GET", `/api/v1/namespaces/${OPEN}/secrets/any`)],
    ["the front reads its own Secret", ({ front }) => front.ask("GET", `/api/v1/namespaces/${OWN}/secrets/nightshift`)],
    ["the writer deletes a Deployment", ({ hands }) => hands.ask("DELETE", web(OPEN))],
    [
      "the writer deletes a pod past its budget",
      async ({ hands }) => hands.ask("DELETE", `/api/v1/namespaces/${OPEN}/pods/${await podIn(OPEN)}`),
    ],
    ["the writer makes a pod", ({ hands }) => hands.ask("POST", `/api/v1/namespaces/${OPEN}/pods`, minimalPod)],
    [
      "the writer runs a command in a pod",
      async ({ hands }) =>
        hands.ask("POST", `/api/v1/namespaces/${OPEN}/pods/${await podIn(OPEN)}/exec?command=id&container=main`),
    ],
    ["the writer writes where no class is bound", ({ hands }) => hands.ask("PATCH", web(WATCHED), replicas)],
    [
      "the writer evicts where no class is bound",
      async ({ hands }) => {
        const name = await podIn(WATCHED);
        return hands.ask("POST", `/api/v1/namespaces/${WATCHED}/pods/${name}/eviction`, {
          apiVersion: "policy/v1",
          kind: "Eviction",
          metadata: { name, namespace: WATCHED },
        });
      },
    ],
    ["the writer scales past the annotations", ({ hands }) => hands.ask("PATCH", `${web(OPEN)}/scale`, replicas)],
    [
      "the writer replaces its own policy",
      ({ hands }) =>
        hands.ask("PUT", `/api/v1/namespaces/${OWN}/configmaps/nightshift-policy`, {
          apiVersion: "v1",
          kind: "ConfigMap",
          metadata: { name: "nightshift-policy" },
        }),
    ],
    [
      "the writer binds itself a role",
      ({ hands }) =>
        hands.ask("POST", `/apis/rbac.authorization.k8s.io/v1/namespaces/${WATCHED}/rolebindings`, {
          metadata: { name: "mine" },
          roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: "nightshift-class-a" },
          subjects: [{ kind: "ServiceAccount", name: "nightshift-hands", namespace: OWN }],
        }),
    ],
    ["the writer deletes the kill switch", ({ hands }) => hands.ask("DELETE", control)],
    ["the front writes a workload", ({ front }) => front.ask("PATCH", web(OPEN), replicas)],
    [
      "the front writes a Lease",
      ({ front }) =>
        front.ask("POST", `/apis/coordination.k8s.io/v1/namespaces/${OWN}/leases`, { metadata: { name: "x" } }),
    ],
  ])("%s: forbidden (H43)", async (_what, attempt) => {
    expect((await attempt({ hands, front })).status).toBe(403);
  });

  it("let its own pods start in a namespace that enforces restricted pod security", async () => {
    for (const name of ["nightshift-front", "nightshift-hands"]) {
      const ref = { apiVersion: "apps/v1", kind: "Deployment", namespace: OWN, name };
      await until(`${name}'s pods`, async () => (await world.k.get(ref))?.status?.availableReplicas === 2);
    }
    const refused = await person.ask("POST", `/api/v1/namespaces/${OWN}/pods`, {
      metadata: { name: "free" },
      spec: { containers: [{ name: "free", image: "registry.example/free:v1" }] },
    });
    expect([refused.status, refused.body.message]).toEqual([403, expect.stringContaining("restricted")]);
  });

  it.each<[string, () => Record<string, string>]>([
    ["both identities", () => ({ KUBECONFIG: installed.front, KUBECONFIG_HANDS: installed.hands })],
    ["the hands' own pod", () => ({ KUBECONFIG: installed.hands, NIGHTSHIFT_ROLE: "hands" })],
  ])(
    "leave doctor nothing to find, asked with %s",
    async (_what, identities) => {
      const { NIGHTSHIFT_WEBHOOK_TOKEN: token = "", ...env } = world.env;
      const more = identities();
      const findings = await examine({
        ...env,
        ...more,
        ...(more["NIGHTSHIFT_ROLE"] === "hands" ? {} : { NIGHTSHIFT_WEBHOOK_TOKEN: token }),
      });

      const rights = findings.filter((one) => /configuration|rights|namespace|cluster|kill switch/.test(one.check));
      expect(rights.length).toBeGreaterThan(5);
      // The watched namespace is named with what its owner has to do: a rule acts there and nothing is bound.
      const wrong = rights.filter((one) => one.level !== "ok");
      expect(wrong).toEqual([
        expect.objectContaining({ check: `namespace ${WATCHED}`, says: expect.stringContaining("not bound") }),
      ]);
      expect(wrong[0]?.how).toContain(`--clusterrole=nightshift-class-a --serviceaccount=${OWN}:nightshift-hands`);
    },
    60_000,
  );

  const labels = (namespace: string, service: string) => ({
    alertname: "HighErrorRate",
    namespace,
    service,
    severity: "critical",
  });

  it("are enough for front and hands apart: asked by the one, carried out by the other (I1)", async () => {
    await badRelease(world.k, { namespace: OPEN, name: "one" });
    sick.add("one");
    await world.fire(labels(OPEN, "one"));
    const ask = await world.incident(
      "an ask",
      (r) => r.target?.name === "one" && r.state === "waiting" && r.slack !== null,
    );
    const shown = world.slack.messages.find((m) => m.ts === ask.slack?.ts && m.threadTs === null);
    if (shown === undefined) throw new Error("no message");
    await world.slack.press(shown, "approve", { user: "U1" });
    await world.until("the rollback", async () => {
      const live = await world.k.get({ ...webIn(OPEN), name: "one" });
      return String(live?.spec.template.spec.containers[0].image).endsWith(":good");
    });
    sick.delete("one");
    await world.resolve(labels(OPEN, "one"));
    await world.incident("the end", (r) => r.target?.name === "one" && r.state === "remediated");

    const wrote = plane
      .auditLog()
      .filter((line) => line.objectRef?.resource === "deployments" && line.objectRef.name === "one")
      .filter((line) => line.userAgent === "nightshift" && line.verb === "patch");
    if (plane.dir !== null)
      expect([...new Set(wrote.map((line) => line.user?.username))]).toEqual([
        `system:serviceaccount:${OWN}:nightshift-hands`,
      ]);
  }, 120_000);

  it("hold a plan where the owner has not opened the namespace, and page (H43)", async () => {
    await badRelease(world.k, { namespace: WATCHED, name: "two" });
    sick.add("two");
    await world.fire(labels(WATCHED, "two"));
    const held = await world.incident("the hold", (r) => r.target?.name === "two" && r.state === "held");

    expect(held).toMatchObject({ reason: "not-bound", says: expect.stringContaining("patch deployments") });
    await until("the page", async () => world.pager.alerts.some((a) => a.dedupKey === held.dedupKey));
  }, 60_000);
});
