import type { Event } from "./events.js";
import type { IncidentRecord } from "./incident.js";

/** Why a transition happened, for the audit: the line that it added to the story, else what the event itself says. */
export function whyOf(before: IncidentRecord, after: IncidentRecord, event: Event): string {
  const old = before.timeline.at(-1);
  const said = after.timeline.at(-1);
  if (said !== undefined && (said.at !== old?.at || said.what !== old.what || said.says !== old.says)) return said.says;
  switch (event.type) {
    case "firing":
      return `${event.alert.labels["alertname"] ?? "an alert"} came again`;
    case "diagnosed":
      return "diagnosed";
    case "targeted":
      return `the target is ${event.target.kind} ${event.target.namespace}/${event.target.name}`;
    case "look":
      return `looked: ${event.look.world}, ${event.look.symptom}. ${event.look.says}`;
    case "resume":
      return `carried on under token ${event.token}`;
    case "settled":
      return "quiet when looked at again";
    case "stormSeen":
      return event.cause === null ? "the storm was looked at" : `suspected common cause: ${event.cause}`;
    case "posted":
      return `posted to Slack channel ${event.slack.channel}`;
    case "pageResolved":
      return "PagerDuty was told that it is over";
    default:
      return "says" in event ? event.says : event.type;
  }
}
