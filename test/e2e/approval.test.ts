import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { StandInMessage } from "../../sandbox/slack/index.js";
import { buttons } from "../../sandbox/slack/index.js";
import type { IncidentRecord } from "../../src/record/incident.js";
import { planeMissing, type Plane, startPlane } from "../cluster/plane.js";
import { alertmanagerProgram, until } from "../harness/processes.js";
import { rawApi } from "../harness/raw-api.js";
import { badRelease, deploy, errorRate, startWorld, testPolicy, type World } from "../harness/world.js";

const missing = planeMissing() ?? (alertmanagerProgram() === null ? "no Alertmanager on this machine" : null);
const NAMESPACE = "approvals";
const APPROVE = "    autonomy: approve\n    approval: { from: ['slack-group:sre'], count: 1, expires: 10m }";

describe.skipIf(missing !== null)(
  `asking in Slack, on a real API server${missing === null ? "" : ` (not run: ${missing})`}`,
  () => {
    let plane: Plane;
    let world: World;
    const sick = new Set<string>();
    const names = ["one", "two", "three", "four", "five", "six"];

    beforeAll(async () => {
      plane = await startPlane();
      world = await startWorld({ kubeconfig: plane.kubeconfig, policy: testPolicy([NAMESPACE], APPROVE) });
      errorRate(
        world.prometheus,
        ({ service }) => (sick.has(service) ? 0.4 : 0),
        names.map((service) => ({ namespace: NAMESPACE, service })),
      );
    }, 120_000);

    afterAll(async () => {
      await world?.stop();
      await plane?.stop();
    }, 60_000);

    const labels = (service: string) => ({
      alertname: "HighErrorRate",
      namespace: NAMESPACE,
      service,
      severity: "critical",
    });
    const of = (name: string) => (record: IncidentRecord) => record.target?.name === name;
    const message = (record: IncidentRecord): StandInMessage => {
      const found = world.slack.messages.find((m) => m.ts === record.slack?.ts && m.threadTs === null);
      if (!found) throw new Error("no message");
      return found;
    };
    const templateWrites = (name: string) =>
      plane
        .auditLog()
        .filter(
          (line) =>
            line.objectRef?.resource === "deployments" &&
            line.objectRef.name === name &&
            line.verb === "patch" &&
            line.userAgent === "nightshift" &&
            !line.requestURI.includes("dryRun") &&
            (line.responseStatus?.code ?? 500) < 300 &&
            JSON.stringify(line.requestObject).includes("/spec/template"),
        );

    /** A sick Deployment whose plan has been posted. */
    async function asked(name: string): Promise<IncidentRecord> {
      await badRelease(world.k, { namespace: NAMESPACE, name });
      sick.add(name);
      await world.fire(labels(name));
      return world.incident(`an ask for ${name}`, (r) => of(name)(r) && r.state === "waiting" && r.slack !== null);
    }

    it("shows the plan, takes one yes, and acts once however often it is pressed and repeated (H36 H45 I1)", async () => {
      const ask = await asked("one");
      const shown = message(ask);

      expect(shown.text.slice(0, 120)).toMatch(/^Rollback one\? .*loses .*left$/);
      expect(buttons(shown).map((b) => (b["text"] as { text: string }).text)).toEqual(["Approve rollback", "Deny"]);
      expect(world.pager.alerts.at(-1)).toMatchObject({ state: "triggered", dedupKey: ask.dedupKey });
      expect(templateWrites("one")).toHaveLength(0);

      const stranger = world.slack.press(shown, "approve", { user: "U_STRANGER" });
      await stranger;
      await until("the stranger to be told", async () =>
        world.slack.whispers.some((w) => w.user === "U_STRANGER" && /may not approve/.test(w.text)),
      );
      await Promise.all([
        world.slack.press(shown, "approve", { user: "U1" }),
        world.slack.press(shown, "approve", { user: "U1" }),
      ]);
      await world.fire(labels("one"), ask.alerts[0]?.startsAt);
      await until("the effect", async () => templateWrites("one").length > 0 || plane.auditLog().length === 0);
      sick.delete("one");
      await world.resolve(labels("one"));
      const done = await world.incident("the end", (r) => of("one")(r) && r.state === "remediated");

      expect(done.run?.steps.map((s) => s.name)).toEqual(["roll-back"]);
      if (plane.auditLog().length > 0) expect(templateWrites("one")).toHaveLength(1);
      await until("the buttons to go", async () => buttons(message(done)).length === 0);
      expect(world.slack.violations).toEqual([]);
      expect(world.pager.violations).toEqual([]);
      expect(
        world.slack.messages.filter(
          (m) => m.threadTs === null && m.metadata !== null && JSON.stringify(m.metadata).includes(ask.id),
        ),
      ).toHaveLength(1);
    }, 120_000);

    it("does nothing when the spec was edited between yes and write, and asks again with what changed (H44 I3)", async () => {
      const ask = await asked("two");
      const shown = structuredClone(message(ask));
      await deploy(world.k, { namespace: NAMESPACE, name: "two", tag: "other:crash" });

      await world.slack.press(shown, "approve", { user: "U1" });
      const again = await world.incident(
        "a new plan",
        (r) => of("two")(r) && (r.state === "waiting" || r.state === "held") && r.replans === 1,
      );

      expect(templateWrites("two")).toHaveLength(0);
      expect(again.says + again.timeline.map((t) => t.says).join(" ")).toMatch(/no longer the one that was approved/);
      if (again.state === "waiting") expect(again.plan?.nonce).not.toEqual(ask.plan?.nonce);
      await world.slack.press(shown, "approve", { user: "U1" });
      await until("the old button to be refused", async () =>
        world.slack.whispers.some((w) => w.user === "U1" && /no longer known|Already decided/.test(w.text)),
      );
      expect(templateWrites("two")).toHaveLength(0);
    }, 120_000);

    it("refuses when a ConfigMap that the pods read changed after the ask, and says which (H26)", async () => {
      const ask = await asked("three");
      const map = { apiVersion: "v1", kind: "ConfigMap", namespace: NAMESPACE, name: "three-config" };
      await world.k.mergePatch(map, { data: { LEVEL: "debug" } });

      await world.slack.press(message(ask), "approve", { user: "U1" });
      const again = await world.incident("the refusal", (r) => of("three")(r) && r.replans === 1 && r.state !== "open");

      expect(templateWrites("three")).toHaveLength(0);
      expect(again.timeline.map((t) => t.says).join("\n")).toMatch(
        /ConfigMap approvals\/three-config changed since the plan was made/,
      );
      expect(again).toMatchObject({ state: "held", reason: "config-changed" });
    }, 120_000);

    it.each([
      ["four", "status", "a sick object's status"],
      ["six", "annotations", "an annotation, as some controllers do"],
    ])(
      "acts once on %s although its %s is rewritten twenty times a second: %s (H20)",
      async (name, what) => {
        const ask = await asked(name);
        const api = rawApi(plane.kubeconfig);
        const path = `/apis/apps/v1/namespaces/${NAMESPACE}/deployments/${name}`;
        let churning = true;
        let writes = 0;
        const churn = (async () => {
          for (let n = 0; churning; n += 1) {
            const code =
              what === "status"
                ? await api.mergePatch(`${path}/status`, {
                    status: { conditions: [{ type: "Churn", status: "True", reason: `n${n}` }] },
                  })
                : await api.mergePatch(path, { metadata: { annotations: { "test/churn": String(n) } } });
            if (code === 200) writes += 1;
            await new Promise((done) => setTimeout(done, 45));
          }
        })();

        await until("the churn", async () => writes > 20);
        await world.slack.press(message(ask), "approve", { user: "U1" });
        const acted = await world
          .incident("the step", (r) => of(name)(r) && ((r.run?.steps.length ?? 0) > 0 || r.state === "held"))
          .finally(async () => {
            churning = false;
            await churn;
            await api.close();
          });
        expect(acted.state).not.toBe("held");
        sick.delete(name);
        await world.resolve(labels(name));
        await world.incident("the end", (r) => of(name)(r) && r.state === "remediated");

        expect(acted.replans).toBe(0);
        if (plane.auditLog().length > 0) expect(templateWrites(name)).toHaveLength(1);
      },
      120_000,
    );

    it("does nothing after a no, and pages (H45)", async () => {
      const ask = await asked("five");

      await world.slack.press(message(ask), "deny", { user: "U1" });
      const held = await world.incident("the hold", (r) => of("five")(r) && r.state === "held");

      expect(held.reason).toBe("denied");
      await until("the page", async () =>
        world.pager.alerts.some((a) => a.dedupKey === held.dedupKey && /a person said no/.test(a.summary)),
      );
      expect(templateWrites("five")).toHaveLength(0);
    }, 120_000);
  },
);
