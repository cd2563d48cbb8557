import { describe, expect, it } from "vitest";
import { parseLedger } from "../../../src/execution/lease.js";
import type { Ledger } from "../../../src/execution/ledger.js";

const whole: Required<Ledger> = {
  v: 1,
  run: {
    id: "run-1",
    incident: "inc-1",
    identity: "f1@2026-11-25T10:00:00Z",
    runbook: "restart-pod",
    from: "0123",
    steps: ["evict"],
    undo: false,
    begun: true,
  },
  open: {
    key: "k1",
    object: { apiVersion: "v1", kind: "Pod", namespace: "shop", name: "cart-1", uid: "u1" },
    resourceVersion: "7",
    generation: 0,
    evicts: true,
    at: "2026-11-25T10:00:01.000Z",
  },
  ops: [{ key: "k0", fingerprint: "f0", at: "2026-11-25T09:00:00.000Z" }],
  ends: [{ identity: "f0@x", run: "run-0", outcome: "remediated", at: "2026-11-25T09:01:00.000Z", told: true }],
};

describe("the ledger as the next worker reads it", () => {
  it("is all that was written: an eviction under way is still known as one (H41 I8)", () => {
    expect(parseLedger("a-lease", JSON.stringify(whole))).toEqual(whole);
  });

  it("is refused where it cannot be read", () => {
    expect(() => parseLedger("a-lease", "{")).toThrow(/not a ledger of format 1/);
  });
});
