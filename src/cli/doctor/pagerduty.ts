import { createPagerDutyRest, reachEvents } from "../../clients/pagerduty.js";
import type { Config } from "../../config.js";
import { messageOf } from "../../errors.js";
import { error, type Finding, ok, warning } from "./finding.js";

/** The routing key's form and whose it is, and the REST key. Sends no event: whether a key is taken only an event would tell. */
export async function pagerDutyFindings(config: Config): Promise<Finding[]> {
  const { routingKey, token, eventsUrl, apiUrl } = config.pagerduty;
  const key = routingKey?.values()[0];
  if (key === undefined)
    return [
      error(
        "PagerDuty",
        "PAGERDUTY_ROUTING_KEY is not set: nothing above propose runs",
        "add an Events API v2 integration to a service and set its integration key",
      ),
    ];
  if (!/^[A-Za-z0-9]{32}$/.test(key))
    return [
      error(
        "PagerDuty",
        `the routing key has ${key.length} characters, expected 32 letters and digits: every page would be refused`,
        key.length === 20
          ? "that looks like a REST key: take the integration key of an Events API v2 integration"
          : "copy the integration key again",
      ),
    ];
  const findings: Finding[] = [];
  try {
    await reachEvents(eventsUrl);
    findings.push(ok("PagerDuty", "the Events API answers, the routing key has the right form (no event was sent)"));
  } catch (fault) {
    findings.push(
      error(
        "PagerDuty",
        `the Events API cannot be reached: ${messageOf(fault)}`,
        "may this host reach it (proxy, NetworkPolicy)? For the EU region set PAGERDUTY_EVENTS_URL",
      ),
    );
  }
  if (token === null)
    return [
      ...findings,
      warning(
        "PagerDuty REST",
        "PAGERDUTY_TOKEN is not set: pagerduty:oncall approves nothing",
        "set PAGERDUTY_TOKEN to a read-only REST key",
      ),
    ];
  const rest = createPagerDutyRest({ token: () => token.values()[0] ?? "", apiUrl });
  try {
    const people = await rest.onCall();
    findings.push(
      people.length > 0
        ? ok("PagerDuty REST", `${people.length} on call`)
        : warning(
            "PagerDuty REST",
            "nobody is on call at the first level of any escalation policy: a page would wake nobody",
            "look at the escalation policies and their schedules",
          ),
    );
    findings.push(await ownerOf(rest, key));
  } catch (fault) {
    findings.push(
      error("PagerDuty REST", messageOf(fault), "set PAGERDUTY_TOKEN to a valid read-only REST key (20 characters)"),
    );
  }
  return findings;
}

async function ownerOf(rest: ReturnType<typeof createPagerDutyRest>, key: string): Promise<Finding> {
  try {
    const service = await rest.serviceOf(key);
    if (service === null)
      return warning(
        "PagerDuty service",
        "no service that PAGERDUTY_TOKEN sees has this routing key: pages may go nowhere",
        "compare PAGERDUTY_ROUTING_KEY with the service's Integrations tab; a key of an event orchestration is not listed there",
      );
    return service.status === "disabled"
      ? error(
          "PagerDuty service",
          `the routing key belongs to service ${service.name}, which is disabled: it drops every page`,
          "enable the service, or take another one's integration key",
        )
      : ok("PagerDuty service", `the routing key belongs to service ${service.name} (${service.status})`);
  } catch (fault) {
    return ok("PagerDuty service", `whose the routing key is cannot be told: ${messageOf(fault)}`);
  }
}
