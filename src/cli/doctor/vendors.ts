import { createAlertmanagers } from "../../clients/alertmanager.js";
import { createPagerDutyRest } from "../../clients/pagerduty.js";
import { createPrometheus } from "../../clients/prometheus.js";
import { createSlack } from "../../clients/slack.js";
import type { Config } from "../../config.js";
import { messageOf } from "../../errors.js";
import { silentLog } from "../../log.js";
import { error, type Finding, ok, skew, warning } from "./finding.js";

export async function slackFindings(config: Config): Promise<Finding[]> {
  const { botToken, appToken, signingSecret, channel } = config.slack;
  if (botToken === null)
    return [
      warning(
        "Slack",
        "SLACK_BOT_TOKEN is not set: no plan can be approved there, plans are paged",
        "make an app from deploy/slack-app-manifest.yaml and set SLACK_BOT_TOKEN, SLACK_CHANNEL and SLACK_APP_TOKEN",
      ),
    ];
  const findings: Finding[] = [];
  if (appToken === null && signingSecret === null)
    findings.push(
      error(
        "Slack",
        "neither SLACK_APP_TOKEN nor SLACK_SIGNING_SECRET is set: clicks cannot arrive",
        "set SLACK_APP_TOKEN for Socket Mode, or SLACK_SIGNING_SECRET for HTTP",
      ),
    );
  try {
    const slack = await createSlack({ botToken: () => botToken.values()[0] ?? "", apiUrl: config.slack.apiUrl });
    findings.push(ok("Slack", `${await slack.whoAmI()}, channel ${channel}`));
    await slack.find(channel, "doctor");
    findings.push(ok("Slack channel", `${channel} can be read`));
  } catch (fault) {
    findings.push(
      error("Slack", messageOf(fault), "see the message; the app needs the scopes of deploy/slack-app-manifest.yaml"),
    );
  }
  return findings;
}

export async function pagerDutyFindings(config: Config): Promise<Finding[]> {
  const key = config.pagerduty.routingKey?.values()[0];
  if (key === undefined)
    return [
      error(
        "PagerDuty",
        "PAGERDUTY_ROUTING_KEY is not set: nothing above propose runs",
        "add an Events API v2 integration to a service and set its integration key",
      ),
    ];
  const findings = [
    /^[A-Za-z0-9]{32}$/.test(key)
      ? ok("PagerDuty", "the routing key has the right form (no event was sent)")
      : error(
          "PagerDuty",
          `the routing key has ${key.length} characters, expected 32 letters and digits`,
          key.length === 20
            ? "that looks like a REST key: take the integration key of an Events API v2 integration"
            : "copy the integration key again",
        ),
  ];
  const { token } = config.pagerduty;
  if (token === null)
    return [
      ...findings,
      warning(
        "PagerDuty REST",
        "PAGERDUTY_TOKEN is not set: pagerduty:oncall approves nothing",
        "set PAGERDUTY_TOKEN to a read-only REST key",
      ),
    ];
  try {
    const people = await createPagerDutyRest({
      token: () => token.values()[0] ?? "",
      apiUrl: config.pagerduty.apiUrl,
    }).onCall();
    findings.push(
      people.length > 0
        ? ok("PagerDuty REST", `${people.length} on call`)
        : warning("PagerDuty REST", "nobody is on call", "look at the escalation policies"),
    );
  } catch (fault) {
    findings.push(error("PagerDuty REST", messageOf(fault), "is PAGERDUTY_TOKEN a valid REST key?"));
  }
  return findings;
}

export async function prometheusFindings(config: Config): Promise<Finding[]> {
  if (config.prometheusUrl === null)
    return [
      warning(
        "Prometheus",
        "PROMETHEUS_URL is not set: every verification ends inconclusive and pages",
        "set PROMETHEUS_URL",
      ),
    ];
  try {
    const client = createPrometheus(config.prometheusUrl);
    return [
      ok("Prometheus", `answers, version ${await client.buildVersion()}`),
      skew("Prometheus", await client.serverTime()),
    ];
  } catch (fault) {
    return [error("Prometheus", messageOf(fault), "is PROMETHEUS_URL right?")];
  }
}

export async function alertmanagerFindings(config: Config): Promise<Finding[]> {
  if (config.alertmanagerUrls.length === 0)
    return [
      error(
        "Alertmanager",
        "ALERTMANAGER_URL is not set: whether an alert still fires cannot be asked, so every remedy is held",
        "set ALERTMANAGER_URL to every Alertmanager, separated by commas",
      ),
    ];
  const found = await createAlertmanagers(config.alertmanagerUrls, config.alertmanagerReceiver, silentLog).versions();
  return found.map((one) =>
    one.version === null
      ? error("Alertmanager", `${one.url}: ${one.says}`, "is ALERTMANAGER_URL right?")
      : ok("Alertmanager", `${one.url} answers, version ${one.version}`),
  );
}
