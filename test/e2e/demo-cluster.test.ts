import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import { play } from "../../sandbox/demo/play.js";
import { createKubernetes, type KubernetesClient } from "../../src/clients/kubernetes.js";
import { systemClock } from "../../src/clock.js";
import { type Plane, planeMissing, startPlane } from "../cluster/plane.js";
import { until } from "../harness/processes.js";

const root = fileURLToPath(new URL("../../", import.meta.url));
const missing = planeMissing();

function demo(kubeconfig: string, args: string[] = ["--yes", "--json"]) {
  const child: ChildProcess = spawn(process.execPath, [join(root, "bin/nightshift.js"), "demo", "--cluster", ...args], {
    cwd: root,
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, KUBECONFIG: kubeconfig },
  });
  const run = { out: "", child, ended: new Promise<number | null>((done) => child.once("close", done)) };
  for (const stream of [child.stdout, child.stderr])
    stream?.on("data", (chunk: Buffer) => {
      run.out += chunk.toString();
    });
  return run;
}

/** The demo on a cluster that is not its own: a real control plane, counted by its audit log. */
describe.skipIf(missing !== null)(
  `the demo on a real API server${missing === null ? "" : ` (not run: ${missing})`}`,
  () => {
    let plane: Plane;
    let k: KubernetesClient;
    const dir = mkdtempSync(join(tmpdir(), "demo-cluster-"));

    beforeAll(async () => {
      plane = await startPlane();
      k = await createKubernetes({ kubeconfig: plane.kubeconfig, clock: systemClock, fieldManager: "test" });
    }, 120_000);

    afterAll(async () => {
      await k?.close();
      await plane?.stop();
      rmSync(dir, { recursive: true, force: true });
    }, 60_000);

    afterEach(() => {
      vi.restoreAllMocks();
      vi.unstubAllEnvs();
    });

    const left = async () =>
      (await k.list({ apiVersion: "v1", kind: "Namespace", namespace: "", labelSelector: "nightshift.dev/demo" })).map(
        (one) => one.metadata.name,
      );

    it("plays the bad deploy to its end, with one write of the template, and leaves nothing (H41 I1)", async () => {
      const run = demo(plane.kubeconfig);
      const code = await run.ended;

      expect(code, run.out).toBe(0);
      const lines = run.out
        .trim()
        .split("\n")
        .map((line) => JSON.parse(line) as Record<string, unknown>);
      expect(lines[0]?.["says"]).toMatch(/Real: the cluster .* Stand-ins: Slack, PagerDuty, and Prometheus/);
      expect(lines.at(-1)).toMatchObject({ event: "summary", outcome: "remediated", effects: 1, doubled: 0 });
      expect(lines.map((line) => line["event"])).toEqual(expect.arrayContaining(["refused", "killed", "taken-over"]));
      expect(await left()).toEqual([]);
      const writes = plane
        .auditLog()
        .filter(
          (line) =>
            line.user?.username?.endsWith(":nightshift-hands") === true &&
            line.objectRef?.resource === "deployments" &&
            line.responseStatus?.code === 200 &&
            !line.requestURI.includes("dryRun") &&
            JSON.stringify(line.requestObject).includes("/spec/template"),
        );
      if (plane.dir !== null) expect(writes).toHaveLength(1);
    }, 300_000);

    it("removes what it made on Ctrl-C", async () => {
      const run = demo(plane.kubeconfig, ["--yes"]);
      await until("the story to be under way", async () => run.out.includes("A colleague ships"), 120_000);
      expect(await left()).toHaveLength(2);
      run.child.kill("SIGINT");

      expect(await run.ended, run.out).toBe(130);
      expect(await left()).toEqual([]);
    }, 300_000);

    it("removes what it made when the story fails, and ends with 1", async () => {
      vi.stubEnv("KUBECONFIG", plane.kubeconfig);
      const printed: string[] = [];
      vi.spyOn(process.stdout, "write").mockImplementation((chunk) => printed.push(String(chunk)) > 0);
      const seen: string[] = [];
      const story = {
        name: "fails",
        says: "",
        title: "",
        cluster: true,
        tell: async () => {
          seen.push(...(await left()));
          throw new Error("the world went another way");
        },
      };

      const code = await play(story, { yes: true, json: true, cluster: { image: "busybox:stable" } });

      vi.restoreAllMocks();
      expect(code, printed.join("")).toBe(1);
      expect(printed.join("")).toContain("NOT AS TOLD: the world went another way");
      expect(seen).toHaveLength(2);
      expect(await left()).toEqual([]);
    }, 120_000);

    it("says which rights lack, before it makes anything", async () => {
      const account = { namespace: "default", name: "demo-without-rights" };
      await k.create({ apiVersion: "v1", kind: "ServiceAccount", metadata: account } as never);
      const { openClusterApi } = await import("../../sandbox/demo/cluster-api.js");
      const api = await openClusterApi(plane.kubeconfig);
      const poor = join(dir, "poor.kubeconfig");
      writeFileSync(poor, await api.kubeconfigFor(await api.token(account.namespace, account.name)));
      await api.close();

      const run = demo(poor);

      expect(await run.ended).toBe(1);
      expect(run.out).toMatch(/this identity may not create, get, delete namespaces; list nodes; .*Nothing was made/);
      expect(await left()).toEqual([]);
    }, 60_000);

    it("says that the cluster does not answer", async () => {
      const gone = join(dir, "gone.kubeconfig");
      writeFileSync(gone, readFileSync(plane.kubeconfig, "utf8").replace(/(https:\/\/127\.0\.0\.1):\d+/, "$1:1"));

      const run = demo(gone);

      expect(await run.ended).toBe(1);
      expect(run.out).toMatch(/cannot be asked: .*ECONNREFUSED.* Nothing was made/);
    }, 60_000);

    it("plays nothing on a cluster that needs the sandbox", async () => {
      const run = demo(plane.kubeconfig, ["storm", "--yes"]);

      expect(await run.ended).toBe(1);
      expect(run.out).toContain("on a cluster: bad-deploy");
    }, 60_000);
  },
);
