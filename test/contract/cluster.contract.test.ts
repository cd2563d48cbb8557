import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { Raw } from "../../sandbox/kubernetes/kinds.js";
import {
  type Answer,
  candidates,
  deployment,
  freshNamespace,
  JSON_PATCH,
  kubectlMissing,
  MERGE_PATCH,
  STRATEGIC_PATCH,
  type Subject,
  until,
} from "./cluster/subject.js";

/** What Nightshift relies on in an API server, asked of the stand-in and of a real control plane in raw HTTP. */

const REVISION = "deployment.kubernetes.io/revision";
const HISTORY = "deployment.kubernetes.io/revision-history";

for (const { title, missing, start } of candidates) {
  describe.skipIf(missing !== null)(
    `the API server: ${title}${missing === null ? "" : ` (skipped: ${missing})`}`,
    { timeout: 60_000 },
    () => {
      let api: Subject;
      let ns = "";
      let deployments = "";
      beforeAll(async () => {
        api = await start();
      }, 90_000);
      afterAll(async () => {
        await api?.stop();
      }, 30_000);
      beforeEach(async () => {
        ns = await freshNamespace(api);
        deployments = `/apis/apps/v1/namespaces/${ns}/deployments`;
      });

      afterEach(async () => {
        await api.call("DELETE", `/api/v1/namespaces/${ns}`);
      });

      const create = async (object: Raw): Promise<Raw> => {
        const made = await api.call("POST", deployments, object);
        expect(made.status, made.text).toBe(201);
        return made.body;
      };
      const get = async (name: string): Promise<Raw> => (await api.call("GET", `${deployments}/${name}`)).body;
      const merge = (name: string, body: unknown, query = "") =>
        api.call("PATCH", `${deployments}/${name}${query}`, body, MERGE_PATCH);
      const ops = (name: string, body: unknown, query = "") =>
        api.call("PATCH", `${deployments}/${name}${query}`, body, JSON_PATCH);
      const sets = async (): Promise<Raw[]> =>
        (await api.call("GET", `/apis/apps/v1/namespaces/${ns}/replicasets`)).body.items;
      const pods = async (query = ""): Promise<Raw[]> =>
        (await api.call("GET", `/api/v1/namespaces/${ns}/pods${query}`)).body.items;
      const image = (name: string, to: string) =>
        api.call(
          "PATCH",
          `${deployments}/${name}`,
          { spec: { template: { spec: { containers: [{ name: "app", image: to }] } } } },
          STRATEGIC_PATCH,
        );
      /** Until the controllers have seen the present generation and every replica is new and available. */
      const rolledOut = (name: string) =>
        until(`rollout of ${name}`, async () => {
          const { metadata, spec, status } = await get(name);
          const seen = status.observedGeneration === metadata.generation;
          const whole =
            status.updatedReplicas === spec.replicas &&
            status.replicas === spec.replicas &&
            status.availableReplicas === spec.replicas;
          return seen && whole ? get(name) : null;
        });
      /** Until nothing writes the Deployment's status any more. */
      const settled = async (name: string): Promise<Raw> => {
        await rolledOut(name);
        return until(`${name} at rest`, async () => {
          const before = await get(name);
          const progressing = (before.status.conditions as Raw[]).find((one) => one.type === "Progressing");
          return progressing?.reason === "NewReplicaSetAvailable" ? before : null;
        });
      };
      const configMaps = () => `/api/v1/namespaces/${ns}/configmaps`;
      const leases = () => `/apis/coordination.k8s.io/v1/namespaces/${ns}/leases`;
      const lease = (holder: string, resourceVersion?: string): Raw => ({
        apiVersion: "coordination.k8s.io/v1",
        kind: "Lease",
        metadata: { name: "l", namespace: ns, ...(resourceVersion === undefined ? {} : { resourceVersion }) },
        spec: {
          holderIdentity: holder,
          leaseDurationSeconds: 15,
          leaseTransitions: 1,
          renewTime: "2026-01-01T00:00:00.000000Z",
        },
      });
      const status = (answer: Answer) => ({ http: answer.status, ...answer.body });
      const conflictOn = (name: string) => ({
        http: 409,
        kind: "Status",
        apiVersion: "v1",
        metadata: {},
        status: "Failure",
        message: `Operation cannot be fulfilled on deployments.apps "${name}": the object has been modified; please apply your changes to the latest version and try again`,
        reason: "Conflict",
        details: { name, group: "apps", kind: "deployments" },
        code: 409,
      });

      describe("objects", () => {
        it("fills in defaults, a UID, generation 1 and drops what the spec does not know", async () => {
          const made = await create(deployment("web", { spec: { nonsense: true } }));
          expect(made.metadata).toMatchObject({
            name: "web",
            namespace: ns,
            generation: 1,
            uid: expect.stringMatching(/^[0-9a-f-]{36}$/),
          });
          expect(made.spec).toMatchObject({
            strategy: { type: "RollingUpdate", rollingUpdate: { maxUnavailable: "25%", maxSurge: "25%" } },
            revisionHistoryLimit: 10,
            progressDeadlineSeconds: 600,
          });
          expect(made.spec).not.toHaveProperty("nonsense");
          expect(made.spec.template.spec.containers[0]).toMatchObject({
            imagePullPolicy: "IfNotPresent",
            terminationMessagePolicy: "File",
          });
        });

        it("refuses a second object of the same name, and one in a namespace that is not there", async () => {
          await create(deployment("web"));
          expect(status(await api.call("POST", deployments, deployment("web")))).toMatchObject({
            http: 409,
            reason: "AlreadyExists",
            code: 409,
          });
          const elsewhere = await api.call("POST", "/apis/apps/v1/namespaces/not-there/deployments", deployment("web"));
          expect(status(elsewhere)).toMatchObject({
            http: 404,
            reason: "NotFound",
            message: 'namespaces "not-there" not found',
          });
        });

        it("says in a Status what is not found", async () => {
          expect(status(await api.call("GET", `${deployments}/none`))).toEqual({
            http: 404,
            kind: "Status",
            apiVersion: "v1",
            metadata: {},
            status: "Failure",
            message: 'deployments.apps "none" not found',
            reason: "NotFound",
            details: { name: "none", group: "apps", kind: "deployments" },
            code: 404,
          });
          expect((await merge("none", {})).status).toBe(404);
          expect((await ops("none", [])).status).toBe(404);
          expect((await api.call("PUT", `${deployments}/none`, deployment("none"))).status).toBe(404);
          expect((await api.call("DELETE", `${deployments}/none`)).status).toBe(404);
        });

        it("knows no group argoproj.io, and no such resource in a group that it has", async () => {
          const group = await api.call("GET", `/apis/argoproj.io/v1alpha1/namespaces/${ns}/applications`);
          expect([group.status, group.text.trim()]).toEqual([404, "404 page not found"]);
          const resource = await api.call("GET", `/apis/apps/v1/namespaces/${ns}/frobs`);
          expect(status(resource)).toMatchObject({
            http: 404,
            reason: "NotFound",
            message: "the server could not find the requested resource",
          });
        });

        it("takes what belonged to a Deployment away with it", async () => {
          await create(deployment("web"));
          await rolledOut("web");
          const gone = await api.call("DELETE", `${deployments}/web`, { preconditions: { uid: "other" } });
          expect(status(gone)).toMatchObject({ http: 409, reason: "Conflict" });
          expect((await api.call("DELETE", `${deployments}/web`)).status).toBe(200);
          await until("an empty namespace", async () => (await sets()).length === 0 && (await pods()).length === 0);
        });
      });

      describe("patches", () => {
        it("I1: a JSON patch that sets an older resourceVersion is refused and writes nothing", async () => {
          const made = await create(deployment("web"));
          await settled("web");
          const before = await get("web");
          for (const op of ["add", "replace"]) {
            const answer = await ops("web", [
              { op, path: "/metadata/resourceVersion", value: made.metadata.resourceVersion },
              { op: "replace", path: "/spec/replicas", value: 5 },
            ]);
            expect(status(answer)).toEqual(conflictOn("web"));
          }
          expect(await get("web")).toEqual(before);
          const fresh = await ops("web", [
            { op: "replace", path: "/metadata/resourceVersion", value: before.metadata.resourceVersion },
            { op: "replace", path: "/spec/replicas", value: 1 },
          ]);
          expect([fresh.status, fresh.body.spec.replicas]).toEqual([200, 1]);
        });

        it("I1: a merge patch that carries an older resourceVersion is refused and writes nothing", async () => {
          const made = await create(deployment("web"));
          const before = await settled("web");
          const body = (resourceVersion: string) => ({
            metadata: { resourceVersion, annotations: { "nightshift.dev/fence": "1" } },
          });
          expect(status(await merge("web", body(made.metadata.resourceVersion)))).toEqual(conflictOn("web"));
          expect(await get("web")).toEqual(before);
          const fresh = await merge("web", body(before.metadata.resourceVersion));
          expect([fresh.status, fresh.body.metadata.annotations["nightshift.dev/fence"]]).toEqual([200, "1"]);
        });

        it.each([
          ["a test that fails", [{ op: "test", path: "/spec/replicas", value: 77 }], 422],
          ["a test of what is not there", [{ op: "test", path: "/spec/none", value: 1 }], 422],
          ["removing what is not there", [{ op: "remove", path: "/spec/none" }], 422],
          ["adding below what is not there", [{ op: "add", path: "/spec/none/below", value: 1 }], 422],
          ["an operation that there is not", [{ op: "frob", path: "/spec/replicas" }], 422],
          ["no list", { op: "test" }, 400],
          [
            "replacing a member that is not there, which adds it",
            [
              { op: "add", path: "/metadata/annotations", value: {} },
              { op: "replace", path: "/metadata/annotations/x", value: "y" },
            ],
            200,
          ],
          ["a test that holds", [{ op: "test", path: "/spec/replicas", value: 2 }], 200],
        ])("JSON patch: %s", async (_what, body, expected) => {
          await create(deployment("web"));
          const answer = await ops("web", body);
          expect(answer.status, answer.text).toBe(expected);
          if (expected === 422)
            expect(answer.body).toMatchObject({
              reason: "Invalid",
              message: "the server rejected our request due to an error in our request",
            });
        });

        it("a strategic merge patch joins containers by name, a merge patch replaces the list", async () => {
          const object = deployment("web");
          object.spec.template.spec.containers.push({ name: "side", image: "side:v1" });
          await create(object);
          const strategic = await image("web", "app:v2");
          expect(strategic.body.spec.template.spec.containers.map((c: Raw) => c.image)).toEqual(["app:v2", "side:v1"]);
          const merged = await merge("web", {
            spec: { template: { spec: { containers: [{ name: "app", image: "app:v3" }] } } },
          });
          expect(merged.body.spec.template.spec.containers.map((c: Raw) => c.image)).toEqual(["app:v3"]);
        });

        it("keeps every other annotation, and takes one away by null", async () => {
          await create({ ...deployment("web"), metadata: { name: "web", annotations: { a: "1", b: "2" } } });
          const answer = await merge("web", { metadata: { annotations: { b: null, c: "3" } } });
          expect(answer.body.metadata.annotations).toMatchObject({ a: "1", c: "3" });
          expect(answer.body.metadata.annotations).not.toHaveProperty("b");
        });

        it.each([
          ["replicas as a text", { spec: { replicas: "3" } }, "patch"],
          ["negative replicas", { spec: { replicas: -1 } }, "spec.replicas"],
          ["another selector", { spec: { selector: { matchLabels: { app: "other" } } } }, "spec.selector"],
          ["no containers", { spec: { template: { spec: { containers: [] } } } }, "spec.template.spec.containers"],
          ["an annotation that is a number", { metadata: { annotations: { a: 1 } } }, "patch"],
          ["another UID", { metadata: { uid: "00000000-0000-0000-0000-000000000000" } }, "metadata.uid"],
        ])("answers 422 Invalid to %s, and names the field", async (_what, body, field) => {
          await create(deployment("web"));
          const before = (await get("web")).spec;
          const answer = await merge("web", body);
          expect(status(answer)).toMatchObject({ http: 422, reason: "Invalid", code: 422 });
          expect(answer.body.details.causes.map((cause: Raw) => cause.field)).toContain(field);
          expect((await get("web")).spec).toEqual(before);
        });

        it("answers 400 to another name and 415 to another media type", async () => {
          await create(deployment("web"));
          expect(status(await merge("web", { metadata: { name: "other" } }))).toMatchObject({
            http: 400,
            reason: "BadRequest",
          });
          expect(status(await api.call("PATCH", `${deployments}/web`, {}))).toMatchObject({
            http: 415,
            reason: "UnsupportedMediaType",
          });
        });

        it("dryRun=All answers what would be and writes nothing; another value is 422", async () => {
          await create(deployment("web"));
          const before = await settled("web");
          const answer = await merge("web", { spec: { replicas: 7 } }, "?dryRun=All");
          expect([answer.status, answer.body.spec.replicas, answer.body.metadata.generation]).toEqual([
            200,
            7,
            before.metadata.generation + 1,
          ]);
          expect(answer.body.metadata.resourceVersion).toBe(before.metadata.resourceVersion);
          expect(await get("web")).toEqual(before);
          expect((await api.call("POST", `${deployments}?dryRun=All`, deployment("other"))).status).toBe(201);
          expect((await api.call("GET", `${deployments}/other`)).status).toBe(404);
          expect((await merge("web", {}, "?dryRun=maybe")).status).toBe(422);
        });
      });

      describe("versions", () => {
        it("generation of a Deployment moves with its spec and with its annotations, not with its status", async () => {
          await create(deployment("web"));
          const { metadata } = await settled("web");
          expect(metadata.generation).toBe(1);
          expect((await merge("web", { status: { replicas: 99 } })).body.metadata.generation).toBe(1);
          expect((await get("web")).status.replicas).toBe(2);
          const patched = await api.call(
            "PATCH",
            `${deployments}/web/status`,
            { status: { collisionCount: 1 }, spec: { replicas: 9 } },
            MERGE_PATCH,
          );
          expect([patched.status, patched.body.metadata.generation, patched.body.spec.replicas]).toEqual([200, 1, 2]);
          expect((await merge("web", { metadata: { labels: { x: "y" } } })).body.metadata.generation).toBe(1);
          expect(
            (await merge("web", { metadata: { annotations: { "nightshift.dev/fence": "1" } } })).body.metadata
              .generation,
          ).toBe(2);
          expect((await merge("web", { spec: { replicas: 3 } })).body.metadata.generation).toBe(3);
          expect((await merge("web", { metadata: { generation: 77 } })).body.metadata.generation).toBe(3);
        });

        it("a write that changes nothing leaves the version", async () => {
          await api.call("POST", configMaps(), {
            apiVersion: "v1",
            kind: "ConfigMap",
            metadata: { name: "c" },
            data: { a: "1" },
          });
          const before = (await api.call("GET", `${configMaps()}/c`)).body;
          const same = await api.call("PATCH", `${configMaps()}/c`, { data: { a: "1" } }, MERGE_PATCH);
          expect(same.body.metadata.resourceVersion).toBe(before.metadata.resourceVersion);
          const other = await api.call("PATCH", `${configMaps()}/c`, { data: { a: "2" } }, MERGE_PATCH);
          expect(Number(other.body.metadata.resourceVersion)).toBeGreaterThan(Number(before.metadata.resourceVersion));
          expect(other.body.metadata).not.toHaveProperty("generation");
        });

        it("I3: PUT of a Lease is a compare-and-set: without a version 422, on an older one 409", async () => {
          const made = (await api.call("POST", leases(), lease("a"))).body;
          expect(status(await api.call("PUT", `${leases()}/l`, lease("b")))).toMatchObject({
            http: 422,
            reason: "Invalid",
          });
          const taken = await api.call("PUT", `${leases()}/l`, lease("b", made.metadata.resourceVersion));
          expect([taken.status, taken.body.spec.holderIdentity]).toEqual([200, "b"]);
          expect(
            status(await api.call("PUT", `${leases()}/l`, lease("c", made.metadata.resourceVersion))),
          ).toMatchObject({ http: 409, reason: "Conflict" });
          expect((await api.call("GET", `${leases()}/l`)).body.spec.holderIdentity).toBe("b");
        });

        it("I3: of ten who take a Lease on one version exactly one gets it", async () => {
          const made = (await api.call("POST", leases(), lease("nobody"))).body;
          const answers = await Promise.all(
            Array.from({ length: 10 }, (_, i) =>
              api.call("PUT", `${leases()}/l`, lease(`w${i}`, made.metadata.resourceVersion)),
            ),
          );
          expect(answers.map((answer) => answer.status).sort((a, b) => a - b)).toEqual([200, ...Array(9).fill(409)]);
          const winner = answers.find((answer) => answer.status === 200)?.body.spec.holderIdentity;
          expect((await api.call("GET", `${leases()}/l`)).body.spec.holderIdentity).toBe(winner);
        });

        it("refuses a Lease that lasts no time", async () => {
          const body = lease("a");
          body.spec.leaseDurationSeconds = 0;
          expect(status(await api.call("POST", leases(), body))).toMatchObject({
            http: 422,
            message: expect.stringContaining("must be greater than 0"),
          });
        });

        it("PUT of a Deployment: stale 409, another name 400, without a version taken", async () => {
          const made = await create(deployment("web"));
          await settled("web");
          const stale = await api.call("PUT", `${deployments}/web`, made);
          expect(status(stale)).toEqual(conflictOn("web"));
          expect((await api.call("PUT", `${deployments}/other`, made)).status).toBe(400);
          const bare = await api.call("PUT", `${deployments}/web`, deployment("web", { replicas: 1 }));
          expect([bare.status, bare.body.spec.replicas]).toEqual([200, 1]);
        });

        it("I1: records every accepted patch, and none that was refused or a dry run", async (context) => {
          await create(deployment("web"));
          if (api.patchesOf(ns, "web") === null) context.skip("this cluster's audit log is not ours to read");
          await settled("web");
          await image("web", "app:v2");
          await merge("web", { metadata: { annotations: { "nightshift.dev/fence": "1" } } });
          await merge("web", { metadata: { resourceVersion: "1" }, spec: { replicas: 9 } });
          await ops("web", [{ op: "test", path: "/spec/replicas", value: 77 }]);
          await merge("web", { spec: { replicas: 9 } }, "?dryRun=All");
          const recorded = await until("two patches on record", async () => {
            const seen = api.patchesOf(ns, "web") ?? [];
            return seen.length >= 2 ? seen : null;
          });
          expect(recorded).toEqual([
            { user: "admin", template: true },
            { user: "admin", template: false },
          ]);
        });

        it("managedFields tell who wrote the spec last", async () => {
          await api.call("POST", `${deployments}?fieldManager=alice`, deployment("web"));
          await settled("web");
          await merge("web", { spec: { replicas: 3 } }, "?fieldManager=nightshift");
          const entries = (await get("web")).metadata.managedFields as Raw[];
          const of = (manager: string) =>
            entries.find((entry) => entry.manager === manager && entry.subresource === undefined)?.fieldsV1;
          expect(of("nightshift")).toEqual({ "f:spec": { "f:replicas": {} } });
          expect(of("alice")["f:spec"]).toHaveProperty("f:template");
          expect(of("alice")["f:spec"]).not.toHaveProperty("f:replicas");
          expect(
            entries.some((entry) => entry.subresource === "status" && entry.fieldsV1["f:spec"] === undefined),
          ).toBe(true);
          const agent = await api.call(
            "PATCH",
            `${deployments}/web`,
            { metadata: { labels: { a: "b" } } },
            { ...MERGE_PATCH, agent: "kubectl-edit/v1" },
          );
          expect(agent.body.metadata.managedFields.map((entry: Raw) => entry.manager)).toContain("kubectl-edit");
        });
      });

      describe("lists and watches", () => {
        const fill = async (count: number) => {
          for (let i = 0; i < count; i += 1) {
            const labels = { n: String(i), side: i % 2 === 0 ? "even" : "odd", ...(i === 3 ? { special: "yes" } : {}) };
            await api.call("POST", configMaps(), {
              apiVersion: "v1",
              kind: "ConfigMap",
              metadata: { name: `m${i}`, labels },
            });
          }
        };

        it("pages a list at one version: later objects are not in it", async () => {
          await fill(5);
          const own = "?labelSelector=n&limit=2";
          const first = await api.call("GET", configMaps() + own);
          expect(first.body.kind).toBe("ConfigMapList");
          await api.call("POST", configMaps(), {
            apiVersion: "v1",
            kind: "ConfigMap",
            metadata: { name: "m4a", labels: { n: "late" } },
          });
          const names: string[] = first.body.items.map((item: Raw) => item.metadata.name);
          let next: string | undefined = first.body.metadata.continue;
          while (next !== undefined) {
            const page = await api.call("GET", `${configMaps()}${own}&continue=${encodeURIComponent(next)}`);
            expect(page.body.metadata.resourceVersion).toBe(first.body.metadata.resourceVersion);
            names.push(...page.body.items.map((item: Raw) => item.metadata.name));
            next = page.body.metadata.continue;
          }
          expect(names).toEqual(["m0", "m1", "m2", "m3", "m4"]);
          expect((await api.call("GET", `${configMaps()}?limit=1&continue=nonsense`)).status).toBe(400);
          expect((await api.call("GET", `${configMaps()}?limit=1`)).body.metadata.remainingItemCount).toBeGreaterThan(
            0,
          );
        });

        it.each([
          ["side=even", ["m0", "m2", "m4"]],
          ["side==odd", ["m1", "m3"]],
          ["n,side!=even", ["m1", "m3"]],
          ["n in (1, 2),side=odd", ["m1"]],
          ["n,n notin (0,1,2)", ["m3", "m4"]],
          ["special", ["m3"]],
          ["n,!special", ["m0", "m1", "m2", "m4"]],
          ["n>2", ["m3", "m4"]],
        ])("labelSelector %s", async (selector, names) => {
          await fill(5);
          const found = await api.call("GET", `${configMaps()}?labelSelector=${encodeURIComponent(selector)}`);
          expect(found.body.items.map((item: Raw) => item.metadata.name)).toEqual(names);
        });

        it("fieldSelectors choose, and those that there are not are 400", async () => {
          await create(deployment("web"));
          await rolledOut("web");
          const [pod] = await pods();
          const node = pod?.spec.nodeName as string;
          expect((await pods(`?fieldSelector=metadata.name%3D${pod?.metadata.name}`)).length).toBe(1);
          expect((await pods(`?fieldSelector=spec.nodeName%3D${node},status.phase%3DRunning`)).length).toBeGreaterThan(
            0,
          );
          expect((await pods("?fieldSelector=status.phase!%3DRunning")).length).toBe(0);
          const events = await until("events of the Deployment", async () => {
            const found = await api.call(
              "GET",
              `/api/v1/namespaces/${ns}/events?fieldSelector=involvedObject.kind%3DDeployment,involvedObject.name%3Dweb`,
            );
            return found.body.items.length > 0 ? (found.body.items as Raw[]) : null;
          });
          expect(events[0]).toMatchObject({
            reason: "ScalingReplicaSet",
            type: "Normal",
            source: { component: "deployment-controller" },
          });
          expect(events[0]?.message).toMatch(/^Scaled up replica set web-\S+ from 0 to 2$/);
          expect((await api.call("GET", `${deployments}?fieldSelector=spec.replicas%3D2`)).status).toBe(400);
          expect((await api.call("GET", `/api/v1/namespaces/${ns}/pods?fieldSelector=spec.none%3D2`)).status).toBe(400);
          expect((await api.call("GET", `${deployments}?labelSelector=a%20in%20`)).status).toBe(400);
          expect((await api.call("GET", `${deployments}?limit=many`)).status).toBe(400);
        });

        it("a watch from a list's version brings every change once, in order", async () => {
          await fill(1);
          const from = (await api.call("GET", configMaps())).body.metadata.resourceVersion;
          await api.call("POST", configMaps(), {
            apiVersion: "v1",
            kind: "ConfigMap",
            metadata: { name: "w" },
            data: { a: "1" },
          });
          await api.call("PATCH", `${configMaps()}/w`, { data: { a: "2" } }, MERGE_PATCH);
          await api.call("DELETE", `${configMaps()}/w`);
          const events = await api.watch(
            `${configMaps()}?watch=1&resourceVersion=${from}&timeoutSeconds=10&fieldSelector=metadata.name%3Dw`,
            (seen) => seen.length >= 3,
          );
          expect(events.map((event) => [event.type, event.object.data?.a])).toEqual([
            ["ADDED", "1"],
            ["MODIFIED", "2"],
            ["DELETED", "2"],
          ]);
          const versions = events.map((event) => Number(event.object.metadata.resourceVersion));
          expect(versions).toEqual([...versions].sort((a, b) => a - b));
        });

        it("a watch begins with what there is, and says DELETED of what no longer matches", async () => {
          await fill(2);
          const path = `${configMaps()}?watch=1&timeoutSeconds=10&labelSelector=side%3Deven`;
          let changed = false;
          const events = await api.watch(path, (seen) => {
            if (seen.length === 1 && !changed) {
              changed = true;
              void api.call("PATCH", `${configMaps()}/m0`, { metadata: { labels: { side: "odd" } } }, MERGE_PATCH);
            }
            return seen.length >= 2;
          });
          expect(events.map((event) => [event.type, event.object.metadata.name])).toEqual([
            ["ADDED", "m0"],
            ["DELETED", "m0"],
          ]);
          expect(events[0]?.object).toMatchObject({ kind: "ConfigMap", apiVersion: "v1" });
        });
      });

      describe("rollouts", () => {
        it("numbers revisions: an old template that comes back keeps its ReplicaSet and gets the newest number", async () => {
          await create({
            ...deployment("web", { image: "app:v1" }),
            metadata: { name: "web", annotations: { "nightshift.dev/last-op": "one" } },
          });
          await settled("web");
          await image("web", "app:v2");
          await settled("web");
          const [v1] = (await sets()).filter((set) => set.spec.template.spec.containers[0].image === "app:v1");
          expect(v1?.metadata.annotations[REVISION]).toBe("1");
          const { "pod-template-hash": hash, ...labels } = (v1?.spec.template.metadata.labels ?? {}) as Record<
            string,
            string
          >;
          expect(hash).toMatch(/^[a-z0-9]{6,10}$/);
          const back = await ops("web", [
            { op: "replace", path: "/spec/template", value: { ...v1?.spec.template, metadata: { labels } } },
            { op: "replace", path: "/metadata/annotations/nightshift.dev~1last-op", value: "two" },
          ]);
          expect(back.status, back.text).toBe(200);
          const after = await settled("web");
          const all = (await sets()).map((set) => ({
            image: set.spec.template.spec.containers[0].image,
            revision: set.metadata.annotations[REVISION],
            history: set.metadata.annotations[HISTORY],
            op: set.metadata.annotations["nightshift.dev/last-op"],
            desired: set.metadata.annotations["deployment.kubernetes.io/desired-replicas"],
            replicas: set.spec.replicas,
            owner: set.metadata.ownerReferences[0].uid === after.metadata.uid,
          }));
          expect(all.sort((a, b) => a.image.localeCompare(b.image))).toEqual([
            { image: "app:v1", revision: "3", history: "1", op: "two", desired: "2", replicas: 2, owner: true },
            { image: "app:v2", revision: "2", history: undefined, op: "one", desired: "2", replicas: 0, owner: true },
          ]);
          expect(after.metadata.annotations[REVISION]).toBe("3");
          expect((await sets()).find((set) => set.metadata.name === v1?.metadata.name)?.metadata.uid).toBe(
            v1?.metadata.uid,
          );
        });

        it("a new release that crashes leaves the old one serving and passes its deadline", async () => {
          await create(deployment("web", { replicas: 3, spec: { progressDeadlineSeconds: 3 } }));
          await settled("web");
          await image("web", "app:crash");
          const stuck = await until("the deadline", async () => {
            const now = await get("web");
            return (now.status.conditions as Raw[]).some((one) => one.reason === "ProgressDeadlineExceeded")
              ? now
              : null;
          });
          expect(stuck.status).toMatchObject({
            observedGeneration: 2,
            replicas: 4,
            updatedReplicas: 1,
            readyReplicas: 3,
            availableReplicas: 3,
            unavailableReplicas: 1,
          });
          expect(stuck.status.conditions).toEqual(
            expect.arrayContaining([
              expect.objectContaining({ type: "Available", status: "True", reason: "MinimumReplicasAvailable" }),
              expect.objectContaining({ type: "Progressing", status: "False", reason: "ProgressDeadlineExceeded" }),
            ]),
          );
          const [v1] = (await sets()).filter((set) => set.spec.template.spec.containers[0].image === "app:v1");
          const { "pod-template-hash": _hash, ...labels } = (v1?.spec.template.metadata.labels ?? {}) as Record<
            string,
            string
          >;
          await ops("web", [
            { op: "replace", path: "/spec/template", value: { ...v1?.spec.template, metadata: { labels } } },
          ]);
          const healed = await settled("web");
          expect(healed.status.conditions).toContainEqual(
            expect.objectContaining({ type: "Progressing", status: "True", reason: "NewReplicaSetAvailable" }),
          );
        });

        it.each([
          ["crash", { waiting: "CrashLoopBackOff", exitCode: 1, reason: "Error" }],
          ["oom", { waiting: "CrashLoopBackOff", exitCode: 137, reason: "OOMKilled" }],
          ["missing", { waiting: "ImagePullBackOff" }],
          ["unready", { waiting: undefined }],
        ])("a Pod of an image :%s shows it", async (tag, expected) => {
          await create(deployment("web", { image: `app:${tag}`, replicas: 1 }));
          const pod = await until(`a Pod that is ${tag}`, async () => {
            const [one] = await pods();
            const [state] = (one?.status.containerStatuses ?? []) as Raw[];
            const there =
              state !== undefined &&
              state.state?.waiting?.reason === expected.waiting &&
              (!("exitCode" in expected) || state.lastState?.terminated);
            return there ? one : null;
          });
          const [container] = pod.status.containerStatuses;
          expect(container).toMatchObject({ name: "app", ready: false, image: `app:${tag}` });
          if ("exitCode" in expected)
            expect(container.lastState.terminated).toMatchObject({
              exitCode: expected.exitCode,
              reason: expected.reason,
            });
          expect(pod.status.conditions).toContainEqual(
            expect.objectContaining({ type: "PodScheduled", status: "True" }),
          );
          expect(pod.metadata.ownerReferences[0]).toMatchObject({
            apiVersion: "apps/v1",
            kind: "ReplicaSet",
            controller: true,
          });
          const now = await get("web");
          expect(now.status.availableReplicas).toBeUndefined();
          expect(now.status.conditions).toContainEqual(
            expect.objectContaining({ type: "Available", status: "False", reason: "MinimumReplicasUnavailable" }),
          );
        });

        it("the scale subresource changes replicas and nothing else", async () => {
          await create(deployment("web"));
          await settled("web");
          const read = await api.call("GET", `${deployments}/web/scale`);
          expect(read.body).toMatchObject({
            kind: "Scale",
            apiVersion: "autoscaling/v1",
            spec: { replicas: 2 },
            status: { replicas: 2, selector: "app=web" },
          });
          const scaled = await api.call("PATCH", `${deployments}/web/scale`, { spec: { replicas: 4 } }, MERGE_PATCH);
          expect([scaled.status, scaled.body.spec.replicas]).toEqual([200, 4]);
          const stale = await api.call("PUT", `${deployments}/web/scale`, read.body);
          expect(stale.status).toBe(409);
          const after = await settled("web");
          expect([after.spec.replicas, after.metadata.generation, (await sets()).length]).toEqual([4, 2, 1]);
        });

        it("a Service's EndpointSlice holds exactly the Pods that are ready", async () => {
          await create(deployment("web"));
          await create(deployment("sick", { image: "app:unready", replicas: 1 }));
          for (const name of ["web", "sick"]) {
            const spec = { selector: { app: name }, ports: [{ port: 80, targetPort: 8080 }] };
            expect(
              (
                await api.call("POST", `/api/v1/namespaces/${ns}/services`, {
                  apiVersion: "v1",
                  kind: "Service",
                  metadata: { name },
                  spec,
                })
              ).status,
            ).toBe(201);
          }
          const ready = async (service: string) => {
            const found = await api.call(
              "GET",
              `/apis/discovery.k8s.io/v1/namespaces/${ns}/endpointslices?labelSelector=kubernetes.io%2Fservice-name%3D${service}`,
            );
            const endpoints = (found.body.items as Raw[]).flatMap((slice) => (slice.endpoints ?? []) as Raw[]);
            return endpoints
              .filter((endpoint) => endpoint.conditions.ready)
              .map((endpoint) => endpoint.targetRef.name as string)
              .sort();
          };
          const names = await until("both endpoints", async () =>
            (await ready("web")).length === 2 ? ready("web") : null,
          );
          expect(names).toEqual(
            (await pods("?labelSelector=app%3Dweb")).map((pod) => pod.metadata.name).sort((a, b) => (a < b ? -1 : 1)),
          );
          expect(await ready("sick")).toEqual([]);
        });
      });

      describe("Pods", () => {
        const crashed = async (): Promise<Raw> => {
          await create(deployment("web", { image: "app:crash", replicas: 1 }));
          return until("a Pod that crashed", async () =>
            (await pods()).find((pod) => pod.status.containerStatuses?.[0]?.lastState?.terminated),
          );
        };

        it("give the last lines of the container before", async () => {
          const pod = await crashed();
          const path = `/api/v1/namespaces/${ns}/pods/${pod.metadata.name}/log`;
          const all = await api.call("GET", `${path}?container=app&previous=true`);
          expect([all.status, all.headers["content-type"]]).toEqual([200, "text/plain"]);
          const lines = all.text.trimEnd().split("\n");
          expect(lines.length).toBeGreaterThan(1);
          const last = await api.call("GET", `${path}?container=app&previous=true&tailLines=1`);
          expect(last.text).toBe(`${lines[lines.length - 1]}\n`);
          expect(status(await api.call("GET", `${path}?container=none`))).toMatchObject({
            http: 400,
            reason: "BadRequest",
          });
          expect((await api.call("GET", `/api/v1/namespaces/${ns}/pods/none/log`)).status).toBe(404);
        });

        it("are evicted by UID, and not against a disruption budget", async () => {
          await create(deployment("web", { replicas: 2 }));
          await settled("web");
          const [pod] = await pods();
          const path = `/api/v1/namespaces/${ns}/pods/${pod?.metadata.name}/eviction`;
          const eviction = (uid: string) => ({
            apiVersion: "policy/v1",
            kind: "Eviction",
            metadata: { name: pod?.metadata.name, namespace: ns },
            deleteOptions: { preconditions: { uid } },
          });
          const tried = eviction(pod?.metadata.uid);
          const dry = await api.call("POST", path, {
            ...tried,
            deleteOptions: { ...tried.deleteOptions, dryRun: ["All"] },
          });
          expect(dry.status).toBe(201);
          const still = (await pods()).find((one) => one.metadata.uid === pod?.metadata.uid);
          expect(still?.metadata.deletionTimestamp, "a dry run of an eviction leaves the Pod alone").toBeUndefined();
          expect(still).toBeDefined();
          expect(status(await api.call("POST", path, eviction("other")))).toMatchObject({
            http: 409,
            reason: "Conflict",
          });
          const budgets = `/apis/policy/v1/namespaces/${ns}/poddisruptionbudgets`;
          const spec = { minAvailable: 2, selector: { matchLabels: { app: "web" } } };
          await api.call("POST", budgets, {
            apiVersion: "policy/v1",
            kind: "PodDisruptionBudget",
            metadata: { name: "b" },
            spec,
          });
          await until(
            "the budget counted",
            async () => (await api.call("GET", `${budgets}/b`)).body.status?.currentHealthy === 2,
          );
          const refused = await api.call("POST", path, eviction(pod?.metadata.uid));
          expect(status(refused)).toMatchObject({
            http: 429,
            reason: "TooManyRequests",
            details: { causes: [{ reason: "DisruptionBudget" }] },
          });
          expect((await pods()).map((one) => one.metadata.uid)).toContain(pod?.metadata.uid);
          await api.call("DELETE", `${budgets}/b`);
          expect(status(await api.call("POST", path, eviction(pod?.metadata.uid)))).toMatchObject({
            http: 201,
            status: "Success",
          });
          await until("another Pod in its place", async () => {
            const now = await pods();
            return now.length === 2 && !now.some((one) => one.metadata.uid === pod?.metadata.uid);
          });
        });
      });

      describe("rights", () => {
        it("does not know a false token, and denies who shows none", async () => {
          expect(status(await api.call("GET", deployments, undefined, { token: "false" }))).toEqual({
            http: 401,
            kind: "Status",
            apiVersion: "v1",
            metadata: {},
            status: "Failure",
            message: "Unauthorized",
            reason: "Unauthorized",
            code: 401,
          });
          expect(status(await api.call("GET", deployments, undefined, { token: "" }))).toMatchObject({
            http: 403,
            reason: "Forbidden",
          });
        });

        it("G28: a RoleBinding gives a ServiceAccount what its ClusterRole says, there and nowhere else", async () => {
          const rbac = "/apis/rbac.authorization.k8s.io/v1";
          await create(deployment("web"));
          await api.call("POST", `/api/v1/namespaces/${ns}/serviceaccounts`, {
            apiVersion: "v1",
            kind: "ServiceAccount",
            metadata: { name: "writer" },
          });
          const token = await api.tokenOf(ns, "writer");
          const user = `system:serviceaccount:${ns}:writer`;
          const ask = async (namespace: string) => {
            const spec = { resourceAttributes: { verb: "patch", group: "apps", resource: "deployments", namespace } };
            const body = (kind: string, extra: Raw = {}) => ({
              apiVersion: "authorization.k8s.io/v1",
              kind,
              spec: { ...spec, ...extra },
            });
            const self = await api.call(
              "POST",
              "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
              body("SelfSubjectAccessReview"),
              { token },
            );
            const other = await api.call(
              "POST",
              "/apis/authorization.k8s.io/v1/subjectaccessreviews",
              body("SubjectAccessReview", { user }),
            );
            expect([self.status, other.status]).toEqual([201, 201]);
            return [self.body.status.allowed, other.body.status.allowed];
          };
          const write = () =>
            api.call(
              "PATCH",
              `${deployments}/web`,
              { metadata: { labels: { by: "writer" } } },
              { ...MERGE_PATCH, token },
            );
          expect(await ask(ns)).toEqual([false, false]);
          expect(status(await write())).toEqual({
            http: 403,
            kind: "Status",
            apiVersion: "v1",
            metadata: {},
            status: "Failure",
            message: `deployments.apps "web" is forbidden: User "${user}" cannot patch resource "deployments" in API group "apps" in the namespace "${ns}"`,
            reason: "Forbidden",
            details: { name: "web", group: "apps", kind: "deployments" },
            code: 403,
          });
          const role = `nightshift-class-a-${ns}`;
          const rules = [{ apiGroups: ["apps"], resources: ["deployments"], verbs: ["get", "patch"] }];
          await api.call("POST", `${rbac}/clusterroles`, {
            apiVersion: "rbac.authorization.k8s.io/v1",
            kind: "ClusterRole",
            metadata: { name: role },
            rules,
          });
          await api.call("POST", `${rbac}/namespaces/${ns}/rolebindings`, {
            apiVersion: "rbac.authorization.k8s.io/v1",
            kind: "RoleBinding",
            metadata: { name: "writer" },
            roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: role },
            subjects: [{ kind: "ServiceAccount", name: "writer", namespace: ns }],
          });
          await until("the right", async () => (await ask(ns)).every(Boolean));
          expect(await ask("default")).toEqual([false, false]);
          expect((await write()).body.metadata.labels).toEqual({ by: "writer" });
          expect((await api.call("DELETE", `${deployments}/web`, undefined, { token })).status).toBe(403);
          await api.call("DELETE", `${rbac}/clusterroles/${role}`);
          await until("the right taken back", async () => !(await ask(ns)).some(Boolean));
        });
      });

      const noKubectl = kubectlMissing();
      describe.skipIf(noKubectl !== null)(`kubectl${noKubectl === null ? "" : ` (skipped: ${noKubectl})`}`, () => {
        it("gets, describes, and follows, undoes and lists rollouts", async () => {
          await create(deployment("web"));
          await settled("web");
          await image("web", "app:v2");
          const run = async (...args: string[]) => {
            const done = await api.kubectl("-n", ns, ...args);
            expect(done.code, done.out).toBe(0);
            return done.out;
          };
          expect(await run("rollout", "status", "deployment/web", "--timeout=20s")).toContain(
            'deployment "web" successfully rolled out',
          );
          expect(await run("get", "deployments")).toMatch(
            /NAME\s+READY\s+UP-TO-DATE\s+AVAILABLE\s+AGE\nweb\s+2\/2\s+2\s+2\s/,
          );
          expect(await run("get", "pods")).toMatch(/web-\S+\s+1\/1\s+Running\s+0\s/);
          expect(await run("get", "deploy", "web", "-o", "jsonpath={.spec.template.spec.containers[0].image}")).toBe(
            "app:v2",
          );
          const described = await run("describe", "deployment", "web");
          expect(described).toMatch(/Replicas:\s+2 desired \| 2 updated \| 2 total \| 2 available \| 0 unavailable/);
          expect(described).toContain("NewReplicaSetAvailable");
          expect(described).toMatch(/ScalingReplicaSet/);
          expect(await run("describe", "pods")).toMatch(/Controlled By:\s+ReplicaSet\/web-/);
          expect(await run("rollout", "history", "deployment/web")).toMatch(/1\s+<none>\n2\s+<none>/);
          expect(await run("rollout", "undo", "deployment/web")).toContain("rolled back");
          expect(await run("rollout", "status", "deployment/web", "--timeout=20s")).toContain(
            "successfully rolled out",
          );
          expect((await get("web")).spec.template.spec.containers[0].image).toBe("app:v1");
          expect(await run("rollout", "history", "deployment/web")).toMatch(/2\s+<none>\n3\s+<none>/);
          expect(await run("rollout", "restart", "deployment/web")).toContain("restarted");
          expect(await run("scale", "deployment/web", "--replicas=3")).toContain("scaled");
          expect((await settled("web")).spec.template.metadata.annotations).toHaveProperty([
            "kubectl.kubernetes.io/restartedAt",
          ]);
          expect((await api.kubectl("-n", ns, "get", "deployment", "none")).out).toContain(
            'deployments.apps "none" not found',
          );
        }, 90_000);
      });
    },
  );
}
