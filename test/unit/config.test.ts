import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { readConfig } from "../../src/config.js";
import { FaultsError } from "../../src/errors.js";

const dir = mkdtempSync(join(tmpdir(), "config-"));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

function faultsOf(env: Record<string, string>): readonly string[] {
  try {
    readConfig(env, true);
  } catch (error) {
    if (error instanceof FaultsError) return error.faults;
    throw error;
  }
  return [];
}

describe("the configuration", () => {
  it("lists every fault at once, by name", () => {
    const faults = faultsOf({
      NIGHTSHIFT_PORT: "high",
      NIGHTSHIFT_ROLE: "boss",
      PROMETHEUS_URL: "prom:9090",
      SLACK_BOT_TOKEN: "xoxb-x",
      NIGHTSHIFT_PROT: "1",
      REDIS_URL: "http://x",
    });

    expect(faults.map((fault) => fault.split(":")[0])).toEqual(
      expect.arrayContaining([
        "NIGHTSHIFT_PORT",
        "NIGHTSHIFT_ROLE",
        "PROMETHEUS_URL",
        "SLACK_CHANNEL",
        "NIGHTSHIFT_PROT",
        "REDIS_URL",
        "NIGHTSHIFT_SECRET",
      ]),
    );
    expect(faults.some((fault) => fault.startsWith("NIGHTSHIFT_WEBHOOK_TOKEN or NIGHTSHIFT_WEBHOOK_BASIC"))).toBe(true);
  });

  it("needs no secret that it can make, and no default for one that it cannot", () => {
    expect(faultsOf({ NIGHTSHIFT_WEBHOOK_TOKEN: "t" })).toEqual([]);
    expect(faultsOf({ NIGHTSHIFT_WEBHOOK_TOKEN: "t", REDIS_URL: "redis://x" }).join()).toMatch(
      /NIGHTSHIFT_SECRET: required with REDIS_URL/,
    );
  });

  it("reads a secret's file again when it changes, two values at once", () => {
    const file = join(dir, "token");
    writeFileSync(file, "old\nnew\n");
    const { webhook } = readConfig({ NIGHTSHIFT_WEBHOOK_TOKEN_FILE: file }, true);

    expect(webhook.tokens?.values()).toEqual(["old", "new"]);
    writeFileSync(file, "newer-and-longer");
    expect(webhook.tokens?.values()).toEqual(["newer-and-longer"]);
    rmSync(file);
    expect(webhook.tokens?.values()).toEqual(["newer-and-longer"]);
  });

  it("shows no password in a fault", () => {
    expect(faultsOf({ NIGHTSHIFT_WEBHOOK_TOKEN: "t", REDIS_URL: "postgres://user:hunter2@x" }).join()).not.toContain(
      "hunter2",
    );
  });
});
