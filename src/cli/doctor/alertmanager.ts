import { parse } from "yaml";
import { z } from "zod";
import { type AlertmanagerStatus, createAlertmanagers } from "../../clients/alertmanager.js";
import type { Config } from "../../config.js";
import { silentLog } from "../../log.js";
import { error, type Finding, ok, warning } from "./finding.js";

/** What of Alertmanager's configuration is looked at; it fills in its own defaults before it shows it. */
interface Route {
  receiver?: string | undefined;
  routes?: Route[] | null | undefined;
}
const route: z.ZodType<Route> = z.lazy(() =>
  z.object({ receiver: z.string().optional(), routes: z.array(route).nullish() }),
);
const shape = z.object({
  route,
  receivers: z.array(
    z.object({
      name: z.string(),
      webhook_configs: z
        .array(
          z.object({
            url: z.string().optional(),
            url_file: z.string().optional(),
            send_resolved: z.boolean().default(true),
            max_alerts: z.number().default(0),
          }),
        )
        .nullish(),
    }),
  ),
});
type Shape = z.infer<typeof shape>;

const WEBHOOK = "url: http://NIGHTSHIFT:8080/webhooks/alertmanager, send_resolved: true, max_alerts: 0";

export async function alertmanagerFindings(config: Config): Promise<Finding[]> {
  if (config.alertmanagerUrls.length === 0)
    return [
      error(
        "Alertmanager",
        "ALERTMANAGER_URL is not set: whether an alert still fires cannot be asked, so every remedy is held",
        "set ALERTMANAGER_URL to every Alertmanager, separated by commas",
      ),
    ];
  const found = await createAlertmanagers(config.alertmanagerUrls, config.alertmanagerReceiver, silentLog).statuses();
  const findings = found.flatMap((one) => statusFindings(one, config.alertmanagerReceiver));
  const peers = Math.max(...found.map((one) => one.peers));
  if (peers > config.alertmanagerUrls.length)
    findings.push(
      warning(
        "Alertmanager",
        `its cluster has ${peers} members and ALERTMANAGER_URL names ${config.alertmanagerUrls.length}`,
        "name every member, separated by commas: an alert that only another one has would be taken for ended",
      ),
    );
  return findings;
}

function statusFindings(one: AlertmanagerStatus, receiver: string): Finding[] {
  if (one.version === null)
    return [error("Alertmanager", `${one.url}: ${one.says}`, "is ALERTMANAGER_URL right, and may this host reach it?")];
  const findings = [ok("Alertmanager", `${one.url} answers, version ${one.version}`)];
  if (one.cluster === "settling")
    findings.push(
      warning(
        "Alertmanager",
        `${one.url}: its cluster has not settled: it may send twice, or not know what its peers know`,
        "wait a minute; if it stays so, its members do not reach each other (--cluster.peer, port 9094 for TCP and UDP)",
      ),
    );
  if (one.config === "") return findings;
  const parsed = shape.safeParse(parse(one.config));
  if (!parsed.success)
    return [...findings, ok("Alertmanager webhook", `${one.url}: its configuration has a shape that is not known`)];
  return [...findings, ...webhookFindings(parsed.data, { url: one.url, receiver })];
}

/** Newer versions hide a webhook's URL: then the receiver's name has to tell. */
function webhookFindings(found: Shape, of: { url: string; receiver: string }): Finding[] {
  const check = "Alertmanager webhook";
  const hooks = found.receivers.flatMap(({ name, webhook_configs }) =>
    (webhook_configs ?? []).map((hook) => ({ name, hook })),
  );
  const named = (name: string) => (of.receiver === "" ? /nightshift/i.test(name) : name === of.receiver);
  const ours = hooks.filter(({ name, hook }) =>
    hook.url === undefined || hook.url === "<secret>" ? named(name) : /\/webhooks\/alertmanager\/?$/.test(hook.url),
  );
  if (of.receiver !== "" && !found.receivers.some(({ name }) => name === of.receiver))
    return [
      error(
        check,
        `${of.url} has no receiver ${of.receiver}: no alert is ever found active, so every remedy is held`,
        `set ALERTMANAGER_RECEIVER to one of ${found.receivers.map(({ name }) => name).join(", ")}, or leave it out`,
      ),
    ];
  const routed = receiversOf(found.route);
  const reached = ours.filter(({ name }) => routed.has(name));
  if (reached.length === 0) {
    const only = ours[0]?.name;
    return [
      error(
        check,
        only === undefined
          ? `${of.url} has no receiver that posts to /webhooks/alertmanager: no alert arrives`
          : `${of.url}: no route leads to receiver ${only}: no alert arrives`,
        only === undefined
          ? `add a receiver named nightshift with ${WEBHOOK}, and a route to it (deploy/platform/alertmanager.yml)`
          : `add a route to receiver ${only}`,
      ),
    ];
  }
  const findings: Finding[] = [];
  for (const { name, hook } of reached) {
    if (hook.max_alerts > 0)
      findings.push(
        warning(
          check,
          `${of.url}: receiver ${name} has max_alerts ${hook.max_alerts}: the rest of a larger group is cut off and only caught up later`,
          "set max_alerts: 0",
        ),
      );
    if (!hook.send_resolved)
      findings.push(
        error(
          check,
          `${of.url}: receiver ${name} has send_resolved false: Nightshift never learns that an alert ended`,
          "set send_resolved: true",
        ),
      );
  }
  return findings.length > 0
    ? findings
    : [ok(check, `${of.url}: ${[...new Set(reached.map(({ name }) => name))].join(", ")}`)];
}

function receiversOf(tree: Route): Set<string> {
  return new Set([
    ...(tree.receiver === undefined ? [] : [tree.receiver]),
    ...(tree.routes ?? []).flatMap((child) => [...receiversOf(child)]),
  ]);
}
