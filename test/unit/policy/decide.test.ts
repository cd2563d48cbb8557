import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { beforeAll, describe, expect, it } from "vitest";
import { known } from "../../../src/app/policy.js";
import { matchPayload, type MatchRow } from "../../../src/cli/match.js";
import { loadRunbooks } from "../../../src/plan/registry.js";
import { parsePolicy, readPolicy } from "../../../src/policy/file.js";
import type { Policy } from "../../../src/policy/policy.js";

const folder = fileURLToPath(new URL("../../fixtures/webhooks/", import.meta.url));
const payloads = readdirSync(folder)
  .filter((name) => name.endsWith(".json"))
  .sort();
const P = "mcp-prod-eu-1";
const N = "mcp-production";

/** What should become of each payload, alert by alert, judged by hand: [decision, reason, target]. */
const expected: Record<string, [string, string | null, string | null][]> = {
  "01": [["diagnose", "diagnosis", `${P}/Pod/${N}/mcp-typescript-api-6f9c8d7b54-2xkqp`]],
  "02": [["ignore", "resolved", `${P}/Pod/${N}/mcp-typescript-api-6f9c8d7b54-2xkqp`]],
  "03": [["remediate", null, `${P}/Pod/${N}/mcp-learning-system-5d4b9f6c88-zr4mw`]],
  "04": [["diagnose", "diagnosis", `${P}/Deployment/${N}/mcp-rust-server`]],
  "05": [["remediate", null, `${P}/Deployment/${N}/mcp-typescript-api`]],
  "06": [["remediate", null, `${P}/Pod/${N}/mcp-typescript-api-7b5c6d9f48-qm2zt`]],
  "07": [["diagnose", "diagnosis", `${P}/StatefulSet/${N}/postgres-replica`]],
  "08": [["diagnose", "diagnosis", `${P}/Job/${N}/mcp-db-backup-29378520`]],
  "09": [["remediate", null, `${P}/HorizontalPodAutoscaler/${N}/mcp-typescript-api`]],
  "10": [["escalate", "escalated", null]],
  "11": [
    ["escalate", "escalated", null],
    ["escalate", "escalated", null],
  ],
  "12": [["escalate", "escalated", null]],
  "13": [
    ["escalate", "escalated", null],
    ["escalate", "escalated", null],
  ],
  "14": [["ignore", "ignored", null]],
  "15": [["ignore", "heartbeat", null]],
  "16": [["ignore", "ignored", null]],
  "17": [["diagnose", "diagnosis", `${P}/Service/${N}/mcp-learning-system`]],
  "18": [["escalate", "escalated", null]],
  "19": [["escalate", "escalated", null]],
  "20": [["escalate", "escalated", null]],
  "21": [["ignore", "resolved", null]],
  "22": [["escalate", "escalated", null]],
  "23": [
    ["escalate", "escalated", null],
    ["escalate", "escalated", null],
  ],
  "24": [["escalate", "escalated", null]],
  "25": [["escalate", "escalated", null]],
  "26": [["escalate", "escalated", null]],
  "27": [["ignore", "unmatched", null]],
  "28": [["escalate", "escalated", null]],
  "29": [["escalate", "escalated", null]],
  "30": [["remediate", null, `${P}/Service/${N}/mcp-typescript-api`]],
  "31": [
    ["remediate", null, `${P}/Service/${N}/mcp-learning-system`],
    ["remediate", null, `${P}/Service/${N}/mcp-typescript-api`],
  ],
  "32": [["remediate", null, `${P}/Service/${N}/mcp-learning-system`]],
  "33": ["4kd2x", "c8m6s", "vqx9t"].map((pod) => [
    "remediate",
    null,
    `${P}/Pod/${N}/mcp-rust-server-79b6d5c9f7-${pod}`,
  ]),
  "34": [["remediate", null, `${P}/Pod/${N}/mcp-learning-system-5d4b9f6c88-h2jqv`]],
  "35": [["diagnose", "diagnosis", `${P}/Service/${N}/mcp-typescript-api`]],
  "36": [1, 2, 3].map(() => ["diagnose", "diagnosis", `${P}/Service/${N}/mcp-typescript-api`]),
  "37": [
    ["ignore", "resolved", `${P}/Service/${N}/mcp-typescript-api`],
    ["diagnose", "diagnosis", `${P}/Service/${N}/mcp-typescript-api`],
    ["ignore", "resolved", `${P}/Service/${N}/mcp-typescript-api`],
  ],
  "38": [["ignore", "resolved", `${P}/Service/${N}/mcp-typescript-api`]],
  "39": [1, 2, 3].map(() => ["diagnose", "diagnosis", `${P}/Service/${N}/mcp-typescript-api`]),
  "40": [["escalate", "escalated", null]],
  "41": [["diagnose", "diagnosis", `${P}/Ingress/${N}/mcp-api`]],
  "42": [["escalate", "unmatched", null]],
  "43": [["escalate", "escalated", null]],
  "44": [["escalate", "escalated", null]],
  "45": [["ignore", "unmatched", null]],
  "46": [["diagnose", "diagnosis", `${P}/Pod/${N}/mcp-rust-server-79b6d5c9f7-vqx9t`]],
  "47": [["remediate", null, `${P}/Service/${N}/mcp-rust-server`]],
  "50": [["remediate", null, `${P}/Service/${N}/mcp-rust-server`]],
  "51": [["remediate", null, `${P}/Service/${N}/mcp-rust-server`]],
  "52": [["ignore", "unmatched", null]],
  "53": [["remediate", null, `${P}/Service/${N}/mcp-typescript-api`]],
  "54": [
    ["diagnose", "diagnosis", `${P}/Deployment/${N}/mcp-typescript-api`],
    ["diagnose", "diagnosis", `${P}/Pod/${N}/mcp-typescript-api-7b5c6d9f48-qm2zt`],
    ["remediate", null, `${P}/Deployment/${N}/mcp-typescript-api`],
    ["remediate", null, `${P}/Service/${N}/mcp-typescript-api`],
  ],
  "55": [["diagnose", "diagnosis", `${P}/Pod/${N}/mcp-typescript-api-6f9c8d7b54-2xkqp`]],
  "56": [["diagnose", "diagnosis", `${P}/Pod/${N}/mcp-typescript-api-6f9c8d7b54-2xkqp`]],
  "57": [["diagnose", "diagnosis", `${P}/Pod/${N}/mcp-typescript-api-6f9c8d7b54-2xkqp`]],
  "58": [["diagnose", "diagnosis", `${P}/Service/${N}/mcp-rust-server`]],
  "59": [],
  "60": [["remediate", null, `${P}/Service/${N}/mcp-learning-system`]],
};

