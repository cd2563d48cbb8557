/** Which part of the hall does which job: part of the composition root. */
import type { JobEnd } from "../execution/ports.js";
import type { Pipeline } from "../pipeline.js";
import type { Job } from "../queue/jobs.js";

export function createHandle(pipeline: Pipeline): (job: Job, signal: AbortSignal) => Promise<JobEnd> {
  return (job, signal) => {
    switch (job.kind) {
      case "webhook":
        return pipeline.open(job);
      case "consider":
        return pipeline.consider(job.incident);
      case "expire":
        return pipeline.expire(job.incident, job.nonce);
      case "click":
        return pipeline.decide(job.click);
      case "carryOut":
        return pipeline.carryOut(job, signal);
      case "dryRun":
        return pipeline.dryRun(job);
      case "tell":
        return pipeline.tell(job.incident);
    }
  };
}
