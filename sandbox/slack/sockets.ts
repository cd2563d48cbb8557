import { createHash, randomUUID } from "node:crypto";
import type { Server } from "node:http";
import type { Duplex } from "node:stream";

/**
 * Socket Mode's server side: just enough of RFC 6455 for the vendor's client (text frames, ping, pong, close), so that the
 * demo needs no further dependency.
 */
export interface Sockets {
  deliver(type: string, payload: Record<string, unknown>): Promise<unknown>;
  count(): number;
  refresh(): void;
  stop(): void;
}

const PING_MS = 3000;
const ACK_MS = 10_000;
const GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

export function startSockets(server: Server): Sockets {
  const open = new Set<Duplex>();
  const waiting = new Map<string, (payload: unknown) => void>();
  server.on("upgrade", (request, socket: Duplex) => {
    const accept = createHash("sha1").update(`${request.headers["sec-websocket-key"]}${GUID}`).digest("base64");
    socket.write(
      `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`,
    );
    open.add(socket);
    const ping = setInterval(() => socket.write(frame(0x9, Buffer.from("ping"))), PING_MS);
    const gone = () => {
      clearInterval(ping);
      open.delete(socket);
    };
    socket.on("close", gone);
    socket.on("error", gone);
    let pending = Buffer.alloc(0);
    socket.on("data", (chunk: Buffer) => {
      pending = Buffer.concat([pending, chunk]);
      for (let read = parse(pending); read !== null; read = parse(pending)) {
        pending = pending.subarray(read.length);
        if (read.opcode === 0x8) socket.end(frame(0x8, Buffer.alloc(0)));
        if (read.opcode === 0x9) socket.write(frame(0xa, read.payload));
        if (read.opcode === 0x1) acknowledged(read.payload.toString("utf8"));
      }
    });
    send(socket, {
      type: "hello",
      num_connections: open.size,
      debug_info: { host: "stand-in" },
      connection_info: { app_id: "A0" },
    });
  });

  function acknowledged(text: string): void {
    const { envelope_id: id, payload } = JSON.parse(text) as { envelope_id?: string; payload?: unknown };
    if (id === undefined) return;
    waiting.get(id)?.(payload ?? {});
    waiting.delete(id);
  }

  return {
    deliver(type, payload) {
      const [socket] = open;
      if (socket === undefined) return Promise.reject(new Error("nobody is connected by Socket Mode"));
      const id = randomUUID();
      return new Promise((resolve, reject) => {
        const timer = setTimeout(() => {
          waiting.delete(id);
          reject(new Error(`no acknowledgement within ${ACK_MS / 1000} s`));
        }, ACK_MS);
        waiting.set(id, (answer) => {
          clearTimeout(timer);
          resolve(answer);
        });
        send(socket, { envelope_id: id, type, accepts_response_payload: type === "slash_commands", payload });
      });
    },
    count: () => open.size,
    refresh() {
      for (const socket of open)
        send(socket, { type: "disconnect", reason: "refresh_requested", debug_info: { host: "stand-in" } });
    },
    stop() {
      for (const socket of open) socket.destroy();
    },
  };
}

function send(socket: Duplex, message: unknown): void {
  socket.write(frame(0x1, Buffer.from(JSON.stringify(message))));
}

function frame(opcode: number, payload: Buffer): Buffer {
  const length = payload.length;
  if (length < 126) return Buffer.concat([Buffer.from([0x80 | opcode, length]), payload]);
  const head = Buffer.alloc(length < 65_536 ? 4 : 10);
  head[0] = 0x80 | opcode;
  if (length < 65_536) {
    head[1] = 126;
    head.writeUInt16BE(length, 2);
  } else {
    head[1] = 127;
    head.writeBigUInt64BE(BigInt(length), 2);
  }
  return Buffer.concat([head, payload]);
}

/** The first whole frame; null while more bytes are needed. Clients mask theirs. */
function parse(data: Buffer): { opcode: number; payload: Buffer; length: number } | null {
  if (data.length < 2) return null;
  const opcode = (data[0] ?? 0) & 0x0f;
  const masked = ((data[1] ?? 0) & 0x80) !== 0;
  let size = (data[1] ?? 0) & 0x7f;
  let at = 2;
  if (size === 126) {
    if (data.length < 4) return null;
    size = data.readUInt16BE(2);
    at = 4;
  } else if (size === 127) {
    if (data.length < 10) return null;
    size = Number(data.readBigUInt64BE(2));
    at = 10;
  }
  const mask = masked ? data.subarray(at, at + 4) : null;
  if (masked) at += 4;
  if (data.length < at + size) return null;
  const payload = Buffer.from(data.subarray(at, at + size));
  if (mask !== null) for (let i = 0; i < payload.length; i += 1) payload[i] = (payload[i] ?? 0) ^ (mask[i % 4] ?? 0);
  return { opcode, payload, length: at + size };
}
