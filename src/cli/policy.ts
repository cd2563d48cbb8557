import { known, policyFile } from "../app/policy.js";
import { FaultsError } from "../errors.js";
import { loadRunbooks } from "../plan/registry.js";
import { readPolicy } from "../policy/file.js";
import { warningsOf } from "../policy/warnings.js";

/** `nightshift policy check`. Exit 0 when it can be served, 2 when it cannot. */
export async function policyCheck(options: { file: string | null; json: boolean }): Promise<number> {
  const runbooks = known(await loadRunbooks());
  try {
    const file = policyFile(options.file ?? process.env["NIGHTSHIFT_POLICY"] ?? null);
    const policy = readPolicy(file, runbooks);
    const warnings = warningsOf(policy);
    if (options.json)
      process.stdout.write(
        `${JSON.stringify({ ok: true, file, rules: policy.rules.length, faults: [], warnings }, null, 2)}\n`,
      );
    else
      process.stdout.write(
        [`${file}: ok, ${policy.rules.length} rules`, ...warnings.map((warning) => `warning: ${warning}`), ""].join(
          "\n",
        ),
      );
    return 0;
  } catch (error) {
    if (!(error instanceof FaultsError)) throw error;
    if (options.json)
      process.stdout.write(`${JSON.stringify({ ok: false, faults: error.faults, warnings: [] }, null, 2)}\n`);
    else process.stderr.write(`${error.message}\n`);
    return 2;
  }
}
