import { existsSync } from "node:fs";
import type { Config } from "../config.js";
import { FaultsError } from "../errors.js";
import { type KnownRunbook, readPolicy } from "../policy/file.js";
import type { Policy } from "../policy/policy.js";
import type { Runbook } from "../runbook.js";

const PLACES = ["./policy.yaml", "/etc/nightshift/policy.yaml"];

/** The policy file that counts: the one that is named, else the first of the usual places. Errors: FaultsError. */
export function policyFile(named: string | null): string {
  const file = named ?? PLACES.find((place) => existsSync(place));
  if (file === undefined) {
    throw new FaultsError("ERR_POLICY", "policy", [
      `there is none: expected ${PLACES.join(" or ")}, or NIGHTSHIFT_POLICY; start from deploy/platform/policy.yaml`,
    ]);
  }
  return file;
}

export function findPolicy(config: Pick<Config, "policyFile">, runbooks: readonly KnownRunbook[]): Policy {
  return readPolicy(policyFile(config.policyFile), runbooks);
}

/** What the policy must know of the runbooks. */
export function known(runbooks: ReadonlyMap<string, Runbook>): KnownRunbook[] {
  return [...runbooks.values()].map((runbook) => ({
    name: runbook.name,
    kind: runbook.kind,
    risk: runbook.kind === "remedy" ? runbook.risk : null,
    kinds: runbook.kinds,
    params: runbook.params,
  }));
}
