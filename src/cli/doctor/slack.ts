import { createSlack, type SlackClient } from "../../clients/slack.js";
import type { Config, Secret } from "../../config.js";
import { messageOf } from "../../errors.js";
import type { Policy } from "../../policy/policy.js";
import { error, type Finding, ok, warning } from "./finding.js";

/** The scopes of deploy/slack-app-manifest.yaml; the last two are for public and private channels. */
const NEEDED = ["chat:write", "commands", "usergroups:read"];
const HISTORY = ["channels:history", "groups:history"];
const MANIFEST = "compare the app with deploy/slack-app-manifest.yaml, then install it into the workspace again";

/** Who the tokens are, the channel, scopes and groups. Posts nothing, opens no connection. */
export async function slackFindings(config: Config, policy: Policy | null): Promise<Finding[]> {
  const { botToken, appToken, signingSecret, channel, apiUrl } = config.slack;
  if (botToken === null)
    return [
      warning(
        "Slack",
        "SLACK_BOT_TOKEN is not set: no plan can be approved there, plans are paged",
        "make an app from deploy/slack-app-manifest.yaml and set SLACK_BOT_TOKEN, SLACK_CHANNEL and SLACK_APP_TOKEN",
      ),
    ];
  const of = (secret: Secret) => createSlack({ botToken: () => secret.values()[0] ?? "", apiUrl });
  const findings: Finding[] = [];
  if (appToken === null && signingSecret === null)
    findings.push(
      error(
        "Slack clicks",
        "neither SLACK_APP_TOKEN nor SLACK_SIGNING_SECRET is set: clicks cannot arrive",
        "set SLACK_APP_TOKEN for Socket Mode, or SLACK_SIGNING_SECRET for HTTP",
      ),
    );
  if (appToken !== null) findings.push(await clicks(await of(appToken)));
  const slack = await of(botToken);
  try {
    const { name, scopes } = await slack.whoAmI();
    findings.push(ok("Slack", name), scopeFinding(scopes));
  } catch (fault) {
    return [
      ...findings,
      error("Slack", messageOf(fault), "set SLACK_BOT_TOKEN to the Bot User OAuth Token of the app (xoxb-…)"),
    ];
  }
  findings.push(await channelFinding(slack, channel));
  for (const handle of groupsOf(policy)) {
    const members = await slack.groupMembers(handle);
    if (members === null || members.length === 0)
      findings.push(
        warning(
          "Slack approvers",
          `slack-group:${handle} of the policy ${members === null ? "does not exist or cannot be read" : "is empty"}: nobody in it can approve`,
          "correct the group's handle, fill it, or name people as slack-user:ID (groups need the scope usergroups:read and a paid plan)",
        ),
      );
  }
  return findings;
}

async function clicks(slack: SlackClient): Promise<Finding> {
  try {
    await slack.mayConnect();
    return ok("Slack clicks", "SLACK_APP_TOKEN may open Socket Mode");
  } catch (fault) {
    // The client's hint is about the bot's token.
    const says = messageOf(fault).split(";")[0] ?? "";
    return error(
      "Slack clicks",
      `SLACK_APP_TOKEN: ${says}: clicks cannot arrive`,
      "make an app-level token (xapp-…) with the scope connections:write, and enable Socket Mode",
    );
  }
}

function scopeFinding(scopes: string[] | null): Finding {
  if (scopes === null) return ok("Slack scopes", "Slack does not tell them");
  const missing = NEEDED.filter((scope) => !scopes.includes(scope));
  if (!HISTORY.some((scope) => scopes.includes(scope))) missing.push(HISTORY.join(" or "));
  return missing.length === 0
    ? ok("Slack scopes", scopes.join(", "))
    : error("Slack scopes", `the app lacks ${missing.join(", ")}`, MANIFEST);
}

async function channelFinding(slack: SlackClient, channel: string): Promise<Finding> {
  try {
    await slack.find(channel, "doctor");
    return ok("Slack channel", `${channel} can be read`);
  } catch (fault) {
    return error(
      "Slack channel",
      `${channel}: ${messageOf(fault)}`,
      "set SLACK_CHANNEL to the channel's id (C…), and type /invite @nightshift there",
    );
  }
}

/** Handles that the policy's rules and defaults name as approvers. */
function groupsOf(policy: Policy | null): string[] {
  const from = [policy?.defaults.approval, ...(policy?.rules ?? []).map((rule) => rule.approval)];
  const handles = from.flatMap((approval) => approval?.from ?? []).map((who) => /^slack-group:(.+)$/.exec(who)?.[1]);
  return [...new Set(handles.filter((handle) => handle !== undefined))];
}
