/** A runbook's page in docs/runbooks/, made from its definition alone: what it says cannot differ from what is run. */
import { z } from "zod";
import type { Runbook } from "../../src/runbook.js";

const risks = {
  A: "stateless, and the undo is known",
  B: "needs an approval",
  C: "needs two people",
};

/** Markdown, ending in a newline. */
export function pageOf(runbook: Runbook): string {
  const facts: [string, string][] = [
    ["Kind", runbook.kind === "remedy" ? "remedy: changes the cluster" : "diagnosis: reads only"],
    ["Version", String(runbook.version)],
    ["Acts on", runbook.kinds.join(", ")],
    ["Parameters", parameters(runbook)],
  ];
  if (runbook.kind === "remedy") {
    facts.push(
      ["Risk", `${runbook.risk} (${risks[runbook.risk]})`],
      ["Must be allowed", runbook.needs.map(needed).join(", ") || "nothing"],
      ["Diagnosis", `[${runbook.diagnosis}](${runbook.diagnosis}.md)`],
      ["Waits for the rollout", `${runbook.giveUpAfterMs / 60_000} min at most`],
      ["Undo", typeof runbook.undo === "function" ? "yes" : `none: ${runbook.undo.none}`],
      ["When it did not help", runbook.onFailed === "undo" ? "undoes it and pages" : "stops and pages"],
    );
  }
  return [
    `# ${runbook.name}`,
    "",
    "<!-- Made from the runbook's definition; not edited by hand. `npx vitest run --config test/vitest.config.ts test/runbooks/pages.test.ts -u` makes it again. -->",
    "",
    runbook.summary,
    "",
    "| | |",
    "|---|---|",
    ...facts.map(([name, value]) => `| ${name} | ${cell(value)} |`),
    "",
    `Source: [runbooks/${runbook.name}.ts](../../runbooks/${runbook.name}.ts)`,
    "",
  ].join("\n");
}

function needed(need: { verb: string; group: string; resource: string; subresource?: string }): string {
  const resource = need.subresource === undefined ? need.resource : `${need.resource}/${need.subresource}`;
  return `\`${need.verb} ${need.group === "" ? resource : `${need.group}/${resource}`}\``;
}

/** The fields that the schema takes, with their types as JSON Schema names them. */
function parameters(runbook: Runbook): string {
  const schema = z.toJSONSchema(runbook.params) as {
    properties?: Record<string, { type?: string }>;
    required?: string[];
  };
  const fields = Object.entries(schema.properties ?? {}).map(
    ([name, field]) => `\`${name}\` (${field.type ?? "any"}${schema.required?.includes(name) ? "" : ", optional"})`,
  );
  return fields.length === 0 ? "none" : fields.join(", ");
}

function cell(text: string): string {
  return text.replaceAll("|", "\\|").replaceAll("\n", " ");
}
