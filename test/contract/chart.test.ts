import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { parse } from "yaml";
import { readConfig } from "../../src/config.js";
import { loadRunbooks } from "../../src/plan/registry.js";
import { chart, helm, helmProgram, render, repository } from "../harness/helm.js";
import type { Manifested } from "../harness/install.js";

const missing = helmProgram() === null ? "no Helm on this machine: tools/get helm (Go 1.26, two minutes, once)" : null;
const FULL = join(repository, "test/fixtures/chart/full.yaml");

interface PolicyRule {
  apiGroups: string[];
  resources: string[];
  verbs: string[];
  resourceNames?: string[];
}
interface Container {
  env: { name: string; value?: string; valueFrom?: { secretKeyRef?: unknown; fieldRef?: unknown } }[];
  [field: string]: unknown;
}

/** The chart by the real Helm: its shape against the program that it runs. What it may do is proven in test/e2e/rights.test.ts. */
describe.skipIf(missing !== null)(`the chart${missing === null ? "" : ` (not run: ${missing})`}`, () => {
  const dir = mkdtempSync(join(tmpdir(), "nightshift-chart-"));
  let plain: Manifested[];
  let full: Manifested[];

  beforeAll(() => {
    plain = render();
    full = render("--values", FULL);
  });
  afterAll(() => rmSync(dir, { recursive: true, force: true }));

  const of = (objects: Manifested[], kind: string, name?: string): Manifested[] =>
    objects.filter((one) => one.kind === kind && (name === undefined || one.metadata.name === name));
  const pod = (objects: Manifested[], role: string) =>
    of(objects, "Deployment", `nightshift-${role}`)[0]?.["spec"].template.spec;
  const container = (objects: Manifested[], role: string) => pod(objects, role).containers[0] as Container;

  it("has nothing that lint finds, with its defaults and with every value set", () => {
    for (const args of [[], ["--values", FULL]])
      expect(helm("lint", "--strict", chart, ...args)).toMatchObject({ code: 0 });
  });

  it("is the plain manifest of deploy/, rendered with its defaults", () => {
    const now = execFileSync(join(repository, "tools/manifest"), {
      encoding: "utf8",
      env: { ...process.env, HELM_BIN: helmProgram() ?? "" },
    });
    // Where they differ: tools/manifest > deploy/nightshift.yaml
    expect(readFileSync(join(repository, "deploy/nightshift.yaml"), "utf8")).toBe(now);
  });

  it("has the program's version", () => {
    const { version } = JSON.parse(readFileSync(join(repository, "package.json"), "utf8")) as { version: string };
    const about = parse(readFileSync(join(chart, "Chart.yaml"), "utf8")) as Record<string, string>;
    expect([about["version"], about["appVersion"]]).toEqual([version, version]);
  });

  it("knows every value that the full example sets, and the example sets every value", () => {
    const keys = (value: unknown, at = ""): string[] =>
      value === null || typeof value !== "object" || Array.isArray(value)
        ? [at]
        : Object.entries(value).flatMap(([key, one]) =>
            ["secrets", "resources", "nodeSelector"].includes(at.split(".").at(-1) ?? "")
              ? [`${at}.${key}`]
              : keys(one, `${at}.${key}`),
          );
    const defaults = parse(readFileSync(join(chart, "values.yaml"), "utf8"));
    const example = parse(readFileSync(FULL, "utf8"));
    const missed = keys(defaults).filter((key) => !keys({ ...example, policy: defaults.policy }).includes(key));
    // Those two are maps without entries by default.
    expect(missed.filter((key) => key !== ".nodeSelector")).toEqual([]);
  });

  describe("refuses", () => {
    const set = (...pairs: string[]) => pairs.flatMap((pair) => ["--set-json", pair]);
    it.each<[string, string[], RegExp]>([
      ["a key that is not known", set("replicas=3"), /replicas/],
      ["a key that is not known, deep down", set("front.replica=3"), /replica/],
      ["a class that does not exist", set('namespaces=[{"name":"shop","classes":["d"]}]'), /classes/],
      ["a namespace of the control plane", set('namespaces=[{"name":"kube-system","classes":["a"]}]'), /namespaces/],
      ["a namespace that is no name", set('namespaces=[{"name":"Shop_1"}]'), /namespaces/],
      ["no replica at all", set("hands.replicas=0"), /replicas/],
      ["a secret as text", set('secrets.seal="0123456789abcdef0123456789abcdef"'), /seal/],
      ["a URL with a password", set('prometheusUrl="http://me:secret@prometheus"'), /prometheusUrl/],
      ["a digest that is none", set('image.digest="latest"'), /digest/],
      ["a log level that is none", set('logLevel="loud"'), /logLevel/],
      ["its own namespace", set('namespaces=[{"name":"nightshift"}]'), /nightshift is Nightshift's own namespace/],
      ["a namespace twice", set('namespaces=[{"name":"shop"},{"name":"shop"}]'), /shop is listed twice/],
      ["webhooks that nobody authenticates", set("secrets.webhookToken=null"), /expected webhookToken or webhookBasic/],
      ["Slack without a channel", set('secrets.slackBotToken={"name":"s","key":"k"}'), /slack\.channel: needed beside/],
      [
        "Slack without a way in",
        set('secrets.slackBotToken={"name":"s","key":"k"}', 'slack.channel="C1"'),
        /slackAppToken .* or slackSigningSecret/,
      ],
      [
        "a policy that manages what is not listed",
        set(
          'policy.text="apiVersion: nightshift.dev/v1\\nclusters: [{ name: c, namespaces: [shop] }]"',
          'namespaces=[{"name":"other"}]',
        ),
        /it manages namespace shop, which is not under namespaces/,
      ],
      ["a policy that is no YAML", set('policy.text="rules: [}"'), /policy\.text/],
    ])("%s", (_what, args, says) => {
      const ran = helm("template", "nightshift", chart, "--namespace", "nightshift", ...args);
      expect(ran.code).not.toBe(0);
      expect(ran.says).toMatch(says);
    });
  });

  it("binds nothing anywhere by default, and the named classes in the named namespaces only", () => {
    const bindings = (objects: Manifested[]) =>
      of(objects, "RoleBinding")
        .filter((one) => one.metadata.namespace !== "nightshift")
        .map((one) => {
          const subjects = (one["subjects"] as { name: string }[]).map((subject) => subject.name).join(" ");
          return `${one.metadata.namespace}: ${one["roleRef"].name} to ${subjects}`;
        });
    expect(bindings(plain)).toEqual([]);
    expect(bindings(full).sort()).toEqual([
      "observed: nightshift-reader to nightshift nightshift-hands",
      "payments: nightshift-class-c to nightshift-hands",
      "payments: nightshift-reader to nightshift nightshift-hands",
      "shop: nightshift-class-a to nightshift-hands",
      "shop: nightshift-class-b to nightshift-hands",
      "shop: nightshift-reader to nightshift nightshift-hands",
    ]);
  });

  const triples = (rules: PolicyRule[]) =>
    rules.flatMap((rule) =>
      rule.apiGroups.flatMap((group) =>
        rule.resources.flatMap((resource) => rule.verbs.map((verb) => `${verb} ${group}/${resource}`)),
      ),
    );
  const rulesOf = (name: string) => (of(plain, "ClusterRole", name)[0]?.["rules"] ?? []) as PolicyRule[];

  it("has a role per risk class with exactly what the class's runbooks write (H43)", async () => {
    for (const risk of ["A", "B", "C"]) {
      const needed = [...(await loadRunbooks()).values()]
        .flatMap((one) => (one.kind === "remedy" && one.risk === risk ? one.needs : []))
        .filter(({ verb }) => !/^(get|list|watch)$/.test(verb))
        .map((need) => `${need.verb} ${need.group}/${need.resource}${need.subresource ? `/${need.subresource}` : ""}`);
      expect([risk, triples(rulesOf(`nightshift-class-${risk.toLowerCase()}`)).sort()]).toEqual([
        risk,
        [...new Set(needed)].sort(),
      ]);
    }
  });

  it("lets its identities read what the runbooks say that they read", async () => {
    const may = triples([...rulesOf("nightshift-reader"), ...rulesOf("nightshift-cluster-reader")]);
    for (const one of (await loadRunbooks()).values()) {
      if (one.kind !== "remedy") continue;
      for (const need of one.needs.filter(({ verb }) => /^(get|list)$/.test(verb)))
        expect(may).toContain(`${need.verb} ${need.group}/${need.resource}`);
    }
  });

  it("gives no wildcard, no Secret, no watch and no verb that grants rights", () => {
    const all = full
      .filter((one) => /^(Cluster)?Role$/.test(one.kind))
      .flatMap((one) => triples((one["rules"] ?? []) as PolicyRule[]));
    expect(all.length).toBeGreaterThan(30);
    expect(all.filter((one) => /\*|secrets|exec|watch|delete|bind|escalate|impersonate/.test(one))).toEqual([]);
  });

  it("refuses, while the kill switch says stop, every kind that a class can write", () => {
    const policy = of(plain, "ValidatingAdmissionPolicy", "nightshift-kill-switch")[0]?.["spec"];
    const guarded = (policy.matchConstraints.resourceRules as { apiGroups: string[]; resources: string[] }[]).flatMap(
      (rule) => rule.apiGroups.flatMap((group) => rule.resources.map((resource) => `${group}/${resource}`)),
    );
    const written = ["a", "b", "c"].flatMap((risk) => triples(rulesOf(`nightshift-class-${risk}`)));
    expect(written.length).toBeGreaterThan(0);
    for (const one of written) expect(guarded).toContain(one.split(" ")[1]);
    // An absent kill switch must not hinder people: the API server would refuse everybody then.
    const binding = of(plain, "ValidatingAdmissionPolicyBinding", "nightshift-kill-switch")[0]?.["spec"];
    expect(binding.paramRef.parameterNotFoundAction).toBe("Allow");
  });

  it("asks the kill switch for its own cluster where it knows the name, and can do without it", () => {
    const pause = (objects: Manifested[]) =>
      (
        of(objects, "ValidatingAdmissionPolicy", "nightshift-kill-switch")[0]?.["spec"].variables as {
          name: string;
          expression: string;
        }[]
      )?.find((one) => one.name === "pause")?.expression;
    expect(pause(full)).toContain("|cluster:eu-1|");
    expect(pause(plain)).toContain("|cluster:[A-Za-z0-9._-]+|");
    const without = render("--set", "killSwitch.admission=false");
    expect(without.filter((one) => one.kind.startsWith("ValidatingAdmission"))).toEqual([]);
  });

  /** The container's environment as the program would find it: files where Secrets are mounted, words for the rest. */
  function environment(objects: Manifested[], role: string): Record<string, string> {
    const out: Record<string, string> = {};
    for (const { name, value, valueFrom } of container(objects, role).env) {
      if (valueFrom?.fieldRef !== undefined) out[name] = "nightshift";
      else if (valueFrom?.secretKeyRef !== undefined) out[name] = "redis://redis:6379";
      else if (name.endsWith("_FILE")) {
        const file = join(dir, `${role}-${(value ?? "").split("/").at(-1)}`);
        writeFileSync(file, "user:a-secret-of-32-characters-or-so");
        out[name] = file;
      } else out[name] = value ?? "";
    }
    return out;
  }

  it.each([["front"], ["hands"]])("starts %s with a configuration that it takes", (role) => {
    for (const objects of [plain, full]) {
      const config = readConfig(environment(objects, role), true);
      expect(config).toMatchObject({ role, redisUrl: "redis://redis:6379", port: 8080 });
      expect(container(objects, role)["args"]).toEqual(["serve"]);
      // Variables of Services would be taken for configuration (NIGHTSHIFT_PORT=tcp://…).
      expect(pod(objects, role).enableServiceLinks).toBe(false);
      const mounted = pod(objects, role).volumes.find((one: { name: string }) => one.name === "secrets").projected;
      const paths = (mounted.sources as { secret: { items: { path: string }[] } }[]).flatMap((one) =>
        one.secret.items.map((item) => `/etc/nightshift/secrets/${item.path}`),
      );
      const files = container(objects, role).env.filter((one) => one.name.endsWith("_FILE"));
      expect(new Set(files.map((one) => one.value))).toEqual(new Set(paths));
    }
    expect(readConfig(environment(full, role), true)).toMatchObject({
      cluster: "eu-1",
      alertmanagerUrls: ["http://alertmanager-0.monitoring:9093", "http://alertmanager-1.monitoring:9093"],
      alertmanagerReceiver: "platform",
      prometheusUrl: "http://prometheus.monitoring:9090",
      logLevel: "debug",
    });
  });

  it("keeps what comes in from outside away from the hands", () => {
    const names = (role: string) => container(full, role).env.map((one) => one.name);
    expect(names("front")).toEqual(expect.arrayContaining(["SLACK_BOT_TOKEN_FILE", "NIGHTSHIFT_WEBHOOK_TOKEN_FILE"]));
    expect(names("hands").filter((name) => /SLACK|WEBHOOK|API_TOKEN|PAGERDUTY_TOKEN/.test(name))).toEqual([]);
    expect(pod(full, "front").serviceAccountName).toBe("nightshift");
    expect(pod(full, "hands").serviceAccountName).toBe("nightshift-hands");
    expect(of(full, "Secret")).toEqual([]);
  });

  it("restarts both when the policy's text changes", () => {
    const mark = (objects: Manifested[], role: string) =>
      of(objects, "Deployment", `nightshift-${role}`)[0]?.["spec"].template.metadata.annotations[
        "nightshift.dev/policy"
      ];
    const { policy } = parse(readFileSync(FULL, "utf8")) as { policy: { text: string } };
    writeFileSync(join(dir, "other.yaml"), `${policy.text}\n# changed\n`);
    const other = render("--values", FULL, "--set-file", `policy.text=${join(dir, "other.yaml")}`);
    for (const role of ["front", "hands"]) {
      expect(mark(full, role)).toMatch(/^[0-9a-f]{16}$/);
      expect(mark(other, role)).not.toBe(mark(full, role));
    }
    expect(parse(of(full, "ConfigMap", "nightshift-policy")[0]?.["data"]["policy.yaml"])).toEqual(parse(policy.text));
  });

  it("pins the image by digest where one is given", () => {
    expect(container(plain, "hands")["image"]).toBe("nightshift:0.1.0");
    expect(container(full, "hands")["image"]).toBe(`images.example/nightshift:9.9.9@sha256:${"0".repeat(64)}`);
  });

  it("selects its own pods, and each role only its own", () => {
    const labels = (role: string) =>
      of(full, "Deployment", `nightshift-${role}`)[0]?.["spec"].template.metadata.labels as Record<string, string>;
    const selects = (selector: Record<string, string>, role: string) =>
      Object.entries(selector).every(([name, value]) => labels(role)[name] === value);
    const service = of(full, "Service")[0]?.["spec"].selector;
    expect([selects(service, "front"), selects(service, "hands")]).toEqual([true, false]);
    for (const role of ["front", "hands"]) {
      const other = role === "front" ? "hands" : "front";
      for (const kind of ["PodDisruptionBudget", "NetworkPolicy", "Deployment"]) {
        const spec = of(full, kind, `nightshift-${role}`)[0]?.["spec"];
        const selector = (spec.selector ?? spec.podSelector).matchLabels;
        expect([kind, selects(selector, role), selects(selector, other)]).toEqual([kind, true, false]);
      }
    }
  });

  it("says what to do next", () => {
    const notes = (...args: string[]) =>
      helm("install", "nightshift", chart, "--dry-run=client", "--namespace", "nightshift", ...args).out;
    expect(notes()).toContain("It reads no namespace yet");
    expect(notes()).toContain("create configmap nightshift-policy --from-file=policy.yaml");
    expect(notes()).toContain("alertmanager.urls is empty: every remedy is held");
    expect(notes("--values", FULL)).toContain("It may write in: shop (a, b); payments (c).");
    expect(notes("--set-json", 'namespaces=[{"name":"shop"}]')).toContain("It observes: nothing can be written");
  });
});
