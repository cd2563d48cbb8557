import type { FastifyInstance } from "fastify";
import type { Metrics } from "../src/metrics.js";

/** What is asked about this process. `readiness` lists what is missing; an empty list is ready. */
export interface OperationsPorts {
  metrics: Metrics;
  readiness(): Promise<string[]>;
  /** Gauges that are read when they are asked for. */
  refresh(): Promise<void>;
}

/** A scrape may not wait for a Redis or an API server that hangs: what has not answered by then is not ready. */
const SCRAPE_MS = 3000;

/** `GET /healthz`, `/readyz`, `/metrics`. Alive means that the event loop answers; ready means that alerts can be taken. */
export function operations(server: FastifyInstance, ports: OperationsPorts): void {
  server.get("/healthz", async () => ({ status: "ok" }));
  const look = async () => {
    const missing = await ports.readiness();
    ports.metrics.ready.set(missing.length === 0 ? 1 : 0);
    return missing;
  };
  server.get("/readyz", async (_request, reply) => {
    const missing = await look();
    return reply
      .code(missing.length === 0 ? 200 : 503)
      .send(missing.length === 0 ? { status: "ready" } : { status: "not ready", missing });
  });
  server.get("/metrics", async (_request, reply) => {
    const refreshed = Promise.allSettled([look(), ports.refresh()]).then(([ready]) => ready.status === "fulfilled");
    const late = new Promise<false>((resolve) => setTimeout(resolve, SCRAPE_MS, false).unref());
    if (!(await Promise.race([refreshed, late]))) ports.metrics.ready.set(0);
    return reply.type(ports.metrics.registry.contentType).send(await ports.metrics.registry.metrics());
  });
}
