import type { Redis } from "ioredis";
import type { AuditTrail, Head, Link } from "../record/chain.js";
import { asking } from "./redis.js";

const PAGE = 1000;

/** Where the chain lies: a stream, and beside it (`:head`) its head. Both are written by the script in records.ts alone. */
export function trailKey(prefix: string): string {
  return `${prefix}:trail`;
}

/** Reads the audit chain; nothing here writes. */
export function createAuditTrail(redis: Redis, prefix: string): AuditTrail {
  const stream = trailKey(prefix);
  const readHead = () => redis.hmget(`${stream}:head`, "seq", "hash", "id");

  const ranged = async (from: string, to: string, count: number): Promise<Link[]> =>
    (await asking("read the audit", () => redis.xrange(stream, from, to, "COUNT", count))).map(linkOf);

  return {
    async head() {
      return headOf(await asking("read the audit's head", readHead));
    },
    async whereIs(head) {
      const [found] = await ranged(head.id, head.id, 1);
      if (found?.seq === head.seq && found.hash === head.hash) return "in-chain";
      // Looked at after its place was found empty: it may have been cut off meanwhile, never the other way round.
      const [first] = await ranged("-", "+", 1);
      return first !== undefined && found === undefined && head.seq < first.seq ? "trimmed" : "lost";
    },
    async read(take) {
      // One moment for both: an entry that is written while this reads is not taken for one that is too many.
      const now = await asking("read the audit's head", () =>
        redis.multi().hmget(`${stream}:head`, "seq", "hash", "id").xrevrange(stream, "+", "-", "COUNT", 1).exec(),
      );
      for (const [error] of now ?? []) if (error) await asking("read the audit's head", () => Promise.reject(error));
      const head = headOf((now?.[0]?.[1] ?? []) as (string | null)[]);
      const newest = (now?.[1]?.[1] as [string, string[]][] | undefined)?.[0];
      let from = "-";
      while (newest !== undefined) {
        const links = await ranged(from, newest[0], PAGE);
        for (const link of links) take(link);
        const last = links.at(-1);
        if (last === undefined || links.length < PAGE) break;
        from = `(${last.id}`;
      }
      return { head, length: await asking("measure the audit", () => redis.xlen(stream)) };
    },
  };
}

function headOf([seq, hash, id]: (string | null | undefined)[]): Head | null {
  return seq && hash ? { seq: Number(seq), hash, id: id ?? "0-0" } : null;
}

function linkOf([id, fields]: [string, string[]]): Link {
  const value = (name: string) => {
    const at = fields.indexOf(name);
    return at < 0 || at % 2 === 1 ? "" : (fields[at + 1] ?? "");
  };
  return { id, seq: Number(value("seq")), prev: value("prev"), hash: value("hash"), text: value("entry") };
}
