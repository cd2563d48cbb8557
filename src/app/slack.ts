import { slackHandlers } from "../../handlers/slack.js";
import { createSlackApp, type SlackApp } from "../clients/slack-bolt.js";
import type { Clock } from "../clock.js";
import type { Config } from "../config.js";
import { TerminalError } from "../errors.js";
import type { ControlStore } from "../execution/control.js";
import type { Log } from "../log.js";
import { codeBlock } from "../notify/code-block.js";
import { mrkdwn } from "../notify/escape.js";
import { JOB_VERSION, type Job } from "../queue/jobs.js";
import { reasons } from "../record/reasons.js";
import type { LineStore, RecordStore } from "../record/store.js";
import { MOST_WEEKS, periodOf, reportOf } from "../report/figures.js";
import { reportText } from "../report/text.js";

export interface SlackPorts {
  config: Config;
  log: Log;
  clock: Clock;
  add(job: Job): Promise<void>;
  control: ControlStore;
  records: RecordStore;
  lines: LineStore;
  /** Whether this person may lift a pause. Anybody may set one. */
  mayLift(by: string): Promise<boolean>;
}

/** The handler cuts an answer at 3000 characters. */
const SLACK_MOST = 2900;
const HELP =
  "`/sre incidents` the latest · `/sre why INCIDENT` its story · `/sre report [WEEKS]` what was done, or would have been · `/sre pause REASON` stop everything · `/sre resume`";

/** Starts Bolt. Slack being away at the start must not keep Nightshift from serving: it is tried again. */
export async function startSlack(ports: SlackPorts): Promise<SlackApp> {
  const { config, log, clock } = ports;
  const bot = config.slack.botToken;
  if (bot === null) throw new TerminalError("ERR_CONFIG", "SLACK_BOT_TOKEN is not set");
  const signing = config.slack.signingSecret;
  const mode = config.slack.appToken
    ? ({ mode: "socket", appToken: config.slack.appToken.values()[0] ?? "" } as const)
    : ({ mode: "http", signingSecrets: () => signing?.values() ?? [] } as const);
  const app = await createSlackApp(mode, { botToken: () => bot.values()[0] ?? "", apiUrl: config.slack.apiUrl, log });
  slackHandlers(app.app, {
    onClick: (click) => ports.add({ v: JOB_VERSION, kind: "click", click }),
    onCommand: (command) => answer(ports, command),
    install: config.install,
    now: () => clock.now(),
    log,
  });
  let stopped = false;
  const connect = async () => {
    for (let wait = 1000; !stopped; wait = Math.min(wait * 2, 30_000)) {
      try {
        await app.start();
        return;
      } catch (error) {
        log.warn({ error }, "Slack could not be connected");
        await clock.sleep(wait);
      }
    }
  };
  void connect();
  return {
    ...app,
    async stop() {
      stopped = true;
      await app.stop();
    },
  };
}

async function answer(ports: SlackPorts, command: { words: string[]; by: string; name: string }): Promise<string> {
  const [verb = "help", ...rest] = command.words;
  switch (verb) {
    case "incidents": {
      const recent = await ports.records.recent(10);
      if (recent.length === 0) return "No incidents.";
      return recent
        .map(
          (r) =>
            `\`${r.id}\` ${r.state}${r.reason ? ` (${r.reason})` : ""} ${mrkdwn(r.target ? `${r.target.namespace}/${r.target.name}` : (r.alerts[0]?.labels["alertname"] ?? ""), 100)}`,
        )
        .join("\n");
    }
    case "why": {
      const record = await ports.records.get(rest[0] ?? "");
      if (record === null) return "No such incident.";
      const guards = record.guards.map(
        (g) => `${g.holds ? "✗" : "✓"} ${g.guard}: expected ${mrkdwn(g.expected, 80)}, found ${mrkdwn(g.found, 80)}`,
      );
      return [
        `\`${record.id}\` ${record.state}${record.reason ? `: ${reasons[record.reason]}` : ""}`,
        mrkdwn(record.says, 500),
        ...guards,
      ].join("\n");
    }
    case "report": {
      const weeks = Number(rest[0] ?? 1);
      if (!Number.isInteger(weeks) || weeks < 1 || weeks > MOST_WEEKS)
        return `Expected a whole number of weeks from 1 to ${MOST_WEEKS}: \`/sre report 2\`.`;
      const period = periodOf(weeks, ports.clock.now());
      const found = await ports.lines.between(period.from, period.to);
      const more = `The rest: \`nightshift report --weeks ${weeks}\``;
      return codeBlock(reportText(reportOf(period, found)), SLACK_MOST, more);
    }
    case "pause": {
      const why = rest.join(" ").slice(0, 200) || "no reason given";
      await ports.control.pause({ scope: "all", by: `${command.name} (${command.by})`, why, until: null });
      return `Everything is paused: ${mrkdwn(why)}. \`/sre resume\` lifts it.`;
    }
    case "resume":
      if (!(await ports.mayLift(command.by)))
        return "Only who may approve by the policy's defaults lifts a pause (`defaults.approval.from`), or `nightshift resume` with the cluster's rights: nothing was changed.";
      return (await ports.control.resume("all")) ? "The pause is lifted." : "Nothing was paused.";
    default:
      return HELP;
  }
}
