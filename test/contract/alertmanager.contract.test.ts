import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { Ajv } from "ajv";
import addFormats from "ajv-formats";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Alertmanager, startAlertmanager } from "../../sandbox/alertmanager/index.js";
import { type Served, serve } from "../../sandbox/http.js";
import { fingerprintOf } from "../../src/alert/identity.js";
import { parseWebhook } from "../../src/alert/webhook.js";
import { createAlertmanagers } from "../../src/clients/alertmanager.js";
import { silentLog } from "../../src/log.js";
import { alertmanagerProgram, until } from "../harness/processes.js";

/** One suite over the real Alertmanager and over the stand-in that the demo uses where there is none. */
const schema = JSON.parse(
  readFileSync(fileURLToPath(new URL("../fixtures/alertmanager/webhook-v4.schema.json", import.meta.url)), "utf8"),
);
const ajv = new Ajv({ strict: false, allErrors: true });
(addFormats as unknown as (of: Ajv) => void)(ajv);
const validate = ajv.compile(schema);

const kinds: [name: string, real: boolean, missing: string | null][] = [
  ["the real Alertmanager", true, alertmanagerProgram() === null ? "no Alertmanager on this machine" : null],
  ["the stand-in", false, null],
];

describe.each(kinds)("%s", (_name, real, missing) => {
  describe.skipIf(missing !== null)(`as Nightshift sees it${missing === null ? "" : ` (not run: ${missing})`}`, () => {
    let alertmanager: Alertmanager;
    let receiver: Served;
    const bodies: {
      alerts: { status: string; labels: Record<string, string>; fingerprint: string; startsAt: string }[];
      groupKey: string;
    }[] = [];
    const seen: { authorization: string; refused: number } = { authorization: "", refused: 0 };
    let refuse = 0;

    beforeAll(async () => {
      receiver = await serve("receiver", (request, response, body) => {
        seen.authorization = String(request.headers.authorization);
        if (refuse > 0) {
          refuse -= 1;
          seen.refused += 1;
          response.writeHead(503).end();
          return;
        }
        bodies.push(JSON.parse(body));
        response.writeHead(202).end();
      });
      const path = process.env["PATH"];
      if (!real) process.env["PATH"] = "";
      try {
        alertmanager = await startAlertmanager({ webhook: `${receiver.url}/hook`, token: "t", groupBy: ["namespace"] });
      } finally {
        process.env["PATH"] = path;
      }
    }, 30_000);

    afterAll(async () => {
      await alertmanager?.stop();
      await receiver?.stop();
    });

    const delivered = (name: string, status: string) =>
      until(
        `${name} ${status}`,
        async () => bodies.find((b) => b.alerts.some((a) => a.labels["alertname"] === name && a.status === status)),
        20_000,
      );

    it("is the one that was asked for", () => {
      expect(alertmanager.real).toBe(real);
    });

    it("delivers a firing alert as webhook v4, with its token and its fingerprint", async () => {
      const labels = { alertname: "Fires", namespace: "a", region: "Zürich 日本", zone: "x" };
      await alertmanager.post({ labels, annotations: { summary: "s" } });
      const body = await delivered("Fires", "firing");
      const alert = body.alerts.find((a) => a.labels["alertname"] === "Fires");

      expect(validate(body), JSON.stringify(validate.errors)).toBe(true);
      expect(seen.authorization).toBe("Bearer t");
      expect(alert?.fingerprint).toBe(fingerprintOf(alert?.labels ?? {}));
      expect(parseWebhook(body, { now: 0, maxAlerts: 10, maxLabelLength: 100 }).rejected).toEqual([]);
    });

    it("says that it is active, by the identity that it delivered", async () => {
      const body = await delivered("Fires", "firing");
      const alert = body.alerts.find((a) => a.labels["alertname"] === "Fires");
      const client = createAlertmanagers([alertmanager.url], "", silentLog);

      expect(await client.activity(`${alert?.fingerprint}@${alert?.startsAt}`)).toBe("active");
      expect(await client.activity(`${alert?.fingerprint}@2020-01-01T00:00:00Z`)).toBe("not-active");
      expect((await client.active()).map((a) => a.labels["alertname"])).toContain("Fires");
    });

    it("delivers again what was answered with 503", async () => {
      refuse = 1;
      await alertmanager.post({ labels: { alertname: "Again", namespace: "b" } });
      await delivered("Again", "firing");

      expect(seen.refused).toBeGreaterThanOrEqual(1);
    });

    it("delivers the resolve, and is no longer active", async () => {
      const fired = (await delivered("Fires", "firing")).alerts.find((a) => a.labels["alertname"] === "Fires");
      // As Prometheus does: without startsAt, Alertmanager would make one up, and the identity would be another.
      await alertmanager.post({
        labels: fired?.labels ?? {},
        ...(fired ? { startsAt: fired.startsAt } : {}),
        endsAt: new Date().toISOString(),
      });
      const body = await delivered("Fires", "resolved");

      expect(validate(body), JSON.stringify(validate.errors)).toBe(true);
      expect(body.alerts.find((a) => a.labels["alertname"] === "Fires")?.startsAt).toBe(fired?.startsAt);
      await until(
        "it to be inactive",
        async () =>
          (await createAlertmanagers([alertmanager.url], "", silentLog).activity(
            `${fired?.fingerprint}@${fired?.startsAt}`,
          )) === "not-active",
      );
    });
  });
});

describe("several Alertmanagers", () => {
  it("that cannot all be asked answer unknown, unless one says active (H37)", async () => {
    const one = await serve(
      "Alertmanager",
      (_request, response) =>
        void response
          .writeHead(200, { "content-type": "application/json" })
          .end(JSON.stringify([{ fingerprint: "f", startsAt: "2026-01-01T00:00:00.123Z", labels: {} }])),
    );
    const both = createAlertmanagers([one.url, "http://127.0.0.1:1"], "", silentLog);

    expect(await both.activity("f@2026-01-01T00:00:00.123456789Z")).toBe("active");
    expect(await both.activity("g@2026-01-01T00:00:00Z")).toBe("unknown");
    expect(await createAlertmanagers([], "", silentLog).activity("f@t")).toBe("unknown");
    await one.stop();
  });
});

describe("a shared answer", () => {
  it("never says not-active of an alert that is younger than it, and asks once for all who wait", async () => {
    let active: object[] = [];
    let asked = 0;
    const one = await serve("Alertmanager", (_request, response) => {
      asked += 1;
      response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(active));
    });
    const client = createAlertmanagers([one.url], "", silentLog);
    const startsAt = "2026-01-01T00:00:00Z";
    expect(await client.activity(`first@${startsAt}`)).toBe("not-active");

    active = Array.from({ length: 50 }, (_, i) => ({ fingerprint: `f${i}`, startsAt, labels: {} }));
    asked = 0;
    const answers = await Promise.all(active.map((_, i) => client.activity(`f${i}@${startsAt}`)));

    expect(new Set(answers)).toEqual(new Set(["active"]));
    expect(asked).toBeLessThanOrEqual(2);
    await one.stop();
  });
});
