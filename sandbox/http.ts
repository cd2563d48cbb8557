import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo, Socket } from "node:net";

/** What every stand-in's server shares: loopback, a free port, whole bodies, and an end that leaves nothing open. */

export interface Served {
  url: string;
  server: Server;
  stop(): Promise<void>;
}

export type Handle = (request: IncomingMessage, response: ServerResponse, body: string) => Promise<void> | void;

export async function serve(name: string, handle: Handle): Promise<Served> {
  const sockets = new Set<Socket>();
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    response.setHeader("server", `nightshift-sandbox (${name} stand-in)`);
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      void Promise.resolve(handle(request, response, Buffer.concat(chunks).toString("utf8"))).catch(
        (error: unknown) => {
          if (!response.headersSent) response.writeHead(500);
          response.end(String(error));
        },
      );
    });
  });
  server.on("connection", (socket) => {
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
  });
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", () => done()));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    server,
    async stop() {
      for (const socket of sockets) socket.destroy();
      await new Promise<void>((done) => server.close(() => done()));
    },
  };
}

export function sendJson(
  response: ServerResponse,
  status: number,
  body: unknown,
  headers: Record<string, string> = {},
): void {
  response.writeHead(status, { "content-type": "application/json; charset=utf-8", ...headers });
  response.end(JSON.stringify(body));
}
