import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { WebClient } from "@slack/web-api";
import { Ajv } from "ajv";
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import { startKubernetes, type Kubernetes } from "../../sandbox/kubernetes/kubernetes.js";
import { buttons, startSlack } from "../../sandbox/slack/index.js";
import { blockFaults } from "../../sandbox/slack/validate.js";
import { createSlackApp } from "../../src/clients/slack-bolt.js";
import { silentLog } from "../../src/log.js";
import { incidentMessage } from "../../src/notify/slack-message.js";
import { threadReplies } from "../../src/notify/thread.js";
import type { IncidentRecord } from "../../src/record/incident.js";
import { NOW, scene } from "../harness/guard-scene.js";
import { alertmanagerProgram, until } from "../harness/processes.js";
import { badRelease, errorRate, startWorld, testPolicy, type World } from "../harness/world.js";

const folder = fileURLToPath(new URL("../fixtures/slack/", import.meta.url));
const json = (name: string) => JSON.parse(readFileSync(folder + name, "utf8"));
const ajv = new Ajv({ strict: false, allErrors: true, logger: false });
for (const name of ["block-kit", "inbound-payloads", "socket-mode", "web-api-requests"])
  ajv.addSchema(json(`${name}.schema.json`), name);

function faults(schema: string, definition: string, value: unknown): string[] {
  const validate = ajv.getSchema(`${schema}#/definitions/${definition}`);
  if (!validate) throw new Error(`no definition ${definition} in ${schema}`);
  return validate(value) ? [] : (validate.errors ?? []).map((error) => `${error.instancePath} ${error.message}`);
}

const cases = (
  json("cases.block-kit.json") as { messages: { name: string; blocks: { type: string }[]; valid: boolean }[] }
).messages;
/** What Nightshift uses; the stand-in judges these. */
const OURS = new Set(["header", "section", "context", "actions", "divider"]);
const words = {
  url: "https://nightshift.example",
  install: "test",
  now: NOW,
  seal: () => "s".repeat(64),
  slack: true,
  storm: null,
};

describe("Slack's rules on messages", () => {
  it.each(cases)("$name: the schema and the stand-in agree", ({ blocks, valid, name }) => {
    expect(faults("block-kit", "MessageBlocks", blocks).length === 0).toBe(valid);
    // The stand-in checks buttons and texts, not selects and confirmation dialogs, which Nightshift does not send.
    if (blocks.every((block) => OURS.has(block.type)) && !/select|option|confirm|unknown field/.test(name))
      expect(blockFaults(blocks).length === 0).toBe(valid);
  });

  const states: [IncidentRecord["state"], IncidentRecord["reason"]][] = [
    ["open", null],
    ["waiting", null],
    ["approved", null],
    ["running", null],
    ["remediated", null],
    ["held", "expired"],
    ["held", "cannot-tell"],
    ["suppressed", "observed"],
  ];

  it.each(states)("a %s (%s) incident's message and thread fit the schema", (state, reason) => {
    const record: IncidentRecord = {
      ...scene("effect").context.incident,
      state,
      reason,
      diagnosis: { headline: ["a"], details: [{ title: "Pods", lines: ["b"] }], logs: ["c"] },
      timeline: [{ at: NOW, what: "asked", says: "x" }],
    };

    expect(faults("block-kit", "MessageBlocks", incidentMessage(record, words).blocks)).toEqual([]);
    for (const reply of threadReplies(record, 0))
      expect(faults("block-kit", "MessageBlocks", reply.blocks)).toEqual([]);
  });
});

describe("the signature over HTTP", () => {
  afterEach(() => vi.useRealTimers());

  it.each(
    (
      json("signing-vectors.json") as {
        vectors: {
          name: string;
          secret: string;
          timestamp: string;
          now: number;
          body: string;
          signature: string;
          valid: boolean;
        }[];
      }
    ).vectors,
  )("$name", async (vector) => {
    vi.useFakeTimers({ now: vector.now * 1000, toFake: ["Date"] });
    const app = await createSlackApp(
      { mode: "http", signingSecrets: () => [vector.secret] },
      { botToken: () => "xoxb-x", apiUrl: null, log: silentLog },
    );
    app.app.command(/.*/, async ({ ack }) => ack("ok"));

    const answer = await app.http?.({
      rawBody: Buffer.from(vector.body),
      headers: {
        "content-type": "application/x-www-form-urlencoded",
        "x-slack-signature": vector.signature,
        "x-slack-request-timestamp": vector.timestamp,
      },
    });

    expect(answer?.status === 401).toBe(!vector.valid);
  });
});