describe("the platform's policy", () => {
  let policy: Policy;
  const rows = (name: string): MatchRow[] => matchPayload(policy, name, readFileSync(folder + name, "utf8")).rows;

  beforeAll(async () => {
    policy = readPolicy(
      fileURLToPath(new URL("../../../deploy/platform/policy.yaml", import.meta.url)),
      known(await loadRunbooks()),
    );
  });

  it.each(payloads.filter((name) => expected[name.slice(0, 2)] !== undefined))("decides %s", (name) => {
    expect(rows(name).map((row) => [row.decision, row.reason, row.target])).toEqual(expected[name.slice(0, 2)]);
  });

  it.each(["48", "49"])(
    "takes payload %s, a storm in namespaces that are not ours, for unmanaged or by its rule, alert by alert",
    (number) => {
      const name = payloads.find((p) => p.startsWith(number)) ?? "";
      const all = rows(name);

      expect(all.length).toBeGreaterThanOrEqual(10);
      for (const row of all)
        expect([row.decision, row.reason]).toEqual(
          !row.target?.includes(`/${N}/`)
            ? ["ignore", "unmanaged"]
            : row.alertname === "KubePodNotReady"
              ? ["remediate", null]
              : ["diagnose", "diagnosis"],
        );
    },
  );

  it("knows what should become of every payload", () => {
    expect(payloads.map((name) => name.slice(0, 2)).filter((number) => expected[number] === undefined)).toEqual([
      "48",
      "49",
    ]);
  });
});

