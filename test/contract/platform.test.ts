import { spawnSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { beforeAll, describe, expect, it } from "vitest";
import { parse } from "yaml";
import { program } from "../../sandbox/processes.js";
import { known } from "../../src/app/policy.js";
import { createMetrics } from "../../src/metrics.js";
import { loadRunbooks } from "../../src/plan/registry.js";
import { decide } from "../../src/policy/decide.js";
import { readPolicy } from "../../src/policy/file.js";
import type { Decision, Policy } from "../../src/policy/policy.js";
import { outcomes, reasonNames } from "../../src/record/reasons.js";

/** What lies in deploy/platform: alerting rules, Alertmanager's configuration and the policy, held against each other. */

const folder = fileURLToPath(new URL("../../deploy/platform/", import.meta.url));
const yaml = (file: string) => parse(readFileSync(folder + file, "utf8"), { merge: true });
const tests = readdirSync(`${folder}rules/tests`).filter((file) => file.endsWith(".yaml"));
const without = (tool: string) => (program(tool) === null ? ` (not run: no ${tool} on this machine)` : "");

interface AlertingRule {
  alert: string;
  expr: string;
  labels?: Record<string, string>;
  annotations?: Record<string, string>;
}
const rulesOf = (file: string): AlertingRule[] =>
  (yaml(`rules/${file}`).groups as { rules: AlertingRule[] }[]).flatMap((group) => group.rules);

/** The alerts that the rules' own tests expect, with the labels that promtool proves. */
function provenAlerts(file: string): Record<string, string>[] {
  const units = yaml(`rules/tests/${file}`).tests as {
    alert_rule_test?: { alertname: string; exp_alerts: { exp_labels: Record<string, string> }[] }[];
  }[];
  return units
    .flatMap((unit) => unit.alert_rule_test ?? [])
    .flatMap((test) => test.exp_alerts.map((alert) => ({ alertname: test.alertname, ...alert.exp_labels })));
}

function run(tool: string, args: string[], cwd = folder) {
  const ran = spawnSync(tool, args, { cwd, encoding: "utf8" });
  return { code: ran.status, says: `${ran.stdout}${ran.stderr}` };
}

describe("the alerting rules", () => {
  describe.skipIf(program("promtool") === null)(`by promtool${without("promtool")}`, () => {
    it.each(tests)("%s holds", (file) => {
      expect(run("promtool", ["test", "rules", file], `${folder}rules/tests`)).toMatchObject({ code: 0 });
    });

    it("can be loaded", () => {
      expect(run("promtool", ["check", "rules", "rules/platform.yaml", "rules/nightshift.yaml"])).toMatchObject({
        code: 0,
      });
    });
  });

  it.each(["platform", "nightshift"])("of %s.yaml all are seen firing in its test, and say what to do", (file) => {
    const proven = provenAlerts(`${file}.test.yaml`);
    for (const rule of rulesOf(`${file}.yaml`)) {
      const fires = proven.some(
        (labels) =>
          labels["alertname"] === rule.alert &&
          Object.entries(rule.labels ?? {}).every(([name, value]) => labels[name] === value),
      );
      expect([rule.alert, fires]).toEqual([rule.alert, true]);
      expect(rule.labels?.["severity"]).toMatch(/^(critical|warning)$/);
      expect(rule.annotations?.["description"]).toBeTruthy();
    }
  });

  it("name no metric, and no value of a label, that Nightshift does not have", async () => {
    const metrics = createMetrics({
      guards: [],
      runbooks: [...(await loadRunbooks()).keys()],
      outcomes,
      reasons: reasonNames,
    });
    // Gauges by queue have their series from the first scrape on.
    for (const queue of ["alerts", "runs", "notices"]) metrics.oldestJob.set({ queue }, 0);
    const have = await metrics.registry.getMetricsAsJSON();
    const lacking: string[] = [];
    for (const rule of rulesOf("nightshift.yaml")) {
      for (const [, name = "", selector = ""] of rule.expr.matchAll(/\b(nightshift_\w+)(?:\{([^}]*)\})?/g)) {
        const metric = have.find((one) => one.name === name);
        if (metric === undefined) lacking.push(`${rule.alert}: ${name}`);
        for (const [, label = "", values = ""] of selector.matchAll(/(\w+)=~?"([^"]*)"/g)) {
          for (const value of values.split("|")) {
            const series = (metric?.values ?? []) as { labels: Record<string, unknown> }[];
            if (!series.some((one) => one.labels[label] === value))
              lacking.push(`${rule.alert}: ${name}{${label}=${value}}`);
          }
        }
      }
    }
    expect(lacking).toEqual([]);
  });
});