describe("the stand-in", () => {
  it("is taken for Slack by the vendor's own client, and errs as Slack does", async () => {
    const slack = await startSlack();
    try {
      const web = new WebClient("xoxb-test", {
        slackApiUrl: slack.apiUrl,
        retryConfig: { retries: 0 },
        rejectRateLimitedCalls: true,
      });
      const posted = await web.chat.postMessage({
        channel: "C0SRE",
        text: "a",
        metadata: { event_type: "nightshift_incident", event_payload: { incident: "inc-1" } },
      });
      await web.chat.update({ channel: "C0SRE", ts: posted.ts ?? "", text: "b" });
      const history = await web.conversations.history({ channel: "C0SRE", include_all_metadata: true });

      expect(history.messages?.[0]).toMatchObject({ text: "b", metadata: { event_payload: { incident: "inc-1" } } });
      await expect(web.chat.postMessage({ channel: "C0NONE", text: "a" })).rejects.toMatchObject({
        data: { error: "channel_not_found" },
      });
      await expect(
        web.chat.postMessage({
          channel: "C0SRE",
          text: "a",
          blocks: [{ type: "header", text: { type: "plain_text", text: "x".repeat(151) } }],
        }),
      ).rejects.toMatchObject({ data: { error: "invalid_blocks" } });
      slack.fail({
        method: "chat.postMessage",
        times: 1,
        answer: { status: 429, body: { ok: false, error: "ratelimited" }, headers: { "retry-after": "7" } },
      });
      await expect(web.chat.postMessage({ channel: "C0SRE", text: "a" })).rejects.toMatchObject({
        code: "slack_webapi_rate_limited_error",
        retryAfter: 7,
      });
      expect(slack.violations).toHaveLength(2);
    } finally {
      await slack.stop();
    }
  });
});

const missing = alertmanagerProgram() === null ? "no Alertmanager on this machine" : null;

describe.skipIf(missing !== null)(`clicks over signed HTTP${missing === null ? "" : ` (not run: ${missing})`}`, () => {
  let kubernetes: Kubernetes;
  let world: World;
  const dir = mkdtempSync(join(tmpdir(), "slack-http-"));
  const NAMESPACE = "http";

  beforeAll(async () => {
    kubernetes = await startKubernetes();
    writeFileSync(join(dir, "kubeconfig"), kubernetes.kubeconfig());
    const rule = "    autonomy: approve\n    approval: { from: ['slack-user:U1'], count: 1, expires: 10m }";
    world = await startWorld({
      kubeconfig: join(dir, "kubeconfig"),
      policy: testPolicy([NAMESPACE], rule),
      slackMode: "http",
    });
    errorRate(world.prometheus, () => 0.4, [{ namespace: NAMESPACE, service: "api" }]);
  }, 60_000);

  afterAll(async () => {
    await world?.stop();
    await kubernetes?.stop();
    rmSync(dir, { recursive: true, force: true });
  }, 60_000);

  it("are stored and acknowledged; a foreign install's and a stranger's do nothing; every call fits the vendor's schema (H45)", async () => {
    const url = `http://127.0.0.1:${world.port}/slack/events`;
    await badRelease(world.k, { namespace: NAMESPACE, name: "api" });
    await world.fire({ alertname: "HighErrorRate", namespace: NAMESPACE, service: "api", severity: "critical" });
    const ask = await world.incident("the ask", (r) => r.state === "waiting" && r.slack !== null);
    const message = world.slack.messages.find((m) => m.ts === ask.slack?.ts);
    if (!message) throw new Error("no message");

    const forged = structuredClone(message);
    for (const button of buttons(forged))
      button["value"] = JSON.stringify({ ...JSON.parse(String(button["value"])), m: "0".repeat(64) });
    const foreign = structuredClone(message);
    for (const button of buttons(foreign))
      button["value"] = JSON.stringify({ ...JSON.parse(String(button["value"])), o: "somebody-else" });
    expect(await world.slack.press(forged, "approve", { user: "U1", url })).toMatchObject({ status: 200 });
    expect(await world.slack.press(foreign, "approve", { user: "U1", url })).toMatchObject({ status: 200 });
    await until("the forger to be told", async () => world.slack.whispers.some((w) => /seal is not ours/.test(w.text)));
    expect((await world.incidents())[0]).toMatchObject({ state: "waiting", approvals: [] });

    expect(await world.slack.press(message, "approve", { user: "U1", url })).toMatchObject({ status: 200 });
    await world.incident("the step", (r) => r.id === ask.id && (r.run?.steps.length ?? 0) > 0);
    const said = (await world.slack.command("why " + ask.id, { user: "U1", url })) as { status: number; body: string };
    expect(said).toMatchObject({ status: 200 });
    expect(said.body).toContain(ask.id);
    const unsigned = await fetch(url, {
      method: "POST",
      body: "payload={}",
      headers: { "content-type": "application/x-www-form-urlencoded" },
    });
    expect(unsigned.status).toBe(401);

    const definitions: Record<string, string> = {
      "chat.postMessage": "ChatPostMessageArguments",
      "chat.update": "ChatUpdateArguments",
      "chat.postEphemeral": "ChatPostEphemeralArguments",
      "conversations.history": "ConversationsHistoryArguments",
    };
    for (const call of world.slack.calls) {
      const definition = definitions[call.method];
      // Form fields arrive as text: booleans and numbers are read back.
      const args = Object.fromEntries(
        Object.entries(call.args).map(([key, value]) => [
          key,
          value === "true" ? true : value === "false" ? false : key === "limit" ? Number(value) : value,
        ]),
      );
      if (definition) expect(faults("web-api-requests", definition, args), call.method).toEqual([]);
    }
    expect(world.slack.violations).toEqual([]);
  }, 60_000);
});
