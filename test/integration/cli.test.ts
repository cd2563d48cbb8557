import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, describe, expect, it } from "vitest";

const root = fileURLToPath(new URL("../../", import.meta.url));
const dir = mkdtempSync(join(tmpdir(), "cli-"));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

/** The built command line, as a user runs it; no Redis, no cluster. */
function nightshift(args: string[], options: { input?: string; env?: Record<string, string> } = {}) {
  const ran = spawnSync(process.execPath, [join(root, "bin/nightshift.js"), ...args], {
    encoding: "utf8",
    cwd: root,
    env: { PATH: process.env["PATH"] ?? "", HOME: dir, ...options.env },
    ...(options.input === undefined ? {} : { input: options.input }),
  });
  return { code: ran.status, out: ran.stdout, err: ran.stderr };
}

const POLICY = "deploy/platform/policy.yaml";
const PAYLOAD = "test/fixtures/webhooks/30-higherrorrate-firing.json";

describe("the command line", () => {
  it("matches offline, with every field, and exit 0", () => {
    const ran = nightshift(["match", "--policy", POLICY, "--json", PAYLOAD]);

    expect(ran.code).toBe(0);
    expect(JSON.parse(ran.out)).toEqual([
      {
        payload: PAYLOAD,
        alertname: "HighErrorRate",
        fingerprint: "bed84c40cc0916d9",
        status: "firing",
        rule: "bad-deploy",
        runbook: "rollback-deployment",
        target: "mcp-prod-eu-1/Service/mcp-production/mcp-typescript-api",
        params: {},
        decision: "remediate",
        reason: null,
      },
    ]);
  });

  it("reads standard input, refuses what is no webhook, and says so with exit 2", () => {
    expect(
      nightshift(["match", "--policy", POLICY, "--json", "-"], { input: readFileSync(join(root, PAYLOAD), "utf8") })
        .code,
    ).toBe(0);
    const refused = nightshift(["match", "--policy", POLICY, "--json", "-"], { input: "{" });

    expect(refused.code).toBe(2);
    expect(JSON.parse(refused.out)).toMatchObject([{ decision: "reject", fault: expect.stringMatching(/^not JSON/) }]);
    expect(nightshift(["match", "--policy", POLICY, "nowhere.json"]).code).toBe(2);
  });

  it("loads neither Kubernetes, Slack nor the queue for a match", () => {
    const script = `await import(${JSON.stringify(join(root, "dist/src/cli/match.js"))}); const loaded = process.report; console.log(JSON.stringify(Object.keys(process.memoryUsage())));`;
    const ran = spawnSync(
      process.execPath,
      ["--input-type=module", "--experimental-import-meta-resolve", "-e", script],
      { encoding: "utf8", env: { ...process.env, NODE_V8_COVERAGE: dir } },
    );

    expect(ran.status).toBe(0);
    const coverage = readFileSync(
      join(
        dir,
        spawnSync("ls", [dir], { encoding: "utf8" })
          .stdout.split("\n")
          .find((f) => f.startsWith("coverage")) ?? "",
      ),
      "utf8",
    );
    for (const heavy of ["@kubernetes/client-node", "@slack/bolt", "bullmq", "ioredis", "fastify"])
      expect(coverage).not.toContain(`node_modules/${heavy}/`);
  });

  it("checks a policy with exit 0 and 2, and serve refuses what check refuses", () => {
    const bad = join(dir, "bad.yaml");
    writeFileSync(bad, "apiVersion: nightshift.dev/v1\nclusters: []\nrulez: []\n");

    expect(nightshift(["policy", "check", POLICY]).code).toBe(0);
    const refused = nightshift(["policy", "check", bad, "--json"]);
    expect(refused.code).toBe(2);
    expect((JSON.parse(refused.out) as { faults: string[] }).faults.length).toBeGreaterThanOrEqual(3);
    const serve = nightshift(["serve"], { env: { NIGHTSHIFT_POLICY: bad, NIGHTSHIFT_WEBHOOK_TOKEN: "t" } });
    expect(serve.code).toBe(2);
    expect(serve.err).toMatch(/bad\.yaml:3:1: unknown key rulez/);
  });

  it("doctor says what is missing and how to mend it, with exit 2", () => {
    const ran = nightshift(["doctor", "--json"], {
      env: { NIGHTSHIFT_POLICY: POLICY, KUBECONFIG: join(dir, "nothing") },
    });
    const { findings } = JSON.parse(ran.out) as { findings: { check: string; level: string; how: string }[] };

    expect(ran.code).toBe(2);
    for (const check of ["configuration", "cluster", "PagerDuty", "Alertmanager"])
      expect(findings.some((f) => f.check === check && f.level === "error" && f.how !== "")).toBe(true);
  });

  it("lists runbooks and stories", () => {
    const catalogue = JSON.parse(nightshift(["runbooks", "--json"]).out) as { name: string }[];
    const files = readdirSync(join(root, "runbooks")).map((file) => file.replace(/\.ts$/, ""));
    expect(catalogue.map((runbook) => runbook.name)).toEqual(files.toSorted());
    expect(catalogue.find(({ name }) => name === "rollback-deployment")).toMatchObject({ kind: "remedy", risk: "A" });
    expect(catalogue.find(({ name }) => name === "diagnose-pods")).toMatchObject({ kind: "diagnosis", risk: null });
    expect(nightshift(["demo", "--list"]).out).toMatch(/^bad-deploy /);
    expect(nightshift(["demo", "no-such-story"]).code).toBe(1);
  });
});
