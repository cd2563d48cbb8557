import { createHash, timingSafeEqual } from "node:crypto";
import fastify, { type FastifyRequest } from "fastify";
import { alertmanagerWebhook } from "../../handlers/alertmanager-webhook.js";
import { operations } from "../../handlers/operations.js";
import type { SlackApp } from "../clients/slack-bolt.js";
import type { Config } from "../config.js";
import type { Log } from "../log.js";
import type { Metrics } from "../metrics.js";
import type { Pipeline } from "../pipeline.js";
import type { RecordStore } from "../record/store.js";

export interface ServerPorts {
  config: Config;
  front: boolean;
  pipeline: Pick<Pipeline, "receive">;
  metrics: Metrics;
  slackHttp: SlackApp["http"];
  records: RecordStore;
  readiness(): Promise<string[]>;
  refresh(): Promise<void>;
  log: Log;
}

/** Nightshift's own port: webhooks, Slack over HTTP, the API, and what is asked about the process. */
export async function createServer(ports: ServerPorts): Promise<{ url: string; close(): Promise<void> }> {
  const { config, metrics } = ports;
  const server = fastify({
    logger: false,
    bodyLimit: config.limits.bodyBytes,
    requestTimeout: 30_000,
    trustProxy: false,
  });
  // Fastify takes plain text by default; here it is an error of the sender's, and said so.
  server.removeContentTypeParser("text/plain");
  operations(server, { metrics, readiness: ports.readiness, refresh: ports.refresh });
  if (ports.front) {
    alertmanagerWebhook(server, {
      receive: (body) => ports.pipeline.receive(body),
      tokens: () => config.webhook.tokens?.values() ?? [],
      basics: () => config.webhook.basic?.values() ?? [],
      metrics,
      bodyLimit: config.limits.bodyBytes,
    });
    const { slackHttp } = ports;
    if (slackHttp) {
      await server.register(async (scope) => {
        // Slack signs the raw body: it is kept as bytes here, whatever its content type.
        scope.removeAllContentTypeParsers();
        scope.addContentTypeParser("*", { parseAs: "buffer" }, (_request, body, done) => done(null, body));
        scope.post("/slack/events", async (request, reply) => {
          const answer = await slackHttp({ rawBody: request.body as Buffer, headers: request.headers });
          return reply.code(answer.status).send(answer.body);
        });
      });
    }
    api(server as never, ports);
  }
  const url = await server.listen({ host: config.host, port: config.port });
  return { url, close: () => server.close() };
}

interface Routes {
  get(
    path: string,
    handler: (
      request: FastifyRequest<{ Params: { id: string } }>,
      reply: { code(n: number): { send(body: unknown): unknown } },
    ) => Promise<unknown>,
  ): void;
}

/** `GET /api/v1/incidents[/:id]`: read-only; by token, or on loopback where no token is set. */
function api(server: Routes, ports: ServerPorts): void {
  const open = (request: FastifyRequest): boolean => {
    const tokens = ports.config.apiToken?.values() ?? [];
    if (tokens.length === 0)
      return request.ip === "127.0.0.1" || request.ip === "::1" || request.ip === "::ffff:127.0.0.1";
    const given = (request.headers.authorization ?? "").replace(/^Bearer\s+/i, "");
    return tokens.some((token) => same(given, token));
  };
  server.get("/api/v1/incidents", async (request, reply) => {
    if (!open(request))
      return reply.code(401).send({ error: "authorization: expected the bearer token NIGHTSHIFT_API_TOKEN" });
    const asked = Number((request.query as { limit?: string }).limit ?? 100);
    return {
      incidents: await ports.records.recent(Number.isInteger(asked) && asked > 0 ? Math.min(asked, 1000) : 100),
    };
  });
  server.get("/api/v1/incidents/:id", async (request, reply) => {
    if (!open(request))
      return reply.code(401).send({ error: "authorization: expected the bearer token NIGHTSHIFT_API_TOKEN" });
    const record = await ports.records.get(request.params.id);
    return record ?? reply.code(404).send({ error: "no such incident" });
  });
}

function same(given: string, expected: string): boolean {
  const digest = (text: string) => createHash("sha256").update(text).digest();
  return timingSafeEqual(digest(given), digest(expected)) && given !== "";
}
