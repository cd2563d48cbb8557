import { type ChildProcess, spawn } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Redis } from "ioredis";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { freePort, until } from "../harness/processes.js";
import { noSickWorld, type SickWorld, startSickWorld, suite } from "../harness/sick-world.js";

const root = fileURLToPath(new URL("../../", import.meta.url));

/** This very program, but what it writes carries the next version: jobs, records and ledgers. */
function nextVersion(): string {
  const dir = mkdtempSync(join(tmpdir(), "next-version-"));
  for (const part of ["bin", "dist", "package.json"]) cpSync(join(root, part), join(dir, part), { recursive: true });
  symlinkSync(join(root, "node_modules"), join(dir, "node_modules"));
  for (const [file, name] of [
    ["queue/jobs", "JOB_VERSION"],
    ["record/incident", "RECORD_VERSION"],
    ["execution/ledger", "LEDGER_VERSION"],
  ]) {
    const path = join(dir, "dist/src", `${file}.js`);
    const text = readFileSync(path, "utf8");
    if (!text.includes(`${name} = 1;`)) throw new Error(`${path} does not set ${name} to 1`);
    writeFileSync(path, text.replace(`${name} = 1;`, `${name} = 2;`));
  }
  return dir;
}

describe.skipIf(noSickWorld !== null)(suite("two versions side by side"), () => {
  let s: SickWorld;
  let redis: Redis;
  const next = nextVersion();
  const running = new Set<ChildProcess>();

  beforeAll(async () => {
    s = await startSickWorld({ namespace: "versions", services: ["begun-by-newer", "begun-by-older", "during"] });
    redis = new Redis({ path: s.world.redis.url.slice("unix://".length) } as object);
  }, 60_000);

  afterEach(() => {
    for (const child of running) child.kill("SIGKILL");
  });

  afterAll(async () => {
    redis?.disconnect();
    await s?.stop();
    rmSync(next, { recursive: true, force: true });
  }, 60_000);

  async function startNewer(port: number): Promise<{ stop(): Promise<void> }> {
    const env = { ...process.env, ...s.world.env, NIGHTSHIFT_PORT: String(port) };
    const child = spawn(process.execPath, [join(next, "bin/nightshift.js"), "serve"], { env, stdio: "ignore" });
    running.add(child);
    const gone = new Promise<void>((done) => child.once("exit", () => done()));
    void gone.then(() => running.delete(child));
    await until("the newer one to be ready", async () =>
      fetch(`http://127.0.0.1:${port}/readyz`).then(
        (answer) => answer.ok,
        () => false,
      ),
    );
    return {
      async stop() {
        child.kill("SIGTERM");
        await gone;
      },
    };
  }

  /** Every record as it lies in Redis, whatever its version. */
  async function stored(name: string): Promise<Record<string, any> | undefined> {
    const keys = await redis.keys("{nightshift}:inc:*");
    const all = await Promise.all(keys.map(async (key) => JSON.parse((await redis.hget(key, "json")) ?? "{}")));
    return all.find((record) => record.target?.name === name);
  }
  const ledger = (name: string) => {
    const lease = s.kubernetes
      .list("Lease", "nightshift")
      .find((one) => String(one.metadata.annotations?.["nightshift.dev/target"]).includes(`"${name}"`));
    return JSON.parse(lease?.metadata.annotations["nightshift.dev/ledger"] ?? "null") as Record<string, any> | null;
  };
  async function mend(name: string): Promise<Record<string, any>> {
    await s.mend(name);
    // Two programs on two cores: minutes where other tests run beside it.
    return until(
      "the end",
      async () => {
        const record = await stored(name);
        return record?.["endedAt"] ? record : null;
      },
      120_000,
    );
  }
  const watched = (name: string) =>
    until("a run that is being verified", async () => ((await stored(name))?.["run"]?.looks.length ?? 0) > 0);
  const leftForNewer = async () => {
    const text = await (await fetch(`http://127.0.0.1:${s.world.port}/metrics`)).text();
    return [...text.matchAll(/^nightshift_jobs_total\{.*result="newer"\} (\d+)$/gm)].reduce(
      (n, m) => n + Number(m[1]),
      0,
    );
  };

  it("the older leaves alone what the newer has begun, for as long as it takes, and hides nothing else (H41 I1 I7)", async () => {
    let newer: Awaited<ReturnType<typeof startNewer>> | undefined;
    await s.world.restart(async () => {
      newer = await startNewer(s.world.port);
      await s.sicken("begun-by-newer");
      await watched("begun-by-newer");
      await newer.stop();
    });
    const before = await stored("begun-by-newer");
    expect(before).toMatchObject({ v: 2, state: "running" });
    expect(ledger("begun-by-newer")).toMatchObject({ v: 2, run: { begun: true } });
    const pages = s.world.pager.alerts.length;
    await until("the older to meet it", async () => (await leftForNewer()) > 0, 30_000);
    await s.sicken("during");
    await watched("during");
    const during = await mend("during");

    expect(during).toMatchObject({ v: 1, state: "remediated" });
    expect(await stored("begun-by-newer")).toEqual(before);
    expect(ledger("begun-by-newer")).toMatchObject({ v: 2, run: { begun: true } });
    expect(s.world.pager.alerts).toHaveLength(pages);
    expect((await s.world.incidents()).map((record) => record.target?.name)).toEqual(["during"]);

    newer = await startNewer(await freePort());
    const end = await mend("begun-by-newer");
    await newer.stop();
    expect(end, JSON.stringify(end["timeline"])).toMatchObject({ v: 2, state: "remediated" });
    expect([s.effects("begun-by-newer"), s.effects("during")]).toEqual([1, 1]);
  }, 300_000);

  it("the newer goes on with what the older has begun (H41 I1)", async () => {
    await s.sicken("begun-by-older");
    await watched("begun-by-older");
    let end: Record<string, any> = {};
    await s.world.restart(async () => {
      const newer = await startNewer(s.world.port);
      end = await mend("begun-by-older");
      await newer.stop();
    });

    expect(end, JSON.stringify(end["timeline"])).toMatchObject({ v: 1, state: "remediated" });
    expect(s.effects("begun-by-older")).toBe(1);
  }, 120_000);
});
