import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { Agent } from "undici";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { exchange, LateError } from "../../src/clients/exchange.js";
import { fetchJson } from "../../src/clients/http.js";

/** Real sockets: what a proxy or a sick server makes of an answer. */
describe("an exchange", () => {
  const seen: { method: string; url: string; authorization: string | undefined }[] = [];
  let servers: Server[] = [];
  let origin = "";
  let other = "";
  const agent = new Agent({ connections: 1 });

  const answer = async (request: IncomingMessage, response: ServerResponse) => {
    const url = request.url ?? "/";
    seen.push({ method: request.method ?? "", url, authorization: request.headers.authorization });
    if (url === "/pieces") {
      // "Größe ✓" cut in the middle of its letters.
      for (const byte of Buffer.from('"Größe ✓"')) {
        response.write(Buffer.from([byte]));
        await sleep(1);
      }
      return response.end();
    }
    if (url === "/hangs") return undefined;
    if (url === "/drips") {
      response.write("[");
      return undefined;
    }
    if (url === "/cut") return response.socket?.destroy();
    if (url === "/early") {
      response.writeEarlyHints({ link: "</x>" });
      return response.end('"late"');
    }
    if (url === "/moved") return response.writeHead(302, { location: "/here" }).end();
    if (url === "/elsewhere") return response.writeHead(307, { location: `${other}/here` }).end();
    if (url === "/round") return response.writeHead(302, { location: "/round" }).end();
    if (url === "/teapot") return response.writeHead(418).end("short and stout");
    if (url === "/busy") return response.writeHead(503).end("not now");
    response.setHeader("content-type", "application/json");
    return response.end(JSON.stringify({ url }));
  };

  beforeAll(async () => {
    servers = [createServer(answer), createServer(answer)];
    const urls = await Promise.all(
      servers.map(async (server) => {
        await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
        return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
      }),
    );
    [origin = "", other = ""] = urls;
  });

  afterAll(async () => {
    await agent.destroy();
    for (const server of servers) {
      server.closeAllConnections();
      server.close();
    }
  });

  const ask = (path: string, timeoutMs = 5000, dispatcher = agent) =>
    exchange({ dispatcher, origin, path, method: "GET", headers: {}, timeoutMs });

  it("puts the pieces of an answer together as they were", async () => {
    expect(await ask("/pieces")).toMatchObject({ status: 200, text: '"Größe ✓"' });
    expect(await ask("/early")).toMatchObject({ status: 200, text: '"late"' });
  });

  it.each(["/hangs", "/drips"])("is late where %s, and the next one has the connection", async (path) => {
    await expect(ask(path, 100)).rejects.toThrow(LateError);
    await expect(ask(path, 100)).rejects.toThrow("no answer within 0.1 s");
    expect(await ask("/fine")).toMatchObject({ status: 200 });
  });

  it("is never sent once it is late: whoever asked has given it up (I1)", async () => {
    const fresh = new Agent({ connections: 1 });
    const before = ask("/hangs", 300, fresh);
    const waiting = ask("/waits", 100, fresh);
    await expect(waiting).rejects.toThrow(LateError);
    await expect(before).rejects.toThrow(LateError);
    await ask("/fine", 5000, fresh);
    await fresh.destroy();

    expect(seen.filter((one) => one.url === "/waits")).toEqual([]);
  });

  it("says so where the connection is cut", async () => {
    await expect(ask("/cut")).rejects.toThrow(/other side closed|socket|ECONNRESET/i);
  });

  it("follows to where it is sent, but takes no password along to another host", async () => {
    const headers = { authorization: "Basic c2VjcmV0" };
    seen.length = 0;
    expect(await fetchJson("Prometheus", `${origin}/moved`, { headers, timeoutMs: 5000 })).toEqual({ url: "/here" });
    expect(await fetchJson("Prometheus", `${origin}/elsewhere`, { headers, timeoutMs: 5000 })).toEqual({
      url: "/here",
    });
    expect(seen.map(({ url, authorization }) => [url, authorization !== undefined])).toEqual([
      ["/moved", true],
      ["/here", true],
      ["/elsewhere", true],
      ["/here", false],
    ]);
  });

  it.each([
    ["/teapot", "Prometheus answered 418: short and stout", "ERR_REFUSED"],
    ["/busy", "Prometheus answered 503: not now", "ERR_UNREACHABLE"],
    ["/round", "Prometheus could not be asked", "ERR_UNREACHABLE"],
    ["/hangs", "Prometheus could not be asked: no answer within 0.2 s", "ERR_UNREACHABLE"],
    ["/cut", "Prometheus could not be asked", "ERR_UNREACHABLE"],
  ])("%s: %s", async (path, says, code) => {
    const asked = fetchJson("Prometheus", origin + path, { headers: {}, timeoutMs: 200 });
    await expect(asked).rejects.toMatchObject({ code, message: expect.stringContaining(says) });
  });
});