describe("Alertmanager's configuration", () => {
  interface Receiver {
    name: string;
    webhook_configs?: {
      url: string;
      send_resolved: boolean;
      max_alerts: number;
      http_config: { authorization: { credentials_file?: string } };
    }[];
  }

  describe.skipIf(program("amtool") === null)(`by amtool${without("amtool")}`, () => {
    it("is accepted", () => {
      expect(run("amtool", ["check-config", "alertmanager.yml"])).toMatchObject({ code: 0 });
    });

    it.each([
      ["pagerduty-and-nightshift", ["alertname=HighErrorRate", "severity=critical", "namespace=mcp-production"]],
      ["pagerduty-and-nightshift", ["alertname=HighErrorRate", "severity=page"]],
      ["nightshift", ["alertname=HighResponseTime", "severity=warning"]],
      ["heartbeat", ["alertname=Watchdog", "severity=none"]],
      ["pagerduty", ["alertname=NightshiftDown", "severity=critical"]],
      ["nobody", ["alertname=InfoInhibitor", "severity=none"]],
    ])("sends to %s: %j", (receiver, labels) => {
      const args = ["config", "routes", "test", "--config.file=alertmanager.yml", `--verify.receivers=${receiver}`];
      expect(run("amtool", [...args, ...labels])).toMatchObject({ code: 0 });
    });
  });

  it("sends Nightshift every alert of a group and every end, with its token from a file", () => {
    const hooks = (yaml("alertmanager.yml").receivers as Receiver[]).flatMap((one) => one.webhook_configs ?? []);

    expect(hooks.length).toBe(3);
    for (const hook of hooks) {
      expect(hook).toMatchObject({ send_resolved: true, max_alerts: 0 });
      expect(hook.url).toMatch(/\/webhooks\/alertmanager$/);
      expect(hook.http_config.authorization.credentials_file).toMatch(/^\//);
    }
  });
});

const P = "mcp-production";

/** Public alerts with the labels that they really carry: [alert, labels, rule, runbook]. */
const publicAlerts: [string, Record<string, string>, string, string | null][] = [
  ["KubeDeploymentRolloutStuck", { namespace: P, deployment: "d" }, "stuck-rollout", "rollback-deployment"],
  ["KubeContainerWaiting", { namespace: P, pod: "p", reason: "ErrImagePull" }, "cannot-start", "rollback-deployment"],
  ["KubeContainerWaiting", { namespace: P, pod: "p", reason: "PodInitializing" }, "container-waiting", "diagnose-pods"],
  ["KubernetesContainerOomKiller", { namespace: P, pod: "p" }, "container-waiting", "diagnose-pods"],
  ["KubeHpaMaxedOut", { namespace: P, horizontalpodautoscaler: "h" }, "hpa-maxed", "scale-deployment"],
  [
    "KubernetesHpaScaleMaximum",
    { namespace: P, horizontalpodautoscaler: "h", severity: "info" },
    "hpa-maxed",
    "scale-deployment",
  ],
  ["KubeHpaReplicasMismatch", { namespace: P, horizontalpodautoscaler: "h" }, "hpa-mismatch", "diagnose-pods"],
  ["KubePodNotReady", { namespace: P, pod: "p" }, "pod-not-ready", "restart-pod"],
  ["KubePodCrashLooping", { namespace: P, pod: "p" }, "crash-loop", "diagnose-pods"],
  ["KubernetesPodCrashLooping", { namespace: P, pod: "p" }, "crash-loop", "diagnose-pods"],
  ["KubeDeploymentGenerationMismatch", { namespace: P, deployment: "d" }, "replicas-mismatch", "diagnose-pods"],
  ["KubernetesDeploymentReplicasMismatch", { namespace: P, deployment: "d" }, "replicas-mismatch", "diagnose-pods"],
  ["KubeStatefulSetUpdateNotRolledOut", { namespace: P, statefulset: "s" }, "statefulset-mismatch", "diagnose-pods"],
  ["KubernetesStatefulsetDown", { namespace: P, statefulset: "s" }, "statefulset-mismatch", "diagnose-pods"],
  ["KubeDaemonSetRolloutStuck", { namespace: P, daemonset: "s" }, "daemonset", "diagnose-pods"],
  ["KubernetesDaemonsetMisscheduled", { namespace: P, daemonset: "s" }, "daemonset", "diagnose-pods"],
  ["KubeJobFailed", { namespace: P, job_name: "j", job: "kube-state-metrics" }, "job-failed", "diagnose-pods"],
  [
    "NginxHighHttp5xxErrorRate",
    { exported_namespace: P, namespace: "ingress-nginx", ingress: "i" },
    "ingress-errors",
    "diagnose-pods",
  ],
  ["TargetDown", { namespace: P, service: "s", job: "s" }, "target-down", "check-health"],
  ["PostgreSQLMaxConnectionsReached", { instance: "10.0.0.3:9187" }, "database", null],
  ["PostgresqlReplicationLag", {}, "database", null],
  ["PostgresReplicationLaggingMore1Hour", {}, "database", null],
  ["CNPGClusterOffline", { namespace: P, cnpg_cluster: "c" }, "database", null],
  ["CNPGClusterHighConnectionsWarning", { namespace: P, pod: "p" }, "database", null],
  ["CNPGInstanceMetricsAbsent", {}, "database", null],
  ["PatroniNoLeader", {}, "database", null],
  ["RedisTooManyMasters", {}, "cache", null],
  ["RedisOutOfConfiguredMaxmemory", {}, "cache", null],
  ["KubePersistentVolumeFillingUp", { namespace: P, persistentvolumeclaim: "v" }, "storage", null],
  ["CNPGClusterLowDiskSpaceWarning", { namespace: P, cnpg_cluster: "c" }, "storage", null],
  ["KubeNodeNotReady", { node: "n", namespace: "monitoring", pod: "ksm" }, "node", null],
  ["NodeFilesystemAlmostOutOfSpace", { instance: "n:9100" }, "node", null],
  ["KubeAPIErrorBudgetBurn", { long: "1h", short: "5m" }, "control-plane", null],
  ["CoreDNSDown", {}, "control-plane", null],
  ["AlertmanagerFailedToSendAlerts", { integration: "webhook" }, "alert-path", null],
  ["PrometheusNotConnectedToAlertmanagers", {}, "alert-path", null],
  ["NightshiftDown", {}, "alert-path", null],
  ["CertManagerCertNotReady", { exported_namespace: P, name: "c" }, "certificates", null],
  ["BlackboxSslCertificateWillExpireSoon", { instance: "https://a/" }, "certificates", null],
  ["Watchdog", { severity: "none" }, "watchdog", null],
  ["VeleroUpStatus", { severity: "critical" }, "not-tonight", null],
  ["CPUThrottlingHigh", { namespace: P, severity: "info" }, "noise", null],
];

/** Where every alerting rule of platform.yaml must land. */
const wanted: Record<string, [rule: string, runbook: string | null]> = {
  HighErrorRate: ["bad-deploy", "rollback-deployment"],
  HighResponseTime: ["slow", "scale-deployment"],
  "ResourceExhaustion cpu": ["short-of-cpu", "scale-deployment"],
  "ResourceExhaustion memory": ["short-of-memory", "restart-workload"],
  ServiceDown: ["service-down", "check-health"],
  ServiceUnavailable: ["service-unavailable", "rollback-deployment"],
  SecurityEvents: ["security", null],
  SuspiciousActivity: ["security", null],
  PodStartupFailure: ["cannot-start", "rollback-deployment"],
  DatabaseDown: ["data-layer", "check-health"],
  DatabaseConnectionsHigh: ["data-layer", "check-health"],
  CacheDown: ["data-layer", "check-health"],
  CacheMemoryHigh: ["data-layer", "check-health"],
};
const keyOf = (labels: Record<string, string>) =>
  [labels["alertname"], labels["resource"]].filter((part) => part !== undefined).join(" ");

describe("the policy", () => {
  let policy: Policy;
  const decided = (labels: Record<string, string>): Decision =>
    decide(policy, { labels: { severity: "warning", cluster: "mcp-prod-eu-1", ...labels }, status: "firing" });

  beforeAll(async () => {
    policy = readPolicy(`${folder}policy.yaml`, known(await loadRunbooks()));
  });

  it.each(Object.entries(wanted))("decides %s, with the labels that its rule gives it", (key, [rule, runbook]) => {
    const alerts = provenAlerts("platform.test.yaml").filter((labels) => keyOf(labels) === key);

    expect(alerts.length).toBeGreaterThan(0);
    for (const labels of alerts) {
      const decision = decided(labels);
      expect([decision.rule?.name, decision.runbook]).toEqual([rule, runbook]);
      expect(["remediate", "diagnose", "escalate"]).toContain(decision.decision);
      expect(["missing-label", "invalid-name"]).not.toContain(decision.reason);
    }
  });

  it("has a place for every alerting rule of the platform", () => {
    const rules = rulesOf("platform.yaml").map((rule) => keyOf({ alertname: rule.alert, ...rule.labels }));

    expect(Object.keys(wanted).toSorted()).toEqual(rules.toSorted());
  });

  it.each(publicAlerts)("decides the public alert %s %j by rule %s", (alertname, labels, rule, runbook) => {
    const decision = decided({ alertname, ...labels });

    expect([decision.rule?.name, decision.runbook]).toEqual([rule, runbook]);
    expect(["missing-label", "invalid-name", "unmanaged"]).not.toContain(decision.reason);
  });

  it("has no rule that none of these alerts reaches, and lets every rule observe", () => {
    const reached = new Set([
      ...publicAlerts.map(([alertname, labels]) => decided({ alertname, ...labels }).rule?.name),
      ...provenAlerts("platform.test.yaml").map((labels) => decided(labels).rule?.name),
    ]);

    expect(policy.rules.map((rule) => rule.name).filter((name) => !reached.has(name))).toEqual([]);
    expect(new Set(policy.rules.map((rule) => rule.autonomy))).toEqual(new Set(["observe"]));
  });
});
