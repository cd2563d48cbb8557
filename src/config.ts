/** Environment and files → one frozen Config. Every fault is listed at once; a secret has no default. */
import { readFileSync, statSync } from "node:fs";
import { FaultsError, messageOf } from "./errors.js";

/** A secret: its present value, read again when its file changes. Several values are valid at once during rotation. */
export interface Secret {
  values(): string[];
}

export type Role = "all" | "front" | "hands";

export interface Config {
  policyFile: string | null;
  host: string;
  port: number;
  /** Without a slash at the end; "" where unset. */
  url: string;
  role: Role;
  /** "" where the policy's sole cluster is meant. */
  cluster: string;
  namespace: string;
  secret: Secret | null;
  webhook: { tokens: Secret | null; basic: Secret | null };
  apiToken: Secret | null;
  dataDir: string;
  redisUrl: string | null;
  redisPrefix: string;
  kubeconfig: string | null;
  kubeconfigHands: string | null;
  slack: {
    botToken: Secret | null;
    channel: string;
    appToken: Secret | null;
    signingSecret: Secret | null;
    apiUrl: string | null;
  };
  pagerduty: {
    routingKey: Secret | null;
    token: Secret | null;
    from: string;
    webhookSecret: Secret | null;
    eventsUrl: string | null;
    apiUrl: string | null;
  };
  prometheusUrl: string | null;
  alertmanagerUrls: string[];
  /** Our receiver's name at Alertmanager; "" asks for every receiver. */
  alertmanagerReceiver: string;
  limits: { bodyBytes: number; alerts: number; labelLength: number; pending: number };
  logLevel: string;
  install: string;
}

/** Names of the environment variables: a contract with users; docs/configuration.md lists them. */
export const variables = [
  "NIGHTSHIFT_POLICY",
  "NIGHTSHIFT_HOST",
  "NIGHTSHIFT_PORT",
  "NIGHTSHIFT_URL",
  "NIGHTSHIFT_ROLE",
  "NIGHTSHIFT_CLUSTER",
  "NIGHTSHIFT_NAMESPACE",
  "NIGHTSHIFT_SECRET",
  "NIGHTSHIFT_WEBHOOK_TOKEN",
  "NIGHTSHIFT_WEBHOOK_BASIC",
  "NIGHTSHIFT_API_TOKEN",
  "NIGHTSHIFT_DATA",
  "NIGHTSHIFT_REDIS_PREFIX",
  "NIGHTSHIFT_MAX_BODY_BYTES",
  "NIGHTSHIFT_MAX_ALERTS",
  "NIGHTSHIFT_MAX_LABEL_LENGTH",
  "NIGHTSHIFT_MAX_PENDING",
  "NIGHTSHIFT_LOG_LEVEL",
  "NIGHTSHIFT_INSTALL",
  "REDIS_URL",
  "KUBECONFIG",
  "KUBECONFIG_HANDS",
  "SLACK_BOT_TOKEN",
  "SLACK_CHANNEL",
  "SLACK_APP_TOKEN",
  "SLACK_SIGNING_SECRET",
  "SLACK_API_URL",
  "PAGERDUTY_ROUTING_KEY",
  "PAGERDUTY_TOKEN",
  "PAGERDUTY_FROM",
  "PAGERDUTY_WEBHOOK_SECRET",
  "PAGERDUTY_EVENTS_URL",
  "PAGERDUTY_API_URL",
  "PROMETHEUS_URL",
  "ALERTMANAGER_URL",
  "ALERTMANAGER_RECEIVER",
] as const;

const secrets = new Set([
  "NIGHTSHIFT_SECRET",
  "NIGHTSHIFT_WEBHOOK_TOKEN",
  "NIGHTSHIFT_WEBHOOK_BASIC",
  "NIGHTSHIFT_API_TOKEN",
  "SLACK_BOT_TOKEN",
  "SLACK_APP_TOKEN",
  "SLACK_SIGNING_SECRET",
  "PAGERDUTY_ROUTING_KEY",
  "PAGERDUTY_TOKEN",
  "PAGERDUTY_WEBHOOK_SECRET",
]);

const NAMESPACE_FILE = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";

type Env = Readonly<Record<string, string | undefined>>;

