/** Where it was measured: figures of two machines are not compared, ratios of one run are. */
import { spawnSync } from "node:child_process";
import { cpus, loadavg, totalmem } from "node:os";

export interface Machine {
  cpu: string;
  cores: number;
  memoryGiB: number;
  node: string;
  redis: string;
  /** One-minute load at the end of the run; the benchmark itself is in it. */
  load: number;
  quick: boolean;
  cluster: "sandbox" | "real API server";
  at: string;
  says: string;
}

export function machine(of: { quick: boolean; cluster: boolean }): Machine {
  const [first] = cpus();
  const redis = /v=(\S+)/.exec(spawnSync("redis-server", ["--version"], { encoding: "utf8" }).stdout ?? "")?.[1];
  const about = {
    cpu: first?.model.trim() ?? "unknown",
    cores: cpus().length,
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    node: process.version,
    redis: redis ?? "unknown",
    load: loadavg()[0] ?? Number.NaN,
    quick: of.quick,
    cluster: of.cluster ? ("real API server" as const) : ("sandbox" as const),
    at: new Date().toISOString(),
  };
  const says = `${about.cpu}, ${about.cores} cores, ${about.memoryGiB} GiB; Node ${about.node}, Redis ${about.redis}; load ${about.load.toFixed(1)}; ${about.cluster}${of.quick ? "; QUICK: counts too small to be figures" : ""}`;
  return { ...about, says };
}
