import { spawn, spawnSync } from "node:child_process";
import { chownSync, existsSync, mkdtempSync, rmSync } from "node:fs";
import { createServer as createHttp } from "node:http";
import { createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { freePort, program } from "../../sandbox/processes.js";
import { createProbe } from "../../src/clients/probe.js";
import { systemClock } from "../../src/clock.js";

/** Health questions to real servers: what `pg_isready` and `redis-cli ping` say, this must say too. */

const probe = createProbe(systemClock, 1000);
const HOST = "127.0.0.1";
const postgres = ["15", "16", "17", "18"]
  .map((v) => `/usr/lib/postgresql/${v}/bin`)
  .find((dir) => existsSync(join(dir, "initdb")));

function listen(server: Server): Promise<number> {
  return new Promise((done) => server.listen(0, HOST, () => done((server.address() as { port: number }).port)));
}

describe("probing HTTP", () => {
  const server = createHttp((request, response) => {
    if (request.url === "/hangs") return;
    response.statusCode = request.url === "/health" ? 200 : 503;
    response.end("secret body");
  });
  let base = "";
  beforeAll(async () => {
    base = `http://${HOST}:${await listen(server)}`;
  });
  afterAll(() => {
    server.closeAllConnections();
    server.close();
  });

  it("tells 200 from 503, silence and a closed port, and quotes no body", async () => {
    expect(await probe({ kind: "http", url: `${base}/health` })).toMatchObject({ ok: true, says: "HTTP 200" });
    expect(await probe({ kind: "http", url: `${base}/other` })).toMatchObject({ ok: false, says: "HTTP 503" });
    expect(await probe({ kind: "http", url: `${base}/hangs` })).toMatchObject({
      ok: false,
      says: "no answer within 1 s",
    });
    const closed = await probe({ kind: "http", url: `http://${HOST}:${await freePort()}/` });
    expect(closed).toMatchObject({ ok: false });
    expect(closed.says).toContain("ECONNREFUSED");
  });
});

describe("probing what speaks otherwise", () => {
  const sockets = new Set<Socket>();
  let answer = "";
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => undefined);
    if (answer === "close") socket.end();
    else if (answer !== "") socket.write(answer, "latin1");
  });
  let port = 0;
  beforeAll(async () => {
    port = await listen(server);
  });
  afterAll(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });

  it.each([
    ["redis", "-LOADING Redis is loading\r\n", false, "LOADING"],
    ["redis", "-NOAUTH Authentication required.\r\n", true, "answers, and wants a password"],
    ["redis", "HTTP/1.1 400 Bad Request\r\n", false, "no answer of a Redis server"],
    [
      "postgres",
      "E\0\0\0\x1fSFATAL\0C57P03\0Mstarting up\0\0",
      false,
      "rejecting connections: it is starting up or shutting down",
    ],
    ["postgres", "E\0\0\0\x1fSFATAL\0C53300\0Mtoo many\0\0", false, "rejecting connections: too many clients"],
    ["postgres", "E\0\0\0\x1fSFATAL\0C28000\0Mno such role\0\0", true, "accepting connections"],
    ["postgres", "+PONG\r\n", false, "no answer of a PostgreSQL server"],
    ["postgres", "close", false, "closed the connection without an answer"],
    ["redis", "", false, "no answer within 1 s"],
    ["tcp", "", true, "accepts connections"],
  ] as const)("%s answered with %j", async (kind, says, ok, told) => {
    answer = says;

    expect(await probe({ kind, host: HOST, port })).toMatchObject({ ok, says: told });
  });
});

const redisServer = program("redis-server");
describe.skipIf(redisServer === null)(
  `probing a real redis-server${redisServer ? "" : " (not run: there is none)"}`,
  () => {
    it("says PONG as redis-cli does, and that it wants a password where it does", async () => {
      for (const [args, told] of [
        [[], "PONG"],
        [["--requirepass", "x"], "answers, and wants a password"],
      ] as const) {
        const port = await freePort();
        const child = spawn(redisServer ?? "", ["--port", String(port), "--save", "", "--bind", HOST, ...args], {
          stdio: "ignore",
        });
        try {
          let last = await probe({ kind: "redis", host: HOST, port });
          for (let i = 0; i < 50 && !last.ok; i += 1) {
            await new Promise((done) => setTimeout(done, 100));
            last = await probe({ kind: "redis", host: HOST, port });
          }
          expect(last).toMatchObject({ ok: true, says: told });
        } finally {
          child.kill("SIGKILL");
        }
      }
    });
  },
);

const noPostgres = postgres === undefined || process.getuid?.() !== 0;
describe.skipIf(noPostgres)(
  `probing a real PostgreSQL${noPostgres ? " (not run: none on this machine, or not root)" : ""}`,
  () => {
    const dir = mkdtempSync(join(tmpdir(), "probe-pg-"));
    afterAll(() => {
      rmSync(dir, { recursive: true, force: true });
    });

    it("says what pg_isready says: no response, then accepting connections", async () => {
      const port = await freePort();
      const bin = postgres ?? "";
      const uid = Number(spawnSync("id", ["-u", "postgres"], { encoding: "utf8" }).stdout.trim());
      chownSync(dir, uid, uid);
      const as = (command: string, args: string[]) =>
        spawnSync("runuser", ["-u", "postgres", "--", join(bin, command), ...args], { encoding: "utf8" });
      expect(as("initdb", ["-D", join(dir, "data"), "-A", "trust", "--no-sync"]).status).toBe(0);

      expect(as("pg_isready", ["-h", HOST, "-p", String(port)]).stdout).toContain("no response");
      expect(await probe({ kind: "postgres", host: HOST, port })).toMatchObject({ ok: false });

      const started = as("pg_ctl", [
        "-D",
        join(dir, "data"),
        "-w",
        "-o",
        `-p ${port} -k ${dir} -h ${HOST}`,
        "-l",
        join(dir, "log"),
        "start",
      ]);
      expect(started.status, started.stdout).toBe(0);
      try {
        expect(as("pg_isready", ["-h", HOST, "-p", String(port)]).stdout).toContain("accepting connections");
        expect(await probe({ kind: "postgres", host: HOST, port })).toMatchObject({
          ok: true,
          says: "accepting connections",
        });
      } finally {
        as("pg_ctl", ["-D", join(dir, "data"), "-m", "immediate", "stop"]);
      }
    });
  },
);
