import { describe, expect, it } from "vitest";
import { runbook as health } from "../../runbooks/check-health.js";
import { runbook as latency } from "../../runbooks/diagnose-latency.js";
import { redact } from "../../src/log.js";
import type { Diagnosis, HealthAnswer, HealthCheck } from "../../src/runbook.js";
import { ago, MINUTE, NOW, NS } from "./scene.js";
import { hpa, type Measured, measuring, NAME, object, podOf, type Shop, stall } from "./shop.js";

interface Asked {
  measured?: Measured | null;
  answers?: Record<string, HealthAnswer>;
  startsAt?: string;
}

async function diagnose(
  runbook: typeof health | typeof latency,
  shop: Shop,
  of: Asked = {},
): Promise<Diagnosis & { asked: HealthCheck[] }> {
  const asked: HealthCheck[] = [];
  const before = JSON.stringify(shop.cluster.world());
  const found = await runbook.diagnose({
    target: shop.target,
    params: runbook.params.parse({}) as never,
    alerts: [{ labels: { service: "server" }, startsAt: of.startsAt ?? ago(20 * MINUTE) }] as never,
    cluster: shop.cluster,
    measure: measuring(of.measured === undefined ? [] : of.measured),
    now: NOW,
    redact,
    logLines: 20,
    probe: async (check) => {
      asked.push(check);
      const where = check.kind === "http" ? check.url : `${check.kind}://${check.host}:${check.port}`;
      return (
        Object.entries(of.answers ?? {}).find(([part]) => where.includes(part))?.[1] ?? {
          ok: true,
          says: "fine",
          ms: 3,
        }
      );
    },
  });
  expect(JSON.stringify(shop.cluster.world())).toBe(before);
  return { ...found, asked };
}

const service = (name: string, port: number, more: { app?: string; annotations?: object; spec?: object } = {}) => ({
  apiVersion: "v1",
  kind: "Service",
  metadata: {
    name,
    namespace: NS,
    uid: `svc-${name}`,
    ...(more.annotations ? { annotations: more.annotations } : {}),
  } as never,
  spec: { selector: { app: more.app ?? name }, ports: [{ port }], ...more.spec },
});
const platform = [service("server", 8002, { app: NAME }), service("postgres", 5432), service("redis", 6379)];

