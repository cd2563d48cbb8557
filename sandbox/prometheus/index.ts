/** A stand-in for Prometheus' HTTP API on loopback: answers are registered, nothing is evaluated. */
import { sendJson, serve } from "../http.js";

export interface StandInRule {
  name: string;
  query: string;
  duration?: number;
  keepFiringFor?: number;
  labels?: Record<string, string>;
}

export interface Series {
  metric: Record<string, string>;
  value: number;
}

type Answer = Series[] | null;

export interface PrometheusStandIn {
  url: string;
  /** Answers a query; null is a query that nobody registered: an empty vector. */
  answer(query: (expr: string) => Answer | Promise<Answer>): void;
  rules: StandInRule[];
  queries: string[];
  /** 500 for everything, or no answer at all. */
  fault: "none" | "error" | "hang";
  stop(): Promise<void>;
}

export async function startPrometheusStandIn(now: () => number): Promise<PrometheusStandIn> {
  let answering: (expr: string) => Answer | Promise<Answer> = () => null;
  const stand: PrometheusStandIn = {
    url: "",
    answer: (query) => (answering = query),
    rules: [],
    queries: [],
    fault: "none",
    stop: async () => undefined,
  };
  const served = await serve("Prometheus", async (request, response, body) => {
    if (stand.fault === "hang") return;
    if (stand.fault === "error")
      return sendJson(response, 500, { status: "error", errorType: "internal", error: "stand-in fault" });
    const url = new URL(request.url ?? "/", "http://stand-in");
    if (url.pathname === "/api/v1/query") {
      const expr = new URLSearchParams(body).get("query") ?? url.searchParams.get("query") ?? "";
      stand.queries.push(expr);
      const at = now() / 1000;
      if (expr === "time()")
        return sendJson(response, 200, { status: "success", data: { resultType: "scalar", result: [at, String(at)] } });
      // Every sample is of this very moment.
      if (expr.includes("(timestamp("))
        return sendJson(response, 200, {
          status: "success",
          data: { resultType: "vector", result: [{ metric: {}, value: [at, String(at)] }] },
        });
      const result = ((await answering(expr)) ?? []).map(({ metric, value }) => ({
        metric,
        value: [at, Number.isNaN(value) ? "NaN" : String(value)],
      }));
      return sendJson(response, 200, { status: "success", data: { resultType: "vector", result } });
    }
    if (url.pathname === "/api/v1/rules") {
      const rules = stand.rules.map((rule) => ({
        state: "inactive",
        type: "alerting",
        health: "ok",
        alerts: [],
        annotations: {},
        labels: rule.labels ?? {},
        name: rule.name,
        query: rule.query,
        duration: rule.duration ?? 0,
        keepFiringFor: rule.keepFiringFor ?? 0,
        evaluationTime: 0,
        lastEvaluation: new Date(now()).toISOString(),
      }));
      return sendJson(response, 200, {
        status: "success",
        data: {
          groups: [
            {
              name: "sandbox",
              file: "sandbox.yml",
              interval: 15,
              limit: 0,
              rules,
              evaluationTime: 0,
              lastEvaluation: new Date(now()).toISOString(),
            },
          ],
        },
      });
    }
    if (url.pathname === "/api/v1/status/buildinfo")
      return sendJson(response, 200, {
        status: "success",
        data: { version: "stand-in", revision: "", branch: "", buildUser: "", buildDate: "", goVersion: "" },
      });
    if (url.pathname === "/-/ready") return sendJson(response, 200, "Prometheus stand-in is ready.");
    sendJson(response, 404, { status: "error", errorType: "not_found", error: "not found" });
  });
  stand.url = served.url;
  stand.stop = served.stop;
  return stand;
}
