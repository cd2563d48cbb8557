import { connect } from "node:net";
import { request } from "undici";
import type { Clock } from "../clock.js";
import { messageOf } from "../errors.js";
import type { HealthAnswer, HealthCheck } from "../runbook.js";

const TIMEOUT_MS = 3000;

/**
 * Asks whether a service answers: an HTTP GET, or what `pg_isready` and `redis-cli ping` ask, in the service's own
 * protocol and without credentials. Never throws; what was answered is not read beyond its first bytes.
 */
export function createProbe(clock: Clock, timeoutMs = TIMEOUT_MS): (check: HealthCheck) => Promise<HealthAnswer> {
  return async (check) => {
    const began = clock.monotonic();
    const answer = await (check.kind === "http" ? http(check.url, timeoutMs) : greet(check, timeoutMs));
    return { ...answer, ms: Math.round(clock.monotonic() - began) };
  };
}

type Told = Omit<HealthAnswer, "ms">;

async function http(url: string, timeoutMs: number): Promise<Told> {
  try {
    const { statusCode, body } = await request(url, { method: "GET", signal: AbortSignal.timeout(timeoutMs) });
    await body.dump({ limit: 65_536 });
    return { ok: statusCode >= 200 && statusCode < 300, says: `HTTP ${statusCode}` };
  } catch (error) {
    const name = (error as { name?: unknown }).name;
    return { ok: false, says: name === "TimeoutError" ? `no answer within ${timeoutMs / 1000} s` : messageOf(error) };
  }
}

function greet(check: Exclude<HealthCheck, { kind: "http" }>, timeoutMs: number): Promise<Told> {
  return new Promise((done) => {
    const socket = connect({ host: check.host, port: check.port });
    const end = (told: Told) => {
      socket.destroy();
      done(told);
    };
    socket.setTimeout(timeoutMs, () => end({ ok: false, says: `no answer within ${timeoutMs / 1000} s` }));
    socket.once("error", (error) => end({ ok: false, says: messageOf(error) }));
    socket.once("connect", () => {
      if (check.kind === "tcp") return end({ ok: true, says: "accepts connections" });
      socket.write(check.kind === "redis" ? "PING\r\n" : startup());
    });
    socket.once("data", (data) => end(check.kind === "redis" ? redisTold(data) : postgresTold(data)));
    socket.once("end", () => end({ ok: false, says: "closed the connection without an answer" }));
  });
}

/** `-NOAUTH` is an answer of a server that lives; `-LOADING` and `-MASTERDOWN` say that it does not serve. */
function redisTold(data: Buffer): Told {
  const [line = ""] = data.toString("latin1", 0, 80).split("\r\n");
  const [word = ""] = line.split(" ");
  if (line === "+PONG") return { ok: true, says: "PONG" };
  if (word === "-NOAUTH" || word === "-NOPERM") return { ok: true, says: "answers, and wants a password" };
  return { ok: false, says: /^-[A-Z]+$/.test(word) ? word.slice(1) : "no answer of a Redis server" };
}

/** A startup message of protocol 3.0 for a user that need not exist: the server asks for a password or refuses it. */
function startup(): Buffer {
  const fields = Buffer.from("user\0nightshift_ready\0database\0postgres\0\0", "latin1");
  const head = Buffer.alloc(8);
  head.writeInt32BE(8 + fields.length, 0);
  head.writeInt32BE(196_608, 4);
  return Buffer.concat([head, fields]);
}

/** As `pg_isready` judges: any answer means that it accepts, but SQLSTATE 57P03, which says that it does not yet. */
function postgresTold(data: Buffer): Told {
  const kind = String.fromCharCode(data[0] ?? 0);
  if (kind === "R") return { ok: true, says: "accepting connections" };
  if (kind !== "E") return { ok: false, says: "no answer of a PostgreSQL server" };
  const code = /(?:^|\0)C([0-9A-Z]{5})\0/.exec(data.toString("latin1", 5, 400))?.[1] ?? "";
  if (code === "57P03") return { ok: false, says: "rejecting connections: it is starting up or shutting down" };
  if (code === "53300") return { ok: false, says: "rejecting connections: too many clients" };
  return { ok: true, says: "accepting connections" };
}