describe("check-health", () => {
  it("asks HTTP services at their path, PostgreSQL and Redis in their own words", async () => {
    const { asked, headline } = await diagnose(health, stall({ more: platform }));

    expect(asked).toEqual([
      { kind: "http", url: `http://server.${NS}.svc:8002/health` },
      { kind: "postgres", host: `postgres.${NS}.svc`, port: 5432 },
      { kind: "redis", host: `redis.${NS}.svc`, port: 6379 },
    ]);
    expect(headline).toEqual([`3 of 3 services of ${NS} answer`]);
  });

  it("names who does not answer first, with its pods", async () => {
    const found = await diagnose(health, stall({ more: [...platform, podOf(7, { ready: false })] }), {
      answers: { redis: { ok: false, says: "ECONNREFUSED", ms: 1 } },
    });

    expect(found.headline).toEqual([
      `2 of 3 services of ${NS} answer; redis does not`,
      "redis (redis ping): ECONNREFUSED, 0 of 0 pods ready",
    ]);
    expect(found.details[0]?.lines[0]).toBe("server (GET /health): answers, fine, 3 ms, 4 of 5 pods ready");
  });

  it("a name that cannot be resolved from here says nothing about the service (H16)", async () => {
    const found = await diagnose(health, stall({ more: platform }), {
      answers: { [`.${NS}.svc`]: { ok: false, says: "getaddrinfo ENOTFOUND server", ms: 1 } },
    });

    expect(found.headline[0]).toBe(`0 of 3 services of ${NS} answer`);
    expect(found.headline[1]).toMatch(/^not known: server, postgres, redis/);
    expect(found.headline.join()).not.toMatch(/do(es)? not$/m);
  });

  it("where nothing can be reached from here, it says that, and blames nobody (H16)", async () => {
    const silent = { ok: false, says: "no answer within 3 s", ms: 3000 };
    const shut = await diagnose(health, stall({ more: platform }), { answers: { [`.${NS}.svc`]: silent } });
    expect(shut.headline).toEqual([
      `0 of 3 services of ${NS} answer`,
      "not known: server, postgres, redis: nothing there can be reached from where Nightshift runs",
    ]);

    const one = await diagnose(health, stall({ more: platform }), { answers: { server: silent } });
    expect(one.headline[0]).toBe(`2 of 3 services of ${NS} answer; server does not`);
    const down = await diagnose(health, stall({ ready: 0, more: platform }), { answers: { [`.${NS}.svc`]: silent } });
    expect(down.headline[0]).toBe(`0 of 3 services of ${NS} answer; server, postgres, redis do not`);
  });

  it("asks only plain paths, and only what can be asked (H47)", async () => {
    const { asked } = await diagnose(
      health,
      stall({
        more: [
          service("own", 80, { annotations: { "nightshift.dev/health-path": "/live/ready" } }),
          service("evil", 80, { annotations: { "nightshift.dev/health-path": "@attacker.example/?x=$(id)" } }),
          service("none", 9000, { annotations: { "nightshift.dev/health-path": "none" } }),
          service("outside", 80, { spec: { type: "ExternalName", externalName: "metadata.example" } }),
        ],
      }),
    );

    expect(asked).toEqual([
      { kind: "http", url: `http://own.${NS}.svc:80/live/ready` },
      { kind: "http", url: `http://evil.${NS}.svc:80/health` },
      { kind: "tcp", host: `none.${NS}.svc`, port: 9000 },
    ]);
  });

  it.each([
    ["TLS by its number", [{ port: 443 }], { kind: "tcp", host: `it.${NS}.svc`, port: 443 }],
    ["TLS by its name", [{ name: "https-web", port: 9443 }], { kind: "tcp", host: `it.${NS}.svc`, port: 9443 }],
    ["gRPC", [{ port: 9000, appProtocol: "grpc" }], { kind: "tcp", host: `it.${NS}.svc`, port: 9000 }],
    [
      "HTTP beside gRPC",
      [
        { name: "grpc", port: 9000 },
        { name: "http", port: 8080 },
      ],
      { kind: "http", url: `http://it.${NS}.svc:8080/health` },
    ],
    ["another database", [{ port: 3306 }], { kind: "tcp", host: `it.${NS}.svc`, port: 3306 }],
    [
      "a port of a name of its own",
      [{ name: "web", port: 3000 }],
      { kind: "http", url: `http://it.${NS}.svc:3000/health` },
    ],
  ])("asks a Service in the protocol of its port: %s", async (_, ports, expected) => {
    const { asked } = await diagnose(health, stall({ more: [service("it", 0, { spec: { ports } })] }));
    expect(asked).toEqual([expected]);
  });

  it.each([
    [404, undefined, true],
    [302, undefined, true],
    [503, undefined, false],
    [404, "/live", false],
  ])("HTTP %i at a path that %s promised: alive is %s", async (status, path, alive) => {
    const more = path === undefined ? {} : { annotations: { "nightshift.dev/health-path": path } };
    const { headline } = await diagnose(health, stall({ more: [service("grafana", 3000, more)] }), {
      answers: { grafana: { ok: false, says: `HTTP ${status}`, ms: 1 } },
    });
    expect(headline[0]).toBe(
      alive ? `1 of 1 services of ${NS} answer` : `0 of 1 services of ${NS} answer; grafana does not`,
    );
  });
});

/** Values by a part of the query; `offset` stands for before the onset. */
const signals: Measured = [
  [`service="server"}[5m] offset 1800s))) / `, 0],
  ['duration_seconds_bucket{namespace="mcp-production",service="server"}[5m] offset', 0.3],
  ['duration_seconds_bucket{namespace="mcp-production",service="server"}', 2.44],
  ['status=~"5.."}[5m] offset', 0.001],
  ['status=~"5.."', 0.004],
  ['http_requests_total{namespace="mcp-production",service="server"}[5m] offset', 118],
  ['http_requests_total{namespace="mcp-production",service="server"}', 120],
  ["container_cpu_usage", 0.93],
  ["container_memory", 0.6],
];