describe("deciding", () => {
  const policy = parsePolicy(
    `apiVersion: nightshift.dev/v1
clusters: [{ name: c, namespaces: [open, closed] }]
protected: [closed]
rules:
  - { name: fix, match: ['alertname="A"'], runbook: rollback-deployment, target: { kind: Deployment, namespace: $labels.namespace, name: $labels.deployment } }
  - { name: see, match: ['alertname="B"'], runbook: diagnose-pods, target: { kind: Deployment, namespace: $labels.namespace, name: $labels.deployment } }
`,
    "p.yaml",
    [
      {
        name: "rollback-deployment",
        kind: "remedy",
        risk: "A",
        kinds: ["Deployment"],
        params: { safeParse: () => ({ success: true, data: {} }) } as never,
      },
      {
        name: "diagnose-pods",
        kind: "diagnosis",
        risk: null,
        kinds: ["Deployment"],
        params: { safeParse: () => ({ success: true, data: {} }) } as never,
      },
    ],
  );
  const decide = (labels: Record<string, string>) => {
    const [row] = matchPayload(
      policy,
      "x",
      JSON.stringify({ version: "4", alerts: [{ status: "firing", labels, startsAt: "2026-01-01T00:00:00Z" }] }),
    ).rows;
    return [row?.decision, row?.reason];
  };

  it.each([
    ["a target in an open namespace", { alertname: "A", namespace: "open", deployment: "api" }, ["remediate", null]],
    [
      "a protected namespace: changes are held (H48)",
      { alertname: "A", namespace: "closed", deployment: "api" },
      ["hold", "protected"],
    ],
    [
      "a protected namespace: diagnoses run",
      { alertname: "B", namespace: "closed", deployment: "api" },
      ["diagnose", "diagnosis"],
    ],
    [
      "kube-system, whatever is listed",
      { alertname: "A", namespace: "kube-system", deployment: "api" },
      ["ignore", "unmanaged"],
    ],
    [
      "a namespace that nobody listed",
      { alertname: "A", namespace: "other", deployment: "api" },
      ["ignore", "unmanaged"],
    ],
    [
      "another cluster",
      { alertname: "A", cluster: "d", namespace: "open", deployment: "api" },
      ["ignore", "unmanaged"],
    ],
    ["no deployment label (H21)", { alertname: "A", namespace: "open" }, ["escalate", "missing-label"]],
    ["an empty namespace (H32)", { alertname: "A", namespace: "", deployment: "api" }, ["escalate", "missing-label"]],
    [
      "a command in a label (H47)",
      { alertname: "A", namespace: "open", deployment: "api;kubectl delete ns prod" },
      ["escalate", "invalid-name"],
    ],
    [
      "a path in a label (H47)",
      { alertname: "A", namespace: "open", deployment: "../../kube-system" },
      ["escalate", "invalid-name"],
    ],
    [
      "a substitution in a label (H47)",
      { alertname: "A", namespace: "open", deployment: "$(id)" },
      ["escalate", "invalid-name"],
    ],
    [
      "a mention in a label (H47)",
      { alertname: "A", namespace: "<!channel>", deployment: "api" },
      ["escalate", "invalid-name"],
    ],
    ["a wildcard (H32)", { alertname: "A", namespace: "open", deployment: "*" }, ["escalate", "invalid-name"]],
    [
      "text turned round (H47)",
      { alertname: "A", namespace: "open", deployment: "api\u202e" },
      ["escalate", "invalid-name"],
    ],
    ["nothing that matches, critical", { alertname: "Z", severity: "critical" }, ["escalate", "unmatched"]],
    ["nothing that matches, a warning", { alertname: "Z", severity: "warning" }, ["ignore", "unmatched"]],
  ])("%s", (_what, labels, answer) => {
    expect(decide(labels as Record<string, string>)).toEqual(answer);
  });
});
