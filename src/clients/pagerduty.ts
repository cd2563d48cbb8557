import { messageOf, TerminalError, UnavailableError } from "../errors.js";
import type { PagerEvent, PagerPort } from "../notify/notify.js";

const TIMEOUT_MS = 8000;
const EVENTS = "https://events.pagerduty.com";
const API = "https://api.pagerduty.com";

interface Answer {
  status?: number;
  data?: unknown;
}

type Api = (parameters: Record<string, unknown>) => Promise<Answer>;

async function sdk(): Promise<Api> {
  const module = (await import("@pagerduty/pdjs")) as unknown as { api?: Api; default?: { api: Api } };
  return module.api ?? (module.default?.api as Api);
}

/**
 * The gate to PagerDuty's Events API v2. Through the SDK's `api`, because its `event` knows https alone; its own timeout
 * does nothing but hold the process up, so the deadline is ours. Errors: UnavailableError (try again), TerminalError.
 */
export function createPager(options: { routingKey(): string; eventsUrl: string | null }): PagerPort {
  const url = `${(options.eventsUrl ?? EVENTS).replace(/\/+$/, "")}/v2/enqueue`;
  return {
    async send(event) {
      const key = options.routingKey();
      const answer = await ask({ url, method: "POST", data: body(event, key), token: "" });
      if (answer.status === 202) return;
      const errors = (answer.data as { errors?: unknown; message?: unknown } | undefined) ?? {};
      const said = Array.isArray(errors.errors) ? errors.errors.map(String).join("; ") : String(errors.message ?? "");
      const says = `PagerDuty answered ${answer.status ?? "nothing"}: ${said.slice(0, 300)}`;
      if (answer.status === 400) {
        const hint =
          key.length === 20
            ? "; PAGERDUTY_ROUTING_KEY looks like a REST key: take the integration key of an Events API v2 integration"
            : "";
        throw new TerminalError("ERR_PAGERDUTY_REFUSED", says + hint);
      }
      throw new UnavailableError("ERR_PAGERDUTY_UNAVAILABLE", says);
    },
  };
}

function body(event: PagerEvent, key: string): Record<string, unknown> {
  const common = { routing_key: key, event_action: event.action, dedup_key: event.dedupKey };
  if (event.action === "resolve") return common;
  return {
    ...common,
    payload: {
      summary: event.summary,
      source: event.source,
      severity: event.severity,
      ...(event.timestamp === undefined ? {} : { timestamp: event.timestamp }),
      ...(event.component === undefined ? {} : { component: event.component }),
      ...(event.group === undefined ? {} : { group: event.group }),
      ...(event.class === undefined ? {} : { class: event.class }),
      custom_details: event.details,
    },
    links: event.links,
    client: "Nightshift",
  };
}

/** Whether the Events API answers at all; sends no event. Errors: UnavailableError. */
export async function reachEvents(eventsUrl: string | null): Promise<void> {
  await ask({ url: (eventsUrl ?? EVENTS).replace(/\/+$/, ""), method: "GET", token: "" });
}

export interface PagerDutyRest {
  /** Ids of the users on call at the first level of any escalation policy that the token sees. */
  onCall(): Promise<string[]>;
  /** The service that an integration key belongs to; null where none that the token sees has it. */
  serviceOf(routingKey: string): Promise<{ name: string; status: string } | null>;
}

interface Service {
  name?: string;
  status?: string;
  integrations?: { integration_key?: string }[];
}

export function createPagerDutyRest(options: { token(): string; apiUrl: string | null }): PagerDutyRest {
  const base = (options.apiUrl ?? API).replace(/\/+$/, "");
  return {
    async onCall() {
      const answer = await ask({
        url: `${base}/oncalls?earliest=true&limit=100`,
        method: "GET",
        token: options.token(),
      });
      if (answer.status !== 200)
        throw new UnavailableError(
          "ERR_PAGERDUTY_UNAVAILABLE",
          `PagerDuty answered ${answer.status ?? "nothing"} when asked who is on call`,
        );
      const list =
        (answer.data as { oncalls?: { user?: { id?: string }; escalation_level?: number }[] } | undefined)?.oncalls ??
        [];
      return [
        ...new Set(
          list
            .filter((o) => o.escalation_level === 1)
            .map((o) => o.user?.id ?? "")
            .filter((id) => id !== ""),
        ),
      ];
    },
    async serviceOf(routingKey) {
      const token = options.token();
      for (let offset = 0; offset < 1000; offset += 100) {
        const url = `${base}/services?include[]=integrations&limit=100&offset=${offset}`;
        const answer = await ask({ url, method: "GET", token });
        const page = answer.data as { services?: Service[]; more?: boolean } | undefined;
        if (answer.status !== 200)
          throw new UnavailableError(
            "ERR_PAGERDUTY_UNAVAILABLE",
            `PagerDuty answered ${answer.status ?? "nothing"} when asked for its services`,
          );
        const mine = page?.services?.find((one) => one.integrations?.some((i) => i.integration_key === routingKey));
        if (mine !== undefined) return { name: mine.name ?? "unknown", status: mine.status ?? "unknown" };
        if (page?.more !== true) return null;
      }
      throw new UnavailableError("ERR_TOO_LONG", "PagerDuty has more than 1000 services");
    },
  };
}

async function ask(parameters: Record<string, unknown>): Promise<Answer> {
  try {
    return await (await sdk())({
      ...parameters,
      requestTimeout: 0,
      retryTimeout: 0,
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
  } catch (cause) {
    // A body that is no JSON makes the SDK reject with the response itself.
    const status = (cause as { status?: unknown }).status;
    if (typeof status === "number") return { status, data: {} };
    throw new UnavailableError("ERR_PAGERDUTY_UNAVAILABLE", `PagerDuty could not be reached: ${messageOf(cause)}`);
  }
}
