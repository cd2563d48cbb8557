/** The policy file's shape. Every object is strict: an unknown key is a fault, never ignored. */
import { z } from "zod";
import { targetSources } from "../target/target.js";
import { autonomies } from "./policy.js";

const UNITS: Record<string, number> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** `90s`, `10m`, `1h`, `14d`, `1h30m` in milliseconds; null where it is none. */
export function durationMs(text: string): number | null {
  if (!/^(\d+(ms|s|m|h|d))+$/.test(text)) return null;
  let sum = 0;
  for (const [, count = "0", unit = "s"] of text.matchAll(/(\d+)(ms|s|m|h|d)/g))
    sum += Number(count) * (UNITS[unit] ?? 0);
  return sum;
}

function duration(least: string, most: string) {
  return z.string().transform((text, context) => {
    const ms = durationMs(text);
    if (ms === null) {
      context.addIssue({
        code: "custom",
        message: `expected a duration such as 30s, 10m or 1h, found ${JSON.stringify(text)}`,
      });
      return z.NEVER;
    }
    if (ms < (durationMs(least) ?? 0) || ms > (durationMs(most) ?? 0)) {
      context.addIssue({ code: "custom", message: `expected ${least} to ${most}, found ${text}` });
      return z.NEVER;
    }
    return ms;
  });
}

function rate(mostCount: number, mostWithin: string) {
  return z.string().transform((text, context) => {
    const found = /^(\d+)\/(\S+)$/.exec(text);
    const withinMs = found ? durationMs(found[2] ?? "") : null;
    const count = Number(found?.[1] ?? Number.NaN);
    if (withinMs === null || withinMs <= 0) {
      context.addIssue({ code: "custom", message: `expected a rate such as 3/1h, found ${JSON.stringify(text)}` });
      return z.NEVER;
    }
    if (count < 1 || count > mostCount || withinMs > (durationMs(mostWithin) ?? 0)) {
      context.addIssue({
        code: "custom",
        message: `expected 1 to ${mostCount} within at most ${mostWithin}, found ${text}`,
      });
      return z.NEVER;
    }
    return { count, withinMs };
  });
}

const whole = (least: number, most: number) =>
  z.number().int().min(least, `expected ${least} to ${most}`).max(most, `expected ${least} to ${most}`);

const approval = z
  .strictObject({
    from: z
      .array(
        z
          .string()
          .regex(
            /^(slack-group:[a-z0-9._-]+|slack-user:[UW][A-Z0-9]+|pagerduty:oncall|cli:\*)$/,
            "expected slack-group:HANDLE, slack-user:ID, pagerduty:oncall or cli:*",
          ),
      )
      .min(1, "expected at least one source of approvers"),
    count: whole(1, 5),
    expires: duration("10s", "4h"),
  })
  .partial();

const escalate = z
  .strictObject({
    severity: z.enum(["from-alert", "critical", "error", "warning", "info"]),
    paging: z.enum(["alongside", "instead"]),
  })
  .partial();

const guards = z
  .strictObject({
    freshness: z.strictObject({ auto: duration("10s", "1h"), approved: duration("10s", "4h") }).partial(),
    budget: z
      .strictObject({
        target: rate(100, "24h"),
        targetDay: rate(100, "24h"),
        namespace: rate(100, "24h"),
        cluster: rate(100, "24h"),
        atOnce: whole(1, 100),
      })
      .partial(),
    storm: z
      .strictObject({
        workloads: whole(2, 100),
        within: duration("10s", "1h"),
        quiet: duration("0s", "4h"),
        share: z.number().gt(0).max(1),
      })
      .partial(),
    change: z.strictObject({ deployAge: duration("0s", "24h"), humanWrite: duration("0s", "24h") }).partial(),
    attempts: z.strictObject({ automatic: rate(100, "24h"), flaps: rate(100, "24h") }).partial(),
    data: z.strictObject({ maxAge: duration("5s", "15m") }).partial(),
    rollback: z.strictObject({ health: duration("0s", "30d") }).partial(),
  })
  .partial();

const verify = z
  .strictObject({ samples: whole(1, 100), every: duration("1s", "10m"), bake: duration("0s", "2h") })
  .partial();

const autonomy = z.enum(autonomies, `expected one of ${autonomies.join(", ")}`);

/** Literal text or `$labels.x`, the only substitution. */
const template = z
  .string()
  .refine(
    (text) =>
      text.startsWith("$") ? /^\$labels\.[A-Za-z_][A-Za-z0-9_]*$/.test(text) : text !== "" && !/[${}]/.test(text),
    {
      message: "expected a literal name or $labels.NAME, the only substitution",
    },
  );

const target = z.strictObject({
  kind: z
    .string()
    .regex(/^[A-Z][A-Za-z]+$/, "expected a kind such as Deployment")
    .optional(),
  from: z.enum(targetSources, `expected one of ${targetSources.join(", ")}`).optional(),
  namespace: template.optional(),
  name: template,
});

const rule = z.strictObject({
  name: z.string().regex(/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/, "expected lower-case letters, digits and hyphens"),
  match: z.array(z.string()).min(1, "expected at least one matcher"),
  runbook: z.string().optional(),
  params: z.unknown().optional(),
  target: target.optional(),
  autonomy: autonomy.optional(),
  approval: approval.optional(),
  guards: guards.optional(),
  verify: verify.optional(),
  escalate: escalate.optional(),
  ignore: z.literal(true, "expected true").optional(),
  heartbeat: duration("10s", "24h").optional(),
});

export const policySchema = z.strictObject({
  apiVersion: z.literal("nightshift.dev/v1", 'expected "nightshift.dev/v1"'),
  clusters: z
    .array(
      z.strictObject({
        name: z.string().min(1, "expected a name"),
        namespaces: z.array(z.string()).min(1, "expected at least one namespace"),
      }),
    )
    .min(1, "expected at least one cluster"),
  protected: z.array(z.string()).optional(),
  maxAutonomy: autonomy.optional(),
  defaults: z
    .strictObject({ autonomy: autonomy.optional(), approval: approval.optional(), escalate: escalate.optional() })
    .optional(),
  guards: guards.optional(),
  verify: verify.optional(),
  rules: z.array(rule),
});

export type PolicyFile = z.infer<typeof policySchema>;
export type RuleFile = PolicyFile["rules"][number];