/** Reads the configuration. `serving` asks for what `serve` needs; short commands need less. Throws FaultsError. */
export function readConfig(env: Env, serving: boolean): Config {
  const faults: string[] = [];
  const text = (name: string) => env[name]?.trim() ?? "";
  const secret = (name: string) => readSecret(env, name, faults);
  const url = (name: string): string | null => {
    const value = text(name);
    if (value === "") return null;
    if (/^https?:\/\//.test(value) && URL.canParse(value)) return value.replace(/\/+$/, "");
    faults.push(`${name}: expected an http(s) URL, found ${shown(value)}`);
    return null;
  };
  const whole = (name: string, otherwise: number, bounds: [number, number]): number => {
    const value = text(name);
    if (value === "") return otherwise;
    const number = Number(value);
    if (/^\d+$/.test(value) && number >= bounds[0] && number <= bounds[1]) return number;
    faults.push(`${name}: expected a whole number from ${bounds[0]} to ${bounds[1]}, found ${shown(value)}`);
    return otherwise;
  };
  for (const name of Object.keys(env)) {
    const base = name.replace(/_FILE$/, "");
    const ours = /^(NIGHTSHIFT|SLACK|PAGERDUTY)_/.test(name);
    if (ours && !(variables as readonly string[]).includes(name) && !(name.endsWith("_FILE") && secrets.has(base))) {
      if (name.startsWith("NIGHTSHIFT_")) faults.push(`${name}: no such variable; see docs/configuration.md`);
    }
  }

  const role = text("NIGHTSHIFT_ROLE") || "all";
  if (role !== "all" && role !== "front" && role !== "hands")
    faults.push(`NIGHTSHIFT_ROLE: expected all, front or hands, found ${shown(role)}`);
  const redisUrl = text("REDIS_URL");
  if (redisUrl !== "" && !/^(rediss?:\/\/|unix:\/\/|sentinel:\/\/[^/]+\/[^/]+)/.test(redisUrl))
    faults.push(
      `REDIS_URL: expected redis://, rediss://, unix:// or sentinel://HOST:PORT,…/NAME, found ${shown(redisUrl)}`,
    );
  const level = text("NIGHTSHIFT_LOG_LEVEL") || "info";
  if (!["debug", "info", "warn", "error"].includes(level))
    faults.push(`NIGHTSHIFT_LOG_LEVEL: expected debug, info, warn or error, found ${shown(level)}`);

  const config: Config = {
    policyFile: text("NIGHTSHIFT_POLICY") || null,
    host: text("NIGHTSHIFT_HOST") || "0.0.0.0",
    port: whole("NIGHTSHIFT_PORT", 8080, [0, 65535]),
    url: url("NIGHTSHIFT_URL") ?? "",
    role: role as Role,
    cluster: text("NIGHTSHIFT_CLUSTER"),
    namespace: text("NIGHTSHIFT_NAMESPACE") || podNamespace() || "nightshift",
    secret: secret("NIGHTSHIFT_SECRET"),
    webhook: { tokens: secret("NIGHTSHIFT_WEBHOOK_TOKEN"), basic: secret("NIGHTSHIFT_WEBHOOK_BASIC") },
    apiToken: secret("NIGHTSHIFT_API_TOKEN"),
    dataDir: text("NIGHTSHIFT_DATA") || ".nightshift",
    redisUrl: redisUrl || null,
    redisPrefix: text("NIGHTSHIFT_REDIS_PREFIX") || "{nightshift}",
    kubeconfig: text("KUBECONFIG") || null,
    kubeconfigHands: text("KUBECONFIG_HANDS") || null,
    slack: {
      botToken: secret("SLACK_BOT_TOKEN"),
      channel: text("SLACK_CHANNEL"),
      appToken: secret("SLACK_APP_TOKEN"),
      signingSecret: secret("SLACK_SIGNING_SECRET"),
      apiUrl: url("SLACK_API_URL"),
    },
    pagerduty: {
      routingKey: secret("PAGERDUTY_ROUTING_KEY"),
      token: secret("PAGERDUTY_TOKEN"),
      from: text("PAGERDUTY_FROM"),
      webhookSecret: secret("PAGERDUTY_WEBHOOK_SECRET"),
      eventsUrl: url("PAGERDUTY_EVENTS_URL"),
      apiUrl: url("PAGERDUTY_API_URL"),
    },
    prometheusUrl: url("PROMETHEUS_URL"),
    alertmanagerUrls: text("ALERTMANAGER_URL")
      .split(/[,\s]+/)
      .filter((part) => part !== "")
      .map((part) => part.replace(/\/+$/, "")),
    alertmanagerReceiver: text("ALERTMANAGER_RECEIVER"),
    limits: {
      bodyBytes: whole("NIGHTSHIFT_MAX_BODY_BYTES", 1024 * 1024, [1024, 64 * 1024 * 1024]),
      alerts: whole("NIGHTSHIFT_MAX_ALERTS", 500, [1, 10_000]),
      labelLength: whole("NIGHTSHIFT_MAX_LABEL_LENGTH", 1024, [64, 65_536]),
      pending: whole("NIGHTSHIFT_MAX_PENDING", 5000, [1, 1_000_000]),
    },
    logLevel: level,
    install: text("NIGHTSHIFT_INSTALL") || "nightshift",
  };
  for (const part of config.alertmanagerUrls) {
    if (!/^https?:\/\//.test(part) || !URL.canParse(part))
      faults.push(`ALERTMANAGER_URL: expected http(s) URLs separated by commas, found ${shown(part)}`);
  }
  if (config.slack.botToken && config.slack.channel === "")
    faults.push("SLACK_CHANNEL: needed beside SLACK_BOT_TOKEN, found nothing");
  if (serving) {
    const receives = config.role !== "hands";
    if (receives && !config.webhook.tokens && !config.webhook.basic) {
      faults.push(
        "NIGHTSHIFT_WEBHOOK_TOKEN or NIGHTSHIFT_WEBHOOK_BASIC: one is required, found neither; Alertmanager must authenticate itself",
      );
    }
    if (!config.secret && redisUrl !== "") {
      faults.push(
        "NIGHTSHIFT_SECRET: required with REDIS_URL, found nothing; it seals approvals: use 32 random bytes, for example `openssl rand -hex 32`",
      );
    }
  }
  for (const value of config.secret?.values() ?? []) {
    if (value.length < 16) faults.push(`NIGHTSHIFT_SECRET: expected at least 16 characters, found ${value.length}`);
  }
  for (const pair of config.webhook.basic?.values() ?? []) {
    if (!pair.includes(":")) faults.push("NIGHTSHIFT_WEBHOOK_BASIC: expected user:password, found no colon");
  }
  if (faults.length > 0) throw new FaultsError("ERR_CONFIG", "configuration", faults);
  return Object.freeze(config);
}

/** `NAME` or `NAME_FILE`; several values separated by comma or newline. Null where neither is set. */
function readSecret(env: Env, name: string, faults: string[]): Secret | null {
  const direct = env[name]?.trim();
  const file = env[`${name}_FILE`]?.trim();
  if (direct && file) faults.push(`${name} and ${name}_FILE: expected one of them, found both`);
  if (direct) {
    const values = split(direct);
    return { values: () => values };
  }
  if (!file) return null;
  let cached: { stamp: string; values: string[] } = { stamp: "", values: [] };
  const values = () => {
    try {
      const { mtimeMs, size, ino } = statSync(file);
      const stamp = `${mtimeMs} ${size} ${ino}`;
      if (stamp !== cached.stamp) cached = { stamp, values: split(readFileSync(file, "utf8")) };
    } catch {
      // A secret volume is swapped under our feet: the last good value stays until the new one can be read.
    }
    return cached.values;
  };
  try {
    statSync(file);
    if (values().length === 0) faults.push(`${name}_FILE: ${file} is empty`);
  } catch (error) {
    faults.push(`${name}_FILE: ${messageOf(error)}`);
  }
  return { values };
}

function split(text: string): string[] {
  return text
    .split(/[,\n]/)
    .map((part) => part.trim())
    .filter((part) => part !== "");
}

function podNamespace(): string | null {
  try {
    return readFileSync(NAMESPACE_FILE, "utf8").trim() || null;
  } catch {
    return null;
  }
}

/** A value as an error may show it: short, and never a URL's password. */
function shown(value: string): string {
  return JSON.stringify(value.replace(/:\/\/[^@/]*@/, "://…@").slice(0, 60));
}
