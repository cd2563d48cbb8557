import { existsSync, readFileSync } from "node:fs";
import { Command, Option } from "commander";
import { FaultsError, NightshiftError, messageOf } from "./errors.js";

/** The command line. Every command is imported when it is called: `match` must not pay for Kubernetes and Slack. */
const program = new Command("nightshift").description(
  "Takes the pager's first minutes: alerts in, guarded and proven remedies out, a person whenever in doubt.",
);
// Two folders up once compiled, one in the source.
const [manifest] = ["../../package.json", "../package.json"]
  .map((at) => new URL(at, import.meta.url))
  .filter(existsSync);
program.version(
  (JSON.parse(manifest ? readFileSync(manifest, "utf8") : "{}") as { version?: string }).version ?? "unknown",
);
const json = () => new Option("--json", "machine-readable output");
const finish = (code: number) => {
  process.exitCode = code;
};

program
  .command("serve")
  .description("receive alerts and carry out plans (configuration by environment: docs/configuration.md)")
  .addOption(new Option("--role <role>", "front, hands or all").choices(["front", "hands", "all"]))
  .action(async (options: { role?: string }) => {
    const env = options.role === undefined ? process.env : { ...process.env, NIGHTSHIFT_ROLE: options.role };
    finish(await (await import("./cli/serve.js")).serve(env));
    process.exit();
  });

program
  .command("match")
  .description("what the policy would do with alerts, offline")
  .argument("<payload...>", "files with Alertmanager webhook bodies; - for standard input")
  .option("--policy <file>", "the policy file")
  .addOption(json())
  .action(async (payloads: string[], options: { policy?: string; json?: boolean }) => {
    finish(
      await (await import("./cli/match.js")).matchCommand({
        payloads,
        policy: options.policy ?? null,
        json: options.json ?? false,
      }),
    );
  });

const policy = program.command("policy").description("the policy file");
policy
  .command("check")
  .description("lists every fault with line and column, and what is weaker than the defaults")
  .argument("[file]", "the policy file")
  .addOption(json())
  .action(async (file: string | undefined, options: { json?: boolean }) => {
    finish(await (await import("./cli/policy.js")).policyCheck({ file: file ?? null, json: options.json ?? false }));
  });

const { commands } = await import("./cli/commands.js");
for (const name of [
  "incidents",
  "runs",
  "why",
  "report",
  "pause",
  "resume",
  "plan",
  "run",
  "audit",
  "doctor",
  "runbooks",
  "demo",
] as const) {
  const found = commands[name];
  if (found === undefined) continue;
  found(program.command(name), finish);
}

try {
  await program.parseAsync();
} catch (error) {
  if (error instanceof FaultsError) console.error(error.message);
  else if (error instanceof NightshiftError) console.error(`nightshift: ${error.message}`);
  else console.error(`nightshift: ${messageOf(error)}\n${error instanceof Error ? (error.stack ?? "") : ""}`);
  process.exit(error instanceof FaultsError ? 2 : 1);
}
