import { z } from "zod";
import { UnavailableError } from "../errors.js";
import type { AlertingRule, MetricsReader, Sample } from "../verify/metrics.js";
import { fetchJson, splitUrl } from "./http.js";
import { shareAnswer } from "./shared-answer.js";

const TIMEOUT_MS = 5000;
/** Alerting rules change with a reload of Prometheus; every guard and every look of a verification asks for them. */
const RULES_MS = 5000;

const vector = z.object({
  status: z.literal("success"),
  data: z.object({
    resultType: z.string(),
    result: z.array(z.object({ metric: z.record(z.string(), z.string()), value: z.tuple([z.number(), z.string()]) })),
  }),
});
const scalar = z.object({
  status: z.literal("success"),
  data: z.object({ resultType: z.literal("scalar"), result: z.tuple([z.number(), z.string()]) }),
});

const rules = z.object({
  status: z.literal("success"),
  data: z.object({
    groups: z.array(
      z.object({
        interval: z.number().optional(),
        rules: z.array(
          z.object({
            type: z.string().optional(),
            name: z.string(),
            query: z.string(),
            duration: z.number().optional(),
            keepFiringFor: z.number().optional(),
            labels: z.record(z.string(), z.string()).nullish(),
          }),
        ),
      }),
    ),
  }),
});

export interface PrometheusClient extends MetricsReader {
  /** Prometheus' clock, milliseconds. */
  serverTime(): Promise<number>;
  buildVersion(): Promise<string>;
  /** Every alerting rule that it evaluates. */
  allAlertingRules(): Promise<AlertingRule[]>;
}

/** The gate to Prometheus' HTTP API. Errors: UnavailableError, TerminalError for a refused query. */
export function createPrometheus(url: string): PrometheusClient {
  const { base, headers } = splitUrl(url);
  const form = { ...headers, "content-type": "application/x-www-form-urlencoded" };

  async function ask(expr: string): Promise<unknown> {
    return fetchJson("Prometheus", `${base}/api/v1/query`, {
      method: "POST",
      headers: form,
      body: new URLSearchParams({ query: expr }).toString(),
      timeoutMs: TIMEOUT_MS,
    });
  }

  async function allAlertingRules(): Promise<AlertingRule[]> {
    const parsed = rules.safeParse(
      await fetchJson("Prometheus", `${base}/api/v1/rules?type=alert`, { headers, timeoutMs: TIMEOUT_MS }),
    );
    if (!parsed.success)
      throw new UnavailableError("ERR_UNREADABLE", "Prometheus answered its rules in a shape that is not known");
    return parsed.data.data.groups.flatMap((group) =>
      group.rules
        .filter((rule) => rule.type !== "recording")
        .map((rule) => ({
          name: rule.name,
          expr: rule.query,
          forMs: (rule.duration ?? 0) * 1000,
          keepFiringForMs: (rule.keepFiringFor ?? 0) * 1000,
          labels: rule.labels ?? {},
          everyMs: (group.interval ?? 60) * 1000,
        })),
    );
  }

  const shared = shareAnswer(allAlertingRules, RULES_MS);

  return {
    async query(expr): Promise<Sample[]> {
      const answer = await ask(expr);
      const asScalar = scalar.safeParse(answer);
      if (asScalar.success) return [sample({}, asScalar.data.data.result)];
      const parsed = vector.safeParse(answer);
      if (!parsed.success)
        throw new UnavailableError("ERR_UNREADABLE", "Prometheus answered a query in a shape that is not known");
      return parsed.data.data.result.map(({ metric, value }) => sample(metric, value));
    },
    alertingRules: async (name) => (await shared.recent().answer).filter((rule) => rule.name === name),
    allAlertingRules,
    async serverTime() {
      const parsed = scalar.safeParse(await ask("time()"));
      if (!parsed.success) throw new UnavailableError("ERR_UNREADABLE", "Prometheus did not tell its time");
      return Number(parsed.data.data.result[1]) * 1000;
    },
    async buildVersion() {
      const answer = (await fetchJson("Prometheus", `${base}/api/v1/status/buildinfo`, {
        headers,
        timeoutMs: TIMEOUT_MS,
      })) as { data?: { version?: unknown } };
      return String(answer.data?.version ?? "unknown");
    },
  };
}

function sample(labels: Record<string, string>, [at, value]: [number, string]): Sample {
  return {
    labels,
    value: value === "+Inf" ? Number.POSITIVE_INFINITY : value === "-Inf" ? Number.NEGATIVE_INFINITY : Number(value),
    at: at * 1000,
  };
}
