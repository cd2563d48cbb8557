import { describe, expect, it } from "vitest";
import type { Alert } from "../../src/alert/alert.js";
import { known } from "../../src/app/policy.js";
import { ClusterError } from "../../src/cluster.js";
import { silentLog } from "../../src/log.js";
import { openAlerts } from "../../src/pipeline-open.js";
import type { PipelinePorts } from "../../src/pipeline-ports.js";
import { loadRunbooks } from "../../src/plan/registry.js";
import { parsePolicy } from "../../src/policy/file.js";
import type { IncidentRecord } from "../../src/record/incident.js";
import type { Event } from "../../src/record/machine.js";
import { NOW, scene } from "../harness/guard-scene.js";

const runbooks = await loadRunbooks();
const policy = parsePolicy(
  `apiVersion: nightshift.dev/v1
clusters: [{ name: prod, namespaces: [shop] }]
rules:
  - name: stuck
    match: ['alertname="Stuck"']
    runbook: restart-workload
    autonomy: auto
    target: { kind: Deployment, namespace: shop, name: $labels.name }
`,
  "policy.yaml",
  known(runbooks),
);
const [base] = scene().context.incident.alerts;
if (base === undefined) throw new Error("the scene has no alert");
const alert = (name: string): Alert => ({
  ...base,
  identity: `${name}@t`,
  fingerprint: name,
  labels: { alertname: "Stuck", namespace: "shop", name, severity: "critical" },
});

/** What the stores answer, and what was written. */
function ports(of: { known?: IncidentRecord["state"]; cluster?: "away" } = {}) {
  const events: Event["type"][] = [];
  const asked: string[] = [];
  const created: IncidentRecord[] = [];
  const p = {
    clock: { now: () => NOW, monotonic: () => 0 },
    log: silentLog,
    metrics: { decisions: { inc: () => undefined } },
    settings: { cluster: "prod" },
    policy: () => policy,
    reader: {
      async get({ name }: { name: string }) {
        asked.push(name);
        if (of.cluster === "away") throw new ClusterError(null, "Unanswered", "no answer");
        return { kind: "Deployment", metadata: { namespace: "shop", name, uid: `uid-${name}`, resourceVersion: "1" } };
      },
    },
    facts: { noteChange: async () => undefined, noteFiring: async () => undefined },
    records: {
      byIdentity: async () => (of.known === undefined ? null : "inc-known"),
      byTarget: async () => null,
      async create(record: IncidentRecord) {
        created.push(record);
        return { created: true, record: { ...record, rev: "drawn" } };
      },
    },
    async transition(id: string, event: Event) {
      events.push(event.type);
      return { changed: true, record: { ...created[0], id, state: of.known } };
    },
  } as unknown as PipelinePorts;
  return { p, events, asked, created };
}

describe("alerts of a webhook", () => {
  it("open incidents, each with its record as stored and the look that found its target", async () => {
    const w = ports();
    const found = await openAlerts(w.p, [alert("cart"), alert("pay")]);
    const opened = [...found.values()];

    expect(opened.map((one) => [one?.record.target?.name, one?.record.rev])).toEqual([
      ["cart", "drawn"],
      ["pay", "drawn"],
    ]);
    // Whoever goes on from here asks nothing twice.
    await opened[0]?.look.get({ apiVersion: "apps/v1", kind: "Deployment", namespace: "shop", name: "cart" });
    expect(w.asked).toEqual(["cart", "pay"]);
  });

  it("that came before and are undecided still are to be considered: whoever took them first may have died (I7)", async () => {
    const w = ports({ known: "open" });

    expect([...(await openAlerts(w.p, [alert("cart")]))]).toEqual([["inc-known", null]]);
    expect(w.events).toEqual(["firing"]);
  });

  it.each(["waiting", "approved", "running", "held"] as const)(
    "that came before and are %s are only noted",
    async (state) => {
      expect((await openAlerts(ports({ known: state }).p, [alert("cart")])).size).toBe(0);
    },
  );

  it("are looked for anew where the cluster did not answer: a look keeps its errors (I7)", async () => {
    const w = ports({ cluster: "away" });
    const [opened] = [...(await openAlerts(w.p, [alert("cart")])).values()];
    const ref = { apiVersion: "apps/v1", kind: "Deployment", namespace: "shop", name: "cart" };

    expect(opened?.record.target).toBeNull();
    await expect(opened?.look.get(ref)).rejects.toThrow("no answer");
    expect(w.asked).toEqual(["cart", "cart"]);
  });
});
