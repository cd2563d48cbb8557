import { createKubernetes } from "../clients/kubernetes.js";
import { createProbe } from "../clients/probe.js";
import { createPrometheus } from "../clients/prometheus.js";
import { systemClock } from "../clock.js";
import { readConfig } from "../config.js";
import { TerminalError } from "../errors.js";
import { ownersOf } from "../owner/owners.js";
import { headlineWithLog } from "../notify/headline.js";
import { loadRunbooks } from "../plan/registry.js";
import { defaultGuards } from "../policy/defaults.js";
import { isSkip } from "../runbook.js";
import { resolveTarget } from "../target/resolve.js";

/** `nightshift plan RUNBOOK NAMESPACE/NAME`: what it would do now. Reads only; no guard is asked, nothing is recorded. */
export async function plan(options: { runbook: string; target: string; json: boolean }): Promise<number> {
  const config = readConfig(process.env, false);
  const runbook = (await loadRunbooks()).get(options.runbook);
  if (runbook === undefined)
    throw new TerminalError("ERR_NO_RUNBOOK", `no runbook ${options.runbook}: see \`nightshift runbooks\``);
  const [namespace = "", name = ""] = options.target.split("/");
  if (namespace === "" || name === "")
    throw new TerminalError("ERR_TARGET", `target: expected namespace/name, found ${JSON.stringify(options.target)}`);
  const cluster = await createKubernetes({ kubeconfig: config.kubeconfig, clock: systemClock });
  try {
    const kind = runbook.kinds.includes("Deployment") ? "Deployment" : (runbook.kinds[0] ?? "");
    const found = await resolveTarget({ cluster: config.cluster, kind, namespace, name }, { labels: {} }, cluster);
    if (!("target" in found)) throw new TerminalError("ERR_TARGET", found.says);
    const prometheus = config.prometheusUrl === null ? null : createPrometheus(config.prometheusUrl);
    const measure = async (expr: string) => (prometheus === null ? null : prometheus.query(expr).catch(() => null));
    const base = {
      target: found.target,
      params: runbook.params.parse({}),
      alerts: [],
      cluster,
      measure,
      now: systemClock.now(),
    };
    if (runbook.kind === "diagnosis") {
      const { redact } = await import("../log.js");
      const diagnosis = await runbook.diagnose({ ...base, redact, logLines: 20, probe: createProbe(systemClock) });
      if (options.json) process.stdout.write(`${JSON.stringify(diagnosis, null, 2)}\n`);
      else
        process.stdout.write(
          `${[...headlineWithLog(diagnosis), ...diagnosis.details.flatMap((d) => [d.title, ...d.lines.map((l) => `  ${l}`)])].join("\n")}\n`,
        );
      return 0;
    }
    const object = await cluster.get(found.target);
    const owners = object === null ? [] : await ownersOf(found.target, object, cluster);
    const draft = await runbook.plan({
      ...base,
      owners,
      settings: { rollbackHealthMs: defaultGuards.rollback.healthMs },
    });
    if (options.json) process.stdout.write(`${JSON.stringify(draft, null, 2)}\n`);
    else if (isSkip(draft))
      process.stdout.write(`No plan (${draft.skip}): ${draft.sentence}\n${draft.handOff ?? ""}\n`);
    else
      process.stdout.write(
        `${[draft.sentence, ...draft.changes.map((c) => `  ${c.field}: ${c.from} → ${c.to}`), `  loses ${draft.loses}; takes ${draft.takes}; undo: ${draft.undo}`, ...draft.evidence.map((e) => `  • ${e}`)].join("\n")}\n`,
      );
    return isSkip(draft) ? 3 : 0;
  } finally {
    await cluster.close();
  }
}
