import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Kubernetes, startKubernetes } from "../../sandbox/kubernetes/kubernetes.js";
import { alertmanagerProgram, until } from "../harness/processes.js";
import { dedupKeyOf } from "../../src/alert/identity.js";
import { deploy, startWorld, TOKEN, type World } from "../harness/world.js";

const folder = fileURLToPath(new URL("../fixtures/webhooks/", import.meta.url));
const payloads = readdirSync(folder)
  .filter((name) => name.endsWith(".json"))
  .sort();
const text = (number: string) =>
  readFileSync(folder + (payloads.find((name) => name.startsWith(number)) ?? ""), "utf8");
const missing = alertmanagerProgram() === null ? "no Alertmanager on this machine" : null;

describe.skipIf(missing !== null)(`receiving, on real Redis${missing === null ? "" : ` (not run: ${missing})`}`, () => {
  let kubernetes: Kubernetes;
  let world: World;
  const dir = mkdtempSync(join(tmpdir(), "receive-"));
  const tokenFile = join(dir, "token");

  beforeAll(async () => {
    kubernetes = await startKubernetes();
    writeFileSync(join(dir, "kubeconfig"), kubernetes.kubeconfig());
    writeFileSync(tokenFile, `${TOKEN}\nsecond-token\n`);
    const policy = readFileSync(fileURLToPath(new URL("../../deploy/platform/policy.yaml", import.meta.url)), "utf8");
    world = await startWorld({
      kubeconfig: join(dir, "kubeconfig"),
      policy,
      env: {
        NIGHTSHIFT_WEBHOOK_TOKEN: "",
        NIGHTSHIFT_WEBHOOK_TOKEN_FILE: tokenFile,
        NIGHTSHIFT_WEBHOOK_BASIC: "am:pass:word",
        NIGHTSHIFT_MAX_BODY_BYTES: "400000",
      },
      app: { redisGraceMs: 1000 },
    });
    await deploy(world.k, { namespace: "mcp-production", name: "mcp-typescript-api", tag: "good" });
  }, 60_000);

  afterAll(async () => {
    await world?.stop();
    await kubernetes?.stop();
    rmSync(dir, { recursive: true, force: true });
  }, 60_000);

  const post = (body: string, headers: Record<string, string> = {}) =>
    fetch(`http://127.0.0.1:${world.port}/webhooks/alertmanager`, {
      method: "POST",
      body,
      headers: { "content-type": "application/json", authorization: `Bearer ${TOKEN}`, ...headers },
    });
  const one = (name: string, more: Record<string, unknown> = {}) =>
    JSON.stringify({
      version: "4",
      status: "firing",
      groupKey: name,
      alerts: [
        {
          status: "firing",
          labels: { alertname: name, severity: "warning" },
          startsAt: "2026-11-24T00:00:00Z",
          ...more,
        },
      ],
    });
  const metric = async (line: string) => {
    const all = await (await fetch(`http://127.0.0.1:${world.port}/metrics`)).text();
    return Number(
      all
        .split("\n")
        .find((l) => l.startsWith(line))
        ?.split(" ")
        .at(-1) ?? Number.NaN,
    );
  };

  it("lets in who shows the right papers, and nobody else (H47)", async () => {
    const basic = (pair: string) => ({ authorization: `Basic ${Buffer.from(pair).toString("base64")}` });

    expect((await post(one("P1"))).status).toBe(202);
    expect((await post(one("P1"), { authorization: "Bearer second-token" })).status).toBe(202);
    expect((await post(one("P1"), basic("am:pass:word"))).status).toBe(202);
    expect((await post(one("P1"), { authorization: "Bearer wrong" })).status).toBe(401);
    expect((await post(one("P1"), { authorization: "" })).status).toBe(401);
    expect((await post(one("P1"), basic("am:pass"))).status).toBe(401);
    expect((await post("{", { authorization: "Bearer wrong" })).status).toBe(401);
  });

  it("reads its token file again when it changes", async () => {
    writeFileSync(tokenFile, `${TOKEN}\nthird-token-of-another-length\n`);

    expect((await post(one("P2"), { authorization: "Bearer third-token-of-another-length" })).status).toBe(202);
    expect((await post(one("P2"), { authorization: "Bearer second-token" })).status).toBe(401);
  });

  it.each([
    ["no JSON", "{", 400, /JSON/],
    ["an empty object", "{}", 400, /^alerts: /],
    ["an unknown version", '{"version":"9","alerts":[]}', 400, /^version: .*found "9"/],
    ["too much", JSON.stringify({ version: "4", alerts: [], x: "y".repeat(400_001) }), 413, /at most 400000 bytes/],
  ])("answers %s with a clear error", async (_what, body, status, words) => {
    const before = await metric(`nightshift_webhooks_total{code="${status}"}`);
    const answer = await post(body);

    expect(answer.status).toBe(status);
    expect(((await answer.json()) as { error: string }).error).toMatch(words);
    expect(await metric(`nightshift_webhooks_total{code="${status}"}`)).toBe(before + 1);
  });

  it("answers another content type with 415", async () => {
    expect((await post(one("P3"), { "content-type": "text/plain" })).status).toBe(415);
  });

  it.each(payloads)("stores %s and then says so", async (name) => {
    expect((await post(readFileSync(folder + name, "utf8"))).status).toBe(202);
  });

  it("makes one incident of four alerts that one bad release causes, with one dedup_key (I1)", async () => {
    const raw = JSON.parse(text("54")) as { alerts: { fingerprint: string }[] };
    const prints = raw.alerts.map((alert) => alert.fingerprint);
    const record = await world.incident(
      "one incident of four alerts",
      (r) => r.target?.name === "mcp-typescript-api" && prints.every((p) => r.alerts.some((a) => a.fingerprint === p)),
    );

    expect(record.target).toMatchObject({
      kind: "Deployment",
      namespace: "mcp-production",
      name: "mcp-typescript-api",
    });
    const holders = (await world.incidents()).filter((r) => r.alerts.some((a) => prints.includes(a.fingerprint)));
    expect(holders.map((r) => r.id)).toEqual([record.id]);
  });

  it("keeps a bad alert aside, counts it, and takes the good one beside it", async () => {
    const before = await metric('nightshift_alerts_total{result="rejected"}');
    const body = JSON.parse(one("Beside")) as { alerts: unknown[] };
    body.alerts.push({ status: "firing", labels: { alertname: 7 }, startsAt: "2026-11-24T00:00:00Z" });
    const answer = await post(JSON.stringify(body));

    expect(answer.status).toBe(202);
    expect(await answer.json()).toMatchObject({ accepted: 1, rejected: [{ index: 1, field: "labels.alertname" }] });
    expect(await metric('nightshift_alerts_total{result="rejected"}')).toBe(before + 1);
    await world.incident("the good alert", (r) => r.alerts[0]?.labels["alertname"] === "Beside");
  });

  it("remembers a resolved alert whose firing it never saw, and does nothing when that comes late (H37)", async () => {
    const body = one("Late", { fingerprint: "abad1dea", status: "resolved", endsAt: "2026-11-24T00:05:00Z" });
    await post(body);
    await world.incident(
      "the tombstone",
      (r) => r.alerts[0]?.labels["alertname"] === "Late" && r.state === "suppressed",
    );

    await post(one("Late", { fingerprint: "abad1dea" }));
    const record = await world.incident(
      "the late firing",
      (r) => r.alerts[0]?.labels["alertname"] === "Late" && (r.alerts[0]?.count ?? 0) > 1,
    );

    expect(record).toMatchObject({ state: "suppressed", resolved: true });
  });

  it("reads from Alertmanager what was cut off a notification (H36)", async () => {
    await world.fire({ alertname: "CutOff", severity: "warning", namespace: "cut" });
    const body = JSON.parse(one("Shown")) as Record<string, unknown>;
    await post(JSON.stringify({ ...body, truncatedAlerts: 1 }));

    await world.incident("the alert that was cut off", (r) => r.alerts[0]?.labels["alertname"] === "CutOff");
  });

  it("pages when what was cut off cannot be read (H36)", async () => {
    await world.alertmanager.stop();
    const body = JSON.parse(one("Shown2")) as Record<string, unknown>;
    await post(JSON.stringify({ ...body, truncatedAlerts: 3 }));

    await until(
      "the page",
      async () =>
        world.pager.alerts.some(
          (a) => a.dedupKey.startsWith("nightshift/truncated/") && /cut 3 alerts off/.test(a.summary),
        ),
      20_000,
    );
  });

  it("answers 503 while Redis hangs, pages by the direct path, and takes the repeat afterwards (H36 H42 H48)", async () => {
    process.kill(world.redis.pid, "SIGSTOP");
    try {
      const answer = await post(one("Hung", { labels: { alertname: "Hung", severity: "critical" } }));

      expect(answer.status).toBe(503);
      expect(answer.headers.get("retry-after")).toBe("5");
      await until(
        "the direct page",
        async () => world.pager.alerts.some((a) => a.dedupKey === "nightshift/redis-down"),
        20_000,
      );
      // The alert itself is told of under the key that its incident will have.
      const key = dedupKeyOf("Hung", "");
      await until("the alert's own page", async () =>
        world.pager.alerts.some((a) => a.dedupKey === key && /Hung fires and could not be stored/.test(a.summary)),
      );
    } finally {
      process.kill(world.redis.pid, "SIGCONT");
    }
    await until("Redis to be usable", async () => (await post(one("Hung"))).status === 202, 20_000);
    await world.incident("the alert", (r) => r.alerts[0]?.labels["alertname"] === "Hung");
    expect(world.pager.violations).toEqual([]);
  });

  it("starts every series at zero", async () => {
    const all = await (await fetch(`http://127.0.0.1:${world.port}/metrics`)).text();

    for (const series of [
      'nightshift_effects_total{runbook="rollback-deployment",answer="unknown"} 0',
      'nightshift_guard_verdicts_total{guard="storm",verdict="holds"} 0',
      'nightshift_incident_outcomes_total{outcome="held",reason="cannot-tell"} 0',
    ])
      expect(all).toContain(series);
  });
});