describe("diagnose-latency", () => {
  it("tells the four golden signals around the onset, and the autoscaler at its ceiling", async () => {
    const found = await diagnose(latency, stall({ more: [...platform, hpa(2, 4)] }), { measured: signals });

    expect(found.headline).toEqual([
      "P95 2.4 s now, 300 ms before it began",
      "traffic 120/s, 118/s before; errors 0.4 %, 0.1 % before",
      "CPU 93 % of requests, memory 60 % of its limit, 4 of 4 pods ready, its autoscaler is at its ceiling (4 of 4)",
      "no rollout in the hour before, and what it depends on answers",
    ]);
  });

  it("names the rollout that came before it began", async () => {
    const set = {
      apiVersion: "apps/v1",
      kind: "ReplicaSet",
      metadata: {
        name: `${NAME}-hash`,
        namespace: NS,
        uid: "rs1",
        creationTimestamp: ago(23 * MINUTE),
        annotations: { "deployment.kubernetes.io/revision": "7" },
        ownerReferences: [{ kind: "Deployment", name: NAME, uid: "w1" }],
      } as never,
    };
    const shop = stall({ more: platform });
    const live = await shop.cluster.get(shop.target);
    const labels = live?.spec.template.metadata.labels;
    shop.cluster.seed({
      ...set,
      metadata: { ...(set.metadata as object), labels } as never,
      spec: { template: live?.spec.template },
    });

    const { headline } = await diagnose(latency, shop, { measured: signals });
    expect(headline[3]).toBe("revision 7 (registry.example/server:v3) was rolled out 3 min before it began");
    const later = await diagnose(latency, shop, { measured: signals, startsAt: ago(30 * MINUTE) });
    expect(later.headline[3]).not.toContain("revision 7");
  });

  it("names the dependency that is down, and shows the others", async () => {
    const dead = object("v1", "Pod", {
      name: "postgres-0",
      status: { conditions: [{ type: "Ready", status: "False" }] },
    });
    Object.assign(dead.metadata ?? {}, { labels: { app: "postgres" } });
    const found = await diagnose(latency, stall({ more: [...platform, dead] }), {
      measured: [...signals, ["pg_up", 0], ["redis_up", 1], ["stat_activity", 95], ["max_connections", 100]],
    });

    expect(found.headline[3]).toMatch(/^postgres: 0 of 1 pods ready/);
    expect(found.details.find((d) => d.title === "Depends on")?.lines).toEqual(
      expect.arrayContaining([
        "PostgreSQL is DOWN by its exporter",
        "Redis is up",
        "PostgreSQL has 95 of 100 connections open",
      ]),
    );
  });

  it("says what it could not measure; no data is not zero (H16)", async () => {
    for (const measured of [null, [], [["", 1, 10 * MINUTE]] as Measured]) {
      const { headline } = await diagnose(latency, stall({ more: platform }), { measured });
      expect(headline.slice(0, 3)).toEqual([
        "P95 is not known: no fresh samples",
        "traffic not known; errors not known",
        "CPU not measured, memory not measured, 4 of 4 pods ready",
      ]);
    }
  });

  it("says that the target is gone", async () => {
    const shop = stall();
    shop.cluster.remove({ kind: "Deployment", namespace: NS, name: NAME });

    expect((await diagnose(latency, shop)).headline).toEqual([`Deployment ${NS}/${NAME} is gone`]);
  });

  it("takes only names of metrics from the policy, and quotes what comes from labels (H47)", async () => {
    expect(latency.params.safeParse({ requests: 'x{a="b"}' }).success).toBe(false);
    const queries: string[] = [];
    const shop = stall({ more: [service('se"rver', 80, { app: NAME })] });
    await latency.diagnose({
      target: shop.target,
      params: latency.params.parse({}) as never,
      alerts: [],
      cluster: shop.cluster,
      measure: async (expr) => {
        queries.push(expr);
        return [];
      },
      now: NOW,
      redact,
      logLines: 0,
      probe: async () => ({ ok: true, says: "", ms: 0 }),
    });
    expect(queries.some((query) => query.includes('service="se\\"rver"'))).toBe(true);
  });
});
