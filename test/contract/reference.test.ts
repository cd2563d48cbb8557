import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { type Guard } from "../../src/guard/guard.js";
import { loadGuards } from "../../src/guard/gate.js";
import { createMetrics } from "../../src/metrics.js";
import { loadRunbooks } from "../../src/plan/registry.js";
import { outcomes, type Reason, reasonNames, reasons } from "../../src/record/reasons.js";

/** The reference pages are made from the code that they describe: `-u` writes them again. */

const docs = fileURLToPath(new URL("../../docs/", import.meta.url));
const MADE =
  "<!-- Made from the code; not edited by hand. `npx vitest run --config test/vitest.config.ts test/contract/reference.test.ts -u` makes it again. -->";
const guards = await loadGuards();

const overruled: Record<Guard["overrule"], string> = {
  fixed: "nobody",
  one: "one person",
  two: "two people",
};

function guardsPage(): string {
  return [
    "# Guards and reasons",
    "",
    MADE,
    "",
    "Every guard is asked when a plan is made and again before every effect, in this order; the first that holds gives the reason.",
    "A guard that cannot be evaluated holds. `nightshift why INCIDENT` shows each with what it expected and what it found. Settings and",
    "their defaults stand in [policy.md](policy.md). The last column says who is meant to overrule it; no overruling is built yet.",
    "",
    "| | guard | what it does | overruled by |",
    "|---|---|---|---|",
    ...guards.map(
      (guard) => `| ${guard.order} | \`${guard.name}\` | ${guard.summary} | ${overruled[guard.overrule]} |`,
    ),
    "",
    "## Reasons",
    "",
    `An incident ends as ${outcomes.map((one) => `\`${one}\``).join(", ")}. \`held\` brings a person; its reason, and that of \`suppressed\`, is one of these.`,
    "",
    "| reason | in words |",
    "|---|---|",
    ...reasonNames.map((reason: Reason) => `| \`${reason}\` | ${reasons[reason]} |`),
    "",
  ].join("\n");
}

async function metricsPage(): Promise<string> {
  const runbooks = await loadRunbooks();
  const { registry } = createMetrics({
    guards: guards.map((guard) => guard.name),
    runbooks: [...runbooks.keys()],
    outcomes,
    reasons: reasonNames,
  });
  const all = (await registry.getMetricsAsJSON()).filter((one) => one.name.startsWith("nightshift_"));
  const rows = all.map((one) => {
    const sets = new Map<string, Set<string>>();
    for (const { labels } of one.values)
      for (const [name, value] of Object.entries(labels)) {
        if (name === "le") continue;
        sets.set(name, (sets.get(name) ?? new Set()).add(String(value)));
      }
    const labels = [...sets].map(([name, values]) => `\`${name}\`: ${shown(name, [...values])}`).join("<br>");
    return `| \`${one.name}\` | ${String(one.type)} | ${one.help} | ${labels} |`;
  });
  return [
    "# Metrics",
    "",
    MADE,
    "",
    "At `/metrics` of every role, in Prometheus' text format. Every series is there from zero, label sets are closed, and no alert's,",
    "pod's or target's name is a label. Node's own metrics (`process_…`, `nodejs_…`) come beside them. Alerting rules about these are in",
    "[deploy/platform/rules/nightshift.yaml](../deploy/platform/rules/nightshift.yaml).",
    "",
    "| metric | kind | what it counts | labels |",
    "|---|---|---|---|",
    ...rows,
    "",
  ].join("\n");
}

function shown(name: string, values: string[]): string {
  if (name === "reason") return "[reasons](guards.md#reasons), `none`";
  if (name === "guard") return "[guards](guards.md)";
  if (name === "runbook") return "[runbooks](runbooks/)";
  return values.map((value) => `\`${value}\``).join(", ");
}

describe("the reference pages say what the code says", () => {
  it("guards.md", async () => {
    await expect(guardsPage()).toMatchFileSnapshot(`${docs}guards.md`);
  });

  it("metrics.md", async () => {
    await expect(await metricsPage()).toMatchFileSnapshot(`${docs}metrics.md`);
  });
});
