import { execFileSync, spawn, type ChildProcess } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Kubernetes, startKubernetes } from "../../sandbox/kubernetes/kubernetes.js";
import { freePort, until } from "../harness/processes.js";

const root = fileURLToPath(new URL("../../", import.meta.url));
/** An image that `test/image/build` has just made; never looked for, so that an old one is not taken for this code's. */
const tag = process.env["IMAGE_UNDER_TEST"] ?? "";
const missing =
  process.getuid?.() !== 0
    ? "needs root"
    : tag === ""
      ? "no image: test/image/build . nightshift-test, then IMAGE_UNDER_TEST=nightshift-test"
      : null;

interface ImageConfig {
  User: string;
  Env: string[];
  Entrypoint: string[];
  Healthcheck?: { Test: string[] };
  Volumes?: Record<string, unknown>;
}

const manifest = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as {
  version: string;
  devDependencies: Record<string, string>;
};

describe.skipIf(missing !== null)(`the image${missing === null ? "" : ` (not run: ${missing})`}`, () => {
  const dir = mkdtempSync(join(tmpdir(), "nightshift-image-"));
  const data = join(dir, "data");
  let image: ImageConfig;

  const buildah = (...args: string[]) =>
    execFileSync("buildah", ["--storage-driver", "vfs", ...args], { encoding: "utf8", maxBuffer: 64 * 1024 * 1024 });
  const run = (...args: string[]) =>
    execFileSync(join(root, "test/image/run"), [tag, data, ...args], {
      encoding: "utf8",
      stdio: ["ignore", "pipe", "pipe"],
    });

  beforeAll(() => {
    const found = JSON.parse(buildah("inspect", "--type", "image", `localhost/${tag}`)) as {
      Docker: { config: ImageConfig };
    };
    image = found.Docker.config;
  });
  afterAll(() => rmSync(dir, { recursive: true, force: true }));

  it("runs as a user without a name or rights, and says how it is", () => {
    expect(image.User).toMatch(/^[1-9]\d*:[1-9]\d*$/);
    expect(image.Healthcheck?.Test[0]).toBe("CMD");
    expect(Object.keys(image.Volumes ?? {})).toEqual(["/data"]);
    expect(image.Env.filter((one) => /TOKEN|SECRET|PASSWORD|KEY=/.test(one))).toEqual([]);
  });

  it("knows its version and every runbook of the source", () => {
    expect(run("--version").trim()).toBe(manifest.version);
    const known = JSON.parse(run("runbooks", "--json")) as { name: string }[];
    const source = readdirSync(join(root, "runbooks")).map((file) => file.replace(/\.ts$/, ""));
    expect(known.map((one) => one.name).sort()).toEqual(source.sort());
  });

  it("holds what it needs to run and nothing to build or install with", () => {
    const here = run(
      "--exec",
      "sh",
      "-c",
      "ls node_modules; ls node_modules/.bin; which npm npx yarn corepack || true",
    ).split("\n");
    // Those of the tests' own packages that something at run time needs too are there for it.
    const lock = JSON.parse(readFileSync(join(root, "package-lock.json"), "utf8")) as {
      packages: Record<string, { dev?: boolean }>;
    };
    const onlyDev = Object.keys(manifest.devDependencies).filter((name) => lock.packages[`node_modules/${name}`]?.dev);
    expect(onlyDev.filter((name) => here.includes(name))).toEqual([]);
    expect(
      here.filter((name) => ["npm", "npx", "tsc", "vitest"].some((tool) => name.split("/").at(-1) === tool)),
    ).toEqual([]);
  });

  describe("serving", () => {
    let kubernetes: Kubernetes;
    let redis: ChildProcess;
    let nightshift: ChildProcess;
    let url: string;
    let said = "";
    let ended: Promise<number | null>;

    beforeAll(async () => {
      kubernetes = await startKubernetes();
      kubernetes.seed({ apiVersion: "v1", kind: "Namespace", metadata: { name: "nightshift" } });
      writeFileSync(join(dir, "kubeconfig"), kubernetes.kubectlConfig(), { mode: 0o644 });
      writeFileSync(
        join(dir, "policy.yaml"),
        "apiVersion: nightshift.dev/v1\nclusters: [{ name: test, namespaces: [shop] }]\nrules: [{ name: all, match: ['alertname=\"X\"'], ignore: true }]\n",
      );
      const redisPort = await freePort();
      redis = spawn("redis-server", ["--port", String(redisPort), "--bind", "127.0.0.1", "--save", "", "--dir", dir], {
        stdio: "ignore",
      });
      const port = await freePort();
      url = `http://127.0.0.1:${port}`;
      const env = {
        NIGHTSHIFT_HOST: "127.0.0.1",
        NIGHTSHIFT_PORT: String(port),
        NIGHTSHIFT_SECRET: "a-secret-of-the-image-test",
        NIGHTSHIFT_WEBHOOK_TOKEN: "image-token",
        NIGHTSHIFT_NAMESPACE: "nightshift",
        KUBECONFIG: "/etc/nightshift/kubeconfig",
        REDIS_URL: `redis://127.0.0.1:${redisPort}`,
      };
      nightshift = spawn(
        join(root, "test/image/run"),
        [
          tag,
          data,
          ...["kubeconfig", "policy.yaml"].flatMap((file) => ["-v", `${join(dir, file)}:/etc/nightshift/${file}`]),
          ...Object.entries(env).flatMap(([name, value]) => ["-e", `${name}=${value}`]),
        ],
        { stdio: ["ignore", "pipe", "pipe"] },
      );
      const hear = (chunk: Buffer) => {
        said = (said + chunk.toString()).slice(-4000);
      };
      nightshift.stdout?.on("data", hear);
      nightshift.stderr?.on("data", hear);
      ended = new Promise((done) => nightshift.once("close", done));
    }, 60_000);

    afterAll(async () => {
      nightshift?.kill("SIGKILL");
      redis?.kill("SIGKILL");
      await kubernetes?.stop();
    });

    it("gets ready on a read-only root, without root's rights, and its health check says so", async () => {
      const status = async () => (await fetch(`${url}/readyz`).catch(() => null))?.status ?? null;
      await until("readiness", async () => (await status()) === 200, 60_000).catch((error: unknown) => {
        throw new Error(`${String(error)}: ${said}`);
      });

      const process = readFileSync(`/proc/${nightshift.pid}/status`, "utf8");
      expect(/^Uid:\s+(.*)$/m.exec(process)?.[1]?.split("\t")).toEqual(Array(4).fill(image.User.split(":")[0]));
      const check = image.Healthcheck?.Test.slice(1) ?? [];
      const port = new URL(url).port;
      expect(() => run("-e", `NIGHTSHIFT_PORT=${port}`, "--exec", ...check)).not.toThrow();
      expect(() => run("-e", "NIGHTSHIFT_PORT=1", "--exec", ...check)).toThrow();
      const mounts = readFileSync(`/proc/${nightshift.pid}/mounts`, "utf8").split("\n");
      expect(mounts.filter((line) => line.split(" ")[1] === "/").at(-1)).toMatch(/ ro,/);
    }, 120_000);

    it("takes an alert and answers Alertmanager", async () => {
      const post = (token: string) =>
        fetch(`${url}/webhooks/alertmanager`, {
          method: "POST",
          headers: { "content-type": "application/json", authorization: `Bearer ${token}` },
          body: JSON.stringify({
            version: "4",
            groupKey: "{}",
            status: "firing",
            receiver: "nightshift",
            groupLabels: {},
            commonLabels: {},
            commonAnnotations: {},
            externalURL: "http://alertmanager",
            truncatedAlerts: 0,
            alerts: [
              {
                status: "firing",
                labels: { alertname: "X" },
                annotations: {},
                startsAt: new Date().toISOString(),
                endsAt: "0001-01-01T00:00:00Z",
                generatorURL: "",
                fingerprint: "0123456789abcdef",
              },
            ],
          }),
        });
      expect((await post("image-token")).status).toBe(202);
      expect((await post("another")).status).toBe(401);
    });

    it("hands over at SIGTERM, having written nothing", async () => {
      nightshift.kill("SIGTERM");
      expect(await ended).toBe(0);
      expect(readdirSync(data)).toEqual([]);
    }, 60_000);
  });
});
