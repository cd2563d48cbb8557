import fastify from "fastify";
import { describe, expect, it } from "vitest";
import { operations } from "../../handlers/operations.js";
import { silentLog } from "../../src/log.js";
import { createMetrics } from "../../src/metrics.js";
import { sweep, type SweepPorts } from "../../src/sweep.js";

const fresh = () => createMetrics({ guards: [], runbooks: [], outcomes: [], reasons: [] });
const NOW = 1_790_000_000_000;

/** A sweep over these records and nothing else; `broken` is a record that cannot be read. */
async function swept(records: Record<string, unknown>, metrics = fresh()) {
  const ports = {
    metrics,
    log: silentLog,
    clock: { now: () => NOW },
    records: {
      attention: async () => Object.keys(records),
      get: async (id: string) => records[id],
      forget: async () => {},
    },
    transition: async () => null,
    add: async () => {},
    engine: null,
    alertmanagers: null,
    facts: { heartbeats: async () => ({}) },
    policy: () => ({ rules: [] }),
    revive: async () => [],
  } as unknown as SweepPorts;
  await sweep(ports, new Set());
  const text = await metrics.registry.metrics();
  return (name: string) => Number(new RegExp(`^${name} (\\S+)$`, "m").exec(text)?.[1]);
}

const ask = (createdAt: number, expiresAt: number) => ({
  state: "waiting",
  updatedAt: NOW - 60_000,
  plan: { nonce: "n", createdAt, expiresAt },
});

describe("the gauges that alerting rules are about", () => {
  it("tell how many asks wait, how old the oldest is, and how far one is past its expiry", async () => {
    const gauge = await swept({
      a: ask(NOW - 90_000, NOW + 510_000),
      b: ask(NOW - 900_000, NOW - 300_000),
      c: { state: "open", updatedAt: NOW, deadline: NOW + 60_000, plan: null },
    });

    expect(gauge("nightshift_asks")).toBe(2);
    expect(gauge("nightshift_oldest_ask_seconds")).toBe(900);
    expect(gauge("nightshift_ask_overdue_seconds")).toBe(300);
  });

  it("fall back to 0 when nothing waits, and know no negative lateness", async () => {
    const metrics = fresh();
    await swept({ a: ask(NOW - 900_000, NOW - 300_000) }, metrics);
    const gauge = await swept({ b: ask(NOW - 1000, NOW + 60_000) }, metrics);
    expect(gauge("nightshift_ask_overdue_seconds")).toBe(0);
    expect((await swept({}, metrics))("nightshift_asks")).toBe(0);
  });

  it("say that a process is not ready when it is scraped, asked for or not, even when what it stands on hangs", async () => {
    let ready: () => Promise<string[]> = async () => [];
    const metrics = fresh();
    const server = fastify();
    operations(server, { metrics, readiness: () => ready(), refresh: async () => undefined });
    const scraped = async () => /^nightshift_ready (\d)/m.exec((await server.inject("/metrics")).body)?.[1];

    expect(await scraped()).toBe("1");
    ready = async () => ["Redis is not connected"];
    expect(await scraped()).toBe("0");
    ready = async () => [];
    expect(await scraped()).toBe("1");
    ready = () => new Promise(() => undefined);
    expect(await scraped()).toBe("0");
    await server.close();
  });
});
