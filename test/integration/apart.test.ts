import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Kubernetes, startKubernetes } from "../../sandbox/kubernetes/kubernetes.js";
import { type App, startApp } from "../../src/app.js";
import { readConfig } from "../../src/config.js";
import { silentLog } from "../../src/log.js";
import { alertmanagerProgram } from "../harness/processes.js";
import { badRelease, errorRate, startWorld, testPolicy, type World } from "../harness/world.js";

const missing = alertmanagerProgram() === null ? "no Alertmanager on this machine" : null;
const NAMESPACE = "apart";
const HANDS = "system:serviceaccount:nightshift:nightshift-hands";
const APPROVE = "    autonomy: approve\n    approval: { from: ['slack-user:U1'], count: 1, expires: 5m }";

describe.skipIf(missing !== null)(
  `front and hands as two identities${missing === null ? "" : ` (not run: ${missing})`}`,
  () => {
    let kubernetes: Kubernetes;
    let world: World;
    let hands: App | null = null;
    const dir = mkdtempSync(join(tmpdir(), "apart-"));
    const everything = { groups: ["*"], resources: ["*"] };

    beforeAll(async () => {
      kubernetes = await startKubernetes();
      kubernetes.addIdentity({ token: "hands", user: HANDS, rules: [{ verbs: ["*"], ...everything }] });
      kubernetes.addIdentity({
        token: "front",
        user: "system:serviceaccount:nightshift:nightshift-front",
        rules: [
          { verbs: ["get", "list", "watch"], ...everything },
          { verbs: ["create"], groups: ["authorization.k8s.io"], resources: ["*"] },
        ],
      });
      for (const name of ["front", "hands"]) writeFileSync(join(dir, name), kubernetes.kubeconfig(name));
      writeFileSync(join(dir, "admin"), kubernetes.kubeconfig());
      world = await startWorld({
        kubeconfig: join(dir, "admin"),
        policy: testPolicy([NAMESPACE], APPROVE),
        env: { NIGHTSHIFT_ROLE: "front", KUBECONFIG: join(dir, "front") },
      });
      errorRate(
        world.prometheus,
        () => 0.4,
        ["alone", "asked"].map((service) => ({ namespace: NAMESPACE, service })),
      );
      // The hands make the control ConfigMap at their first start: without it everything is stopped.
      await (await startHands()).stop();
    }, 60_000);

    afterAll(async () => {
      await hands?.stop();
      await world?.stop();
      await kubernetes?.stop();
      rmSync(dir, { recursive: true, force: true });
    }, 60_000);

    function startHands(): Promise<App> {
      return startApp(
        readConfig(
          {
            ...world.env,
            NIGHTSHIFT_ROLE: "hands",
            NIGHTSHIFT_PORT: "0",
            KUBECONFIG: join(dir, "hands"),
            KUBECONFIG_HANDS: join(dir, "hands"),
          },
          true,
        ),
        { log: silentLog, sweepMs: 1000 },
      );
    }

    async function ask(name: string) {
      await badRelease(world.k, { namespace: NAMESPACE, name });
      await world.fire({ alertname: "HighErrorRate", namespace: NAMESPACE, service: name, severity: "critical" });
      return world.incident(`an ask for ${name}`, (one) => one.target?.name === name && one.state === "waiting");
    }

    it("posts the plan without a dry run while no hands are there, and says so", async () => {
      const record = await ask("alone");

      expect(record.plan?.dryRun).toBe(
        "not tried: the hands did not answer within 5 s; it is checked again before the write",
      );
    }, 60_000);

    it("lets the hands try the plan, since the front may not write", async () => {
      hands = await startHands();
      const record = await ask("asked");

      expect(record.plan?.dryRun).toBe("the API server accepts the change (dry run)");
      expect(kubernetes.writes().filter((one) => one.user === HANDS && one.name === "asked")).toEqual([]);
    }, 60_000);
  },
);
