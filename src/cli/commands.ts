import type { Command } from "commander";

/** The commands beside serve, match and policy; each one's file is imported when it is called. */
type Define = (command: Command, finish: (code: number) => void) => void;

export const commands: Partial<Record<string, Define>> = {
  incidents: (command, finish) =>
    command
      .description("the latest incidents")
      .option("--limit <n>", "how many", "20")
      .option("--json", "machine-readable output")
      .action(async (options: { limit: string; json?: boolean }) =>
        finish(
          await (await import("./incidents.js")).incidents({
            limit: Number(options.limit) || 20,
            json: options.json ?? false,
          }),
        ),
      ),
  runs: (command, finish) =>
    command
      .description("the latest runs and how they ended")
      .option("--limit <n>", "how many", "20")
      .option("--json", "machine-readable output")
      .action(async (options: { limit: string; json?: boolean }) =>
        finish(
          await (await import("./incidents.js")).runs({
            limit: Number(options.limit) || 20,
            json: options.json ?? false,
          }),
        ),
      ),
  why: (command, finish) =>
    command
      .description("an incident's story: every guard with its two values, every step, every word")
      .argument("<incident>", "the incident's id, or the beginning of it")
      .option("--json", "machine-readable output")
      .action(async (incident: string, options: { json?: boolean }) =>
        finish(await (await import("./incidents.js")).why({ incident, json: options.json ?? false })),
      ),
  report: (command, finish) =>
    command
      .description("what every rule did or would have done, beside what people did")
      .option("--weeks <n>", "how far back, in weeks", "1")
      .option("--json", "machine-readable output")
      .action(async (options: { weeks: string; json?: boolean }) =>
        finish(await (await import("./report.js")).report({ weeks: options.weeks, json: options.json ?? false })),
      ),
  pause: (command, finish) =>
    command
      .description("stop acting: writes the control ConfigMap and takes running Leases away")
      .argument("[scope]", "all, cluster:NAME, namespace:NAME or runbook:NAME", "all")
      .requiredOption("--why <reason>", "for the next person who looks")
      .option("--for <duration>", "until then, e.g. 2h; without it until somebody resumes")
      .option("--json", "machine-readable output")
      .action(async (scope: string, options: { why: string; for?: string; json?: boolean }) =>
        finish(
          await (await import("./pause.js")).pause({
            scope,
            why: options.why,
            duration: options.for ?? null,
            json: options.json ?? false,
          }),
        ),
      ),
  resume: (command, finish) =>
    command
      .description("lift a pause")
      .argument("[scope]", "the pause's scope", "all")
      .option("--json", "machine-readable output")
      .action(async (scope: string, options: { json?: boolean }) =>
        finish(await (await import("./pause.js")).resume({ scope, json: options.json ?? false })),
      ),
  audit: (command, finish) => {
    command.description("every transition, who and why, as a chain of hashes");
    command
      .command("export")
      .description(
        "one incident in one file: alerts, plan, approvals, guards, effects, verification, pages, transitions",
      )
      .argument("<incident>", "the incident's or its run's id, or the beginning of it")
      .option("--out <file>", "writes JSON to a new file instead")
      .option("--json", "machine-readable output")
      .action(async (incident: string, options: { out?: string; json?: boolean }) =>
        finish(
          await (await import("./audit-export.js")).auditExport({
            incident,
            out: options.out ?? null,
            json: options.json ?? false,
          }),
        ),
      );
    command
      .command("verify")
      .description("whether the chain holds, and where it breaks; exit 0 intact, 1 broken, 2 could not be read")
      .option("--head <number:hash>", "also look for a head that the log printed")
      .option("--json", "machine-readable output")
      .action(async (options: { head?: string; json?: boolean }) =>
        finish(
          await (await import("./audit-verify.js")).auditVerify({
            head: options.head ?? null,
            json: options.json ?? false,
          }),
        ),
      );
  },
  runbooks: (command, finish) =>
    command
      .description("the runbooks of this version")
      .option("--json", "machine-readable output")
      .action(async (options: { json?: boolean }) =>
        finish(await (await import("./runbooks.js")).runbooksCommand({ json: options.json ?? false })),
      ),
  doctor: (command, finish) =>
    command
      .description("looks at everything that Nightshift stands on, and says how to mend what is not well")
      .option("--json", "machine-readable output")
      .action(async (options: { json?: boolean }) =>
        finish(await (await import("./doctor.js")).doctor({ json: options.json ?? false, env: process.env })),
      ),
  run: (command, finish) =>
    command
      .description("answer an ask from the command line: approve, deny, abort or a new plan")
      .argument("<incident>", "the incident's id, or the beginning of it")
      .option("--approve", "say yes to the plan that is shown now")
      .option("--deny", "say no")
      .option("--abort", "stop the run at its next safe point")
      .option("--new-plan", "ask for a fresh plan")
      .option("--json", "machine-readable output")
      .action(
        async (
          incident: string,
          options: { approve?: boolean; deny?: boolean; abort?: boolean; newPlan?: boolean; json?: boolean },
        ) => {
          const answer = options.approve
            ? "approve"
            : options.deny
              ? "deny"
              : options.abort
                ? "abort"
                : options.newPlan
                  ? "replan"
                  : null;
          finish(await (await import("./run.js")).run({ incident, answer, json: options.json ?? false }));
        },
      ),
  plan: (command, finish) =>
    command
      .description("what a runbook would do now to a target: reads only")
      .argument("<runbook>", "the runbook's name")
      .argument("<target>", "namespace/name of the Deployment")
      .option("--json", "machine-readable output")
      .action(async (runbook: string, target: string, options: { json?: boolean }) =>
        finish(await (await import("./plan.js")).plan({ runbook, target, json: options.json ?? false })),
      ),
  demo: (command, finish) =>
    command
      .description("a story of about a minute on this machine: real Redis, a sandbox for the rest")
      .argument("[story]", "which story", "bad-deploy")
      .option("--yes", "answer by itself")
      .option("--json", "the timeline, one JSON object a line")
      .option("--list", "the stories")
      .option("--cluster", "play it on the cluster of your KUBECONFIG, in namespaces of its own")
      .option(
        "--image <image>",
        "with --cluster: what the pods run; your nodes can pull it, and it has `sh`",
        "busybox:stable",
      )
      .action(async (story: string, options: DemoFlags) => {
        finish(
          await (await import("./demo.js")).demo({
            story,
            yes: options.yes ?? false,
            json: options.json ?? false,
            list: options.list ?? false,
            cluster: options.cluster ?? false,
            image: options.image,
          }),
        );
      }),
};

interface DemoFlags {
  yes?: boolean;
  json?: boolean;
  list?: boolean;
  cluster?: boolean;
  image: string;
}
