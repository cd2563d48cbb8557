import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { dedupKeyOf, fingerprintOf, incidentId } from "../../../src/alert/identity.js";
import { inert } from "../../../src/alert/inert.js";
import { parseWebhook, WebhookFault } from "../../../src/alert/webhook.js";

const folder = fileURLToPath(new URL("../../fixtures/webhooks/", import.meta.url));
const payloads = readdirSync(folder)
  .filter((name) => name.endsWith(".json"))
  .sort();
const body = (name: string) => JSON.parse(readFileSync(folder + name, "utf8")) as Record<string, unknown>;
const limits = { now: 1_000, maxAlerts: 500, maxLabelLength: 1024 };
const good = { status: "firing", labels: { alertname: "A" }, startsAt: "2026-11-22T07:00:00Z" };
const wrap = (...alerts: unknown[]) => ({ version: "4", status: "firing", alerts });

describe("parseWebhook", () => {
  it.each(payloads)("reads %s whole: every alert, none rejected (H36)", (name) => {
    const raw = body(name) as { alerts: unknown[]; truncatedAlerts?: number };
    const parsed = parseWebhook(raw, limits);

    expect(parsed.rejected).toEqual([]);
    expect(parsed.alerts).toHaveLength(raw.alerts.length);
    expect(parsed.truncated).toBe(raw.truncatedAlerts ?? 0);
  });

  it("computes the fingerprint that Alertmanager itself sent, for every alert that carries one", () => {
    const wrong: string[] = [];
    let seen = 0;
    for (const name of payloads) {
      // Written by hand, with invented fingerprints.
      if (/^(55|56|57|58|59|60)-/.test(name)) continue;
      for (const alert of (body(name) as { alerts: { labels: Record<string, string>; fingerprint: string }[] })
        .alerts) {
        seen += 1;
        if (fingerprintOf(alert.labels) !== alert.fingerprint) wrong.push(`${name}: ${alert.fingerprint}`);
      }
    }

    expect(seen).toBeGreaterThan(250);
    expect(wrong).toEqual([]);
  });

  it("takes a whole alert as the schema would, whatever stands in its fields", () => {
    const text = fc.oneof(fc.string(), fc.constantFrom("firing", "resolved", "0f3a", "2026-11-22T07:00:00Z"));
    const odd = fc.oneof(text, fc.integer(), fc.constant(null), fc.constant([]), fc.constant({}));
    const whole = fc.record({
      status: fc.constantFrom("firing", "resolved"),
      labels: fc.dictionary(text, text).map((labels) => ({ ...labels, alertname: "A" })),
      annotations: fc.dictionary(text, text),
      startsAt: fc.constant(good.startsAt),
      endsAt: fc.constantFrom("0001-01-01T00:00:00Z", good.startsAt),
      fingerprint: fc.constantFrom("0f3a", "425a4b1cd8a8d101"),
    });
    const field = fc.constantFrom("status", "labels", "annotations", "startsAt", "endsAt", "fingerprint");
    const value = fc.oneof(
      odd,
      fc.dictionary(text, odd).map((map) => ({ ...map, alertname: "A" })),
    );
    const oneWrong = fc.tuple(whole, field, value).map(([alert, name, wrong]) => ({ ...alert, [name]: wrong }));
    const parsed = (raw: object) => {
      const { alerts, rejected } = parseWebhook(wrap(raw), limits);
      return { alerts, rejected: rejected.map(({ field, fault }) => ({ field, fault })) };
    };

    // Without a generatorURL of type text an alert is read by the schema.
    fc.assert(
      fc.property(fc.oneof(oneWrong, whole), (raw) => {
        expect(parsed({ ...raw, generatorURL: "" })).toEqual(parsed({ ...raw, generatorURL: null }));
      }),
      { numRuns: 2000 },
    );
  });

  it("keeps startsAt to the nanosecond, as text", () => {
    const parsed = parseWebhook(
      wrap({ ...good, startsAt: "2026-11-22T07:12:50.255049972Z", fingerprint: "425a4b1cd8a8d101" }),
      limits,
    );

    expect(parsed.alerts[0]?.identity).toBe("425a4b1cd8a8d101@2026-11-22T07:12:50.255049972Z");
  });

  it.each([
    ["no labels", { startsAt: good.startsAt }, "labels"],
    ["a label that is a number", { ...good, labels: { alertname: "A", replicas: 3 } }, "labels.replicas"],
    ["no alertname", { ...good, labels: { severity: "critical" } }, "labels.alertname"],
    ["an empty alertname", { ...good, labels: { alertname: "" } }, "labels.alertname"],
    ["no startsAt", { labels: good.labels }, "startsAt"],
    ["a startsAt that is no time", { ...good, startsAt: "yesterday" }, "startsAt"],
    ["a status of its own invention", { ...good, status: "pending" }, "status"],
    ["a label of 10 kB", { ...good, labels: { alertname: "A", deployment: "x".repeat(10_240) } }, "labels.deployment"],
    ["a fingerprint that is no hex", { ...good, fingerprint: "../../x" }, "fingerprint"],
    ["no object at all", "nonsense", "alert"],
  ])("rejects %s by field, and lets the good alert beside it through (H47)", (_what, bad, field) => {
    const parsed = parseWebhook(wrap(bad, good), limits);

    expect(parsed.alerts).toHaveLength(1);
    expect(parsed.rejected).toMatchObject([{ index: 0, field }]);
  });

  it.each([
    ["an array", [], "body"],
    ["null", null, "body"],
    ["an empty object", {}, "alerts"],
    ["version 5", { version: "5", alerts: [] }, "version"],
    ["alerts as an object", { version: "4", alerts: {} }, "alerts"],
    ["more alerts than allowed", wrap(...Array.from({ length: 501 }, () => good)), "alerts"],
  ])("refuses %s as a whole, naming the field", (_what, bad, field) => {
    expect(() => parseWebhook(bad, limits)).toThrow(WebhookFault);
    try {
      parseWebhook(bad, limits);
    } catch (error) {
      expect(error).toMatchObject({ field });
    }
  });

  it("throws nothing but its own fault, whatever comes (H47)", () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        try {
          const parsed = parseWebhook(value, limits);
          for (const bad of parsed.rejected) expect(bad.sample.length).toBeLessThanOrEqual(500);
        } catch (error) {
          expect(error).toBeInstanceOf(WebhookFault);
        }
      }),
      { numRuns: 500 },
    );
  });
});

describe("names", () => {
  it("uses the dedup_key of Alertmanager's own PagerDuty receiver", () => {
    // sha256 of the groupKey text, as notify/pagerduty does.
    expect(dedupKeyOf('{}/{path="ok"}:{alertname="Tok"}', "inc-x")).toMatch(/^[0-9a-f]{64}$/);
    expect(dedupKeyOf(null, "inc-x")).toBe("nightshift/inc-x");
  });

  it("names an incident by cluster, target and the alert that opened it", () => {
    const id = incidentId("c", "uid", "f@t");

    expect(id).toMatch(/^inc-[0-9a-f]{20}$/);
    expect(incidentId("c", null, "f@t")).not.toBe(id);
    expect(incidentId("c", "uid", "f@t")).toBe(id);
  });

  it("makes foreign text inert", () => {
    expect(inert("a\u202eb\u0007c\nd", 100)).toBe("a b c d");
    expect(inert("x".repeat(50), 10)).toHaveLength(10);
  });
});
