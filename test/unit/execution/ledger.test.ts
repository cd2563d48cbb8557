import { describe, expect, it } from "vitest";
import { parseLedger } from "../../../src/execution/lease.js";
import { emptyLedger, type Ledger, type LedgerOpen } from "../../../src/execution/ledger.js";

/** What is written into a Lease must come back whole: whoever takes a dead worker's run over knows nothing else. */

const open: Required<LedgerOpen> = {
  key: "0123456789abcdef0123456789abcdef",
  object: { apiVersion: "v1", kind: "Pod", namespace: "shop", name: "web-1", uid: "uid-1" },
  resourceVersion: "7",
  generation: 3,
  evicts: true,
  at: "2026-01-01T00:00:00.000Z",
};
const whole: Ledger = {
  ...emptyLedger,
  run: {
    id: "run-1",
    incident: "inc-1",
    identity: "f@1",
    runbook: "restart-pod",
    from: "",
    steps: ["evict"],
    undo: false,
    begun: true,
  },
  open,
  ops: [{ key: "k", fingerprint: "f", at: open.at }],
  ends: [{ identity: "f@0", run: "run-0", outcome: "remediated", at: open.at, told: false }],
};

describe("a Lease's ledger", () => {
  it("comes back as it was written, an eviction still an eviction (H23 H41)", () => {
    expect(parseLedger("nightshift-t-1", JSON.stringify(whole))).toEqual(whole);
  });

  it("keeps the intent of a patch as one", () => {
    const { evicts: _evicts, ...patches } = open;
    const ledger = { ...whole, open: patches };
    expect(parseLedger("nightshift-t-1", JSON.stringify(ledger))).toEqual(ledger);
  });

  it("is refused where it cannot be read", () => {
    expect(() => parseLedger("a-lease", "{")).toThrow(/not a ledger of format 1/);
  });
});
