/** What stands in jobs: pointers to records, plus the two inputs that are stored before they are answered. */
import { z } from "zod";

/** Jobs carry a version; one of a newer version is left for the newer Nightshift. */
export const JOB_VERSION = 1;

const version = z.number().int().min(1).max(JOB_VERSION);

const alert = z.object({
  identity: z.string(),
  fingerprint: z.string(),
  startsAt: z.string(),
  endsAt: z.string().nullable(),
  status: z.enum(["firing", "resolved"]),
  labels: z.record(z.string(), z.string()),
  annotations: z.record(z.string(), z.string()),
  generatorURL: z.string(),
  groupKey: z.string().nullable(),
  receiver: z.string(),
  externalURL: z.string(),
  receivedAt: z.number(),
});

const click = z.object({
  answer: z.enum(["approve", "deny", "abort", "replan"]),
  incident: z.string(),
  nonce: z.string(),
  digest: z.string(),
  mac: z.string(),
  install: z.string(),
  by: z.string(),
  name: z.string(),
  at: z.number(),
  reply: z.object({ channel: z.string(), user: z.string() }).nullable(),
});

export const jobSchema = z.discriminatedUnion("kind", [
  z.object({
    v: version,
    kind: z.literal("webhook"),
    alerts: z.array(alert),
    truncated: z.number(),
    groupKey: z.string().nullable(),
  }),
  z.object({ v: version, kind: z.literal("consider"), incident: z.string() }),
  z.object({ v: version, kind: z.literal("expire"), incident: z.string(), nonce: z.string() }),
  z.object({ v: version, kind: z.literal("click"), click }),
  // `lease` is the target's, so that record and Lease can be read side by side; the record says which it is.
  z.object({ v: version, kind: z.literal("carryOut"), incident: z.string(), lease: z.string().exactOptional() }),
  // The front may not write and asks the hands whether the API server would take this plan. Only ever tried, never done.
  z.object({
    v: version,
    kind: z.literal("dryRun"),
    incident: z.string(),
    plan: z.looseObject({ runbook: z.string(), nonce: z.string() }),
  }),
  z.object({ v: version, kind: z.literal("tell"), incident: z.string() }),
]);
export type Job = z.infer<typeof jobSchema>;
export type WebhookJob = Extract<Job, { kind: "webhook" }>;
export type DryRunJob = Extract<Job, { kind: "dryRun" }>;

export type QueueName = "alerts" | "runs" | "notices";

/** Which queue a job belongs to. */
export function queueOf(job: Job): QueueName {
  if (job.kind === "carryOut" || job.kind === "dryRun") return "runs";
  if (job.kind === "tell") return "notices";
  return "alerts";
}

/** Nudges of one record collapse; stored inputs never do. */
export function collapseKey(job: Job): string | null {
  if (job.kind === "webhook" || job.kind === "click" || job.kind === "dryRun") return null;
  if (job.kind === "expire") return `expire:${job.incident}:${job.nonce}`;
  return `${job.kind}:${job.incident}`;
}
