import { createHmac } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { eventFaults, type PagerDutyStandIn, startPagerDuty } from "../../sandbox/pagerduty/index.js";
import { serve } from "../../sandbox/http.js";
import { createPager, createPagerDutyRest } from "../../src/clients/pagerduty.js";
import { TerminalError, UnavailableError } from "../../src/errors.js";
import { directPage, pagerEvent, pagerResolve } from "../../src/notify/pager-event.js";
import { scene } from "../harness/guard-scene.js";

const KEY = "0123456789abcdef0123456789abcdef";
const trigger = {
  routing_key: KEY,
  event_action: "trigger",
  dedup_key: "k",
  payload: { summary: "s", source: "x", severity: "critical" },
};

describe("the Events API's rules, as its documentation states them", () => {
  it.each([
    ["a whole trigger", trigger, true],
    ["an acknowledge", { routing_key: KEY, event_action: "acknowledge", dedup_key: "k" }, true],
    ["a resolve without key", { routing_key: KEY, event_action: "resolve" }, false],
    ["no routing key", { ...trigger, routing_key: "" }, false],
    ["a REST key of 20 characters", { ...trigger, routing_key: "a".repeat(20) }, false],
    ["a key with other characters", { ...trigger, routing_key: `${KEY.slice(1)}-` }, false],
    ["another action", { ...trigger, event_action: "page" }, false],
    ["no payload", { routing_key: KEY, event_action: "trigger" }, false],
    ["a summary of 1025", { ...trigger, payload: { ...trigger.payload, summary: "x".repeat(1025) } }, false],
    ["an unknown severity", { ...trigger, payload: { ...trigger.payload, severity: "page" } }, false],
    ["no source", { ...trigger, payload: { summary: "s", severity: "info" } }, false],
    ["a dedup_key of 256", { ...trigger, dedup_key: "x".repeat(256) }, false],
    ["no object", "x", false],
  ])("%s is %s", (_what, body, valid) => {
    expect(eventFaults(body).length === 0).toBe(valid);
  });
});

describe("the gate and the stand-in", () => {
  let pager: PagerDutyStandIn;
  const { incident } = scene("effect").context;
  const words = { url: "https://nightshift.example", slack: true, storm: null };

  beforeAll(async () => {
    pager = await startPagerDuty();
  });
  afterAll(() => pager.stop());

  const gate = (key = KEY) => createPager({ routingKey: () => key, eventsUrl: pager.eventsUrl });

  it("merges by dedup_key while open, and opens anew after a resolve", async () => {
    const event = pagerEvent(incident, words);
    await gate().send(event);
    await gate().send(event);
    await gate().send(pagerResolve(incident));
    await gate().send(event);

    expect(pager.alerts.filter((a) => a.dedupKey === incident.dedupKey).map((a) => [a.state, a.events])).toEqual([
      ["resolved", 2],
      ["triggered", 1],
    ]);
    expect(pager.violations).toEqual([]);
  });

  it("sends the direct page with the cause as its key", async () => {
    await gate().send(directPage({ key: "nightshift/redis-down", summary: "no Redis" }, { url: "", now: 0 }));

    expect(pager.alerts.at(-1)).toMatchObject({ dedupKey: "nightshift/redis-down", severity: "critical" });
  });

  it("tells a wrong key for ever from an outage for now", async () => {
    await expect(gate("a".repeat(20)).send(pagerEvent(incident, words))).rejects.toThrow(/looks like a REST key/);
    await expect(gate("a".repeat(20)).send(pagerEvent(incident, words))).rejects.toBeInstanceOf(TerminalError);
    for (const status of [500, 503]) {
      pager.fail("/v2/enqueue", 1, status);
      await expect(gate().send(pagerEvent(incident, words))).rejects.toBeInstanceOf(UnavailableError);
    }
    await expect(
      createPager({ routingKey: () => KEY, eventsUrl: "http://127.0.0.1:1" }).send(pagerEvent(incident, words)),
    ).rejects.toBeInstanceOf(UnavailableError);
  });

  it("never shows the key in an error", async () => {
    const secret = "SECRETKEYSECRETKEY12";
    const error = await gate(secret)
      .send(pagerEvent(incident, words))
      .catch((e: unknown) => e);

    expect(String((error as Error).message)).not.toContain(secret);
  });

  it("asks who is on call", async () => {
    const rest = createPagerDutyRest({ token: () => "t", apiUrl: pager.apiUrl });

    expect(await rest.onCall()).toEqual(["PUSER1"]);
  });

  it("signs its webhooks with every secret during a rotation", async () => {
    let seen = { body: "", signature: "" };
    const receiver = await serve("receiver", (request, response, body) => {
      seen = { body, signature: String(request.headers["x-pagerduty-signature"]) };
      response.writeHead(202).end();
    });
    await pager.sendWebhook(`${receiver.url}/webhooks/pagerduty`, { id: "e1", event_type: "incident.acknowledged" }, [
      "old",
      "new",
    ]);
    await receiver.stop();

    const sign = (secret: string) => `v1=${createHmac("sha256", secret).update(seen.body).digest("hex")}`;
    expect(seen.signature).toBe(`${sign("old")},${sign("new")}`);
  });
});
