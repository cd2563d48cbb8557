import type { FastifyInstance } from "fastify";
import type { Metrics } from "../src/metrics.js";

/** What is asked about this process. `readiness` lists what is missing; an empty list is ready. */
export interface OperationsPorts {
  metrics: Metrics;
  readiness(): Promise<string[]>;
  /** Gauges that are read when they are asked for. */
  refresh(): Promise<void>;
}

/** `GET /healthz`, `/readyz`, `/metrics`. Alive means that the event loop answers; ready means that alerts can be taken. */
export function operations(server: FastifyInstance, ports: OperationsPorts): void {
  server.get("/healthz", async () => ({ status: "ok" }));
  server.get("/readyz", async (_request, reply) => {
    const missing = await ports.readiness();
    ports.metrics.ready.set(missing.length === 0 ? 1 : 0);
    return reply
      .code(missing.length === 0 ? 200 : 503)
      .send(missing.length === 0 ? { status: "ready" } : { status: "not ready", missing });
  });
  server.get("/metrics", async (_request, reply) => {
    await ports.refresh().catch(() => undefined);
    return reply.type(ports.metrics.registry.contentType).send(await ports.metrics.registry.metrics());
  });
}
