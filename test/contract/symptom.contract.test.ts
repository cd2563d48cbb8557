import { createServer, type Server } from "node:http";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createPrometheus, type PrometheusClient } from "../../src/clients/prometheus.js";
import { symptomOf } from "../../src/verify/symptom.js";
import { prometheusProgram, type Running, startPrometheus, until } from "../harness/processes.js";

const missing = prometheusProgram() === null ? "no Prometheus on this machine" : null;

/** One alerting rule of each kind that is taken apart, on series of one service. */
const RULES: Record<string, string> = {
  Gauge: "queue_depth > 10",
  Rate: "rate(failures_total[3s]) > 1",
  Count: "increase(failures_total[10s]) > 5",
  Ratio: "rate(failures_total[3s]) / rate(requests_total[3s]) > 0.05",
  Qualified: "queue_depth > 10 and on (service) traffic > 1",
  Compared: "replicas_ready < replicas_wanted",
  Absent: 'absent(heartbeat{service="api"})',
};
const SICK = { queue_depth: 20, traffic: 5, replicas_ready: 1, replicas_wanted: 2 };
const WELL = { queue_depth: 3, traffic: 5, replicas_ready: 2, replicas_wanted: 2, heartbeat: 1 };

describe.skipIf(missing !== null)(
  `whether an alert's cause is gone, asked of a real Prometheus${missing === null ? "" : ` (not run: ${missing})`}`,
  () => {
    let exporter: Server;
    let prometheus: Running;
    let client: PrometheusClient;
    let gauges: Record<string, number> = SICK;
    const counters = { failures: 0, requests: 0, failing: true };

    beforeAll(async () => {
      exporter = createServer((_request, response) => {
        counters.requests += 100;
        if (counters.failing) counters.failures += 50;
        const all = { ...gauges, failures_total: counters.failures, requests_total: counters.requests };
        response.end(
          Object.entries(all)
            .map(([name, value]) => `${name}{service="api"} ${value}\n`)
            .join(""),
        );
      });
      await new Promise<void>((done) => exporter.listen(0, "127.0.0.1", () => done()));
      const { port } = exporter.address() as { port: number };
      const rules = Object.entries(RULES).map(([alert, expr]) => ({ alert, expr }));
      prometheus = await startPrometheus({
        rules: JSON.stringify({ groups: [{ name: "all", rules }] }),
        scrape: `http://127.0.0.1:${port}`,
        alertmanager: null,
      });
      client = createPrometheus(prometheus.url);
    }, 60_000);

    afterAll(async () => {
      await prometheus?.stop();
      exporter?.closeAllConnections();
      exporter?.close();
    });

    /** Of every rule: what is told of it now. Windows are cut to two seconds, samples count for three. */
    async function told(): Promise<Record<string, string>> {
      const settings = { maxAgeMs: 3000, windowMs: 2000, now: Date.now() };
      const all = Object.keys(RULES).map(async (alertname) => {
        const seen = await symptomOf({ labels: { alertname, service: "api" } }, client, settings);
        return [alertname, seen.state] as const;
      });
      return Object.fromEntries(await Promise.all(all));
    }
    const each = (state: string) => Object.fromEntries(Object.keys(RULES).map((name) => [name, state]));
    /** The state that lasts; what was last seen stands in the error. */
    async function becomes(expected: Record<string, string>): Promise<void> {
      let last: Record<string, string> = {};
      await until("the symptoms to be told", async () => {
        last = await told();
        return JSON.stringify(last) === JSON.stringify(expected);
      }).catch(() => undefined);
      expect(last).toEqual(expected);
    }

    it("tells trouble, its end, and a target that died from one another (H16 H29)", async () => {
      await becomes(each("present"));

      gauges = WELL;
      counters.failing = false;
      await becomes(each("gone"));

      // Trouble that is no longer worth an alert, since hardly anybody calls, is not gone.
      gauges = { ...WELL, queue_depth: 20, traffic: 0 };
      await becomes({ ...each("gone"), Gauge: "present", Qualified: "unknown" });

      gauges = WELL;
      await becomes(each("gone"));
      exporter.closeAllConnections();
      await new Promise((done) => exporter.close(done));
      // A window of ten seconds still holds the dead target's samples: what they come to is not called "gone" meanwhile.
      const dead = await until("the target's end to show", async () => {
        const now = await told();
        return now["Gauge"] === "unknown" && now;
      });
      expect(dead["Count"]).toBe("unknown");
      await becomes({ ...each("unknown"), Absent: "present" });
    }, 240_000);
  },
);
