import { hash, timingSafeEqual } from "node:crypto";
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { UnavailableError } from "../src/errors.js";
import type { Metrics } from "../src/metrics.js";
import type { Received } from "../src/pipeline.js";

/** What the door needs. Tokens and passwords are asked for at every request, so that a rotation needs no restart. */
export interface WebhookPorts {
  receive(body: unknown): Promise<Received>;
  tokens(): string[];
  basics(): string[];
  metrics: Metrics;
  bodyLimit: number;
}

/**
 * `POST /webhooks/alertmanager`: show your papers, parse, hand in, say thank you. 202 only when the alerts are stored;
 * 503 where they are not, because Alertmanager retries nothing but 5xx; 400 names the faulty field.
 */
export function alertmanagerWebhook(server: FastifyInstance, ports: WebhookPorts): void {
  const answer = (reply: FastifyReply, code: "202" | "400" | "401" | "413" | "415" | "503", body: unknown) => {
    ports.metrics.webhooks.inc({ code });
    return reply.code(Number(code)).send(body);
  };

  server.post(
    "/webhooks/alertmanager",
    {
      bodyLimit: ports.bodyLimit,
      // Papers are looked at before the body is read: a stranger's body costs nothing.
      onRequest: (request, reply, next) => {
        if (authorized(request, ports)) return next();
        reply.header("www-authenticate", "Bearer");
        answer(reply, "401", {
          error: "authorization: expected the bearer token or basic credentials of this receiver",
        });
      },
      errorHandler: (error, _request, reply) => {
        const { statusCode, code } = error as { statusCode?: number; code?: string };
        if (statusCode === 413)
          return answer(reply, "413", { error: `body: expected at most ${ports.bodyLimit} bytes` });
        if (statusCode === 415) return answer(reply, "415", { error: "content-type: expected application/json" });
        if (error instanceof UnavailableError) {
          reply.header("retry-after", "5");
          return answer(reply, "503", { error: `not stored, send it again: ${error.message}` });
        }
        if (statusCode === 400 || code === "ERR_WEBHOOK")
          return answer(reply, "400", { error: error instanceof Error ? error.message : "bad request" });
        reply.header("retry-after", "5");
        return answer(reply, "503", { error: "not stored, send it again: an error inside Nightshift" });
      },
    },
    async (request, reply) => {
      const ended = ports.metrics.webhookSeconds.startTimer();
      try {
        const received = await ports.receive(request.body);
        return await answer(reply, "202", received);
      } finally {
        ended();
      }
    },
  );
}

function authorized(request: FastifyRequest, ports: WebhookPorts): boolean {
  const header = request.headers.authorization ?? "";
  const [scheme = "", value = ""] = header.split(/\s+/, 2);
  if (scheme.toLowerCase() === "bearer") return ports.tokens().some((token) => same(value, token));
  if (scheme.toLowerCase() === "basic") {
    const given = Buffer.from(value, "base64").toString("utf8");
    return ports.basics().some((pair) => same(given, pair));
  }
  return false;
}

/** Compares in constant time, whatever the lengths. */
function same(given: string, expected: string): boolean {
  return timingSafeEqual(digestOf(given), expectedDigest(expected)) && given !== "";
}

const digestOf = (text: string) => hash("sha256", text, "buffer");

/** Of the few secrets that are valid; each is hashed once, not at every request. */
const digests = new Map<string, Buffer>();
const MOST_DIGESTS = 20;

function expectedDigest(secret: string): Buffer {
  const known = digests.get(secret);
  if (known !== undefined) return known;
  if (digests.size >= MOST_DIGESTS) digests.clear();
  const digest = digestOf(secret);
  digests.set(secret, digest);
  return digest;
}
