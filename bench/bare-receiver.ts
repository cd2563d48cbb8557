/** The floor of ingest: bare Fastify, one BullMQ add with the whole body, 202. Nothing is checked and nothing is kept. */
import { Queue } from "bullmq";
import fastify from "fastify";
import { endWithParent } from "./end.js";

export interface BareInput {
  /** Redis' socket. */
  socket: string;
  bodyLimit: number;
}

endWithParent();
const input = JSON.parse(process.argv[2] ?? "{}") as BareInput;
const queue = new Queue("bare", { connection: { path: input.socket } as never, prefix: "{bare}" });
queue.on("error", (error) => console.error(error));
await queue.waitUntilReady();
const server = fastify({ bodyLimit: input.bodyLimit });
server.post("/webhooks/alertmanager", async (request, reply) => {
  await queue.add("webhook", request.body, { removeOnComplete: true });
  return reply.code(202).send({ ok: true });
});
process.send?.({ url: await server.listen({ host: "127.0.0.1", port: 0 }) });
