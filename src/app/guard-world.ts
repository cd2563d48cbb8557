/** Fills the guards' view of the world from the ports: part of the composition root. */
import { verifyApproval } from "../approval/seal.js";
import type { Budgets } from "../execution/budget.js";
import type { ClockVerdict } from "../clock-watch.js";
import type { ControlStore } from "../execution/control.js";
import { leaseName } from "../execution/keys.js";
import type { GuardWorld } from "../guard/guard.js";
import type { AccessQuestion, ClusterReader } from "../cluster.js";
import type { LeaseStore } from "../execution/lease.js";
import type { Policy } from "../policy/policy.js";
import type { PipelinePorts, WorldOf } from "../pipeline-ports.js";
import type { IncidentRecord } from "../record/incident.js";
import type { FactStore } from "../record/store.js";
import type { Symptom } from "../runbook.js";
import type { AlertmanagerReader } from "../verify/metrics.js";

export interface WorldPorts {
  cluster: string;
  alertmanagers: AlertmanagerReader | null;
  reader: ClusterReader;
  leases: LeaseStore;
  budgets: Budgets;
  control: ControlStore;
  facts: FactStore;
  storm: PipelinePorts["storm"];
  clock(): Promise<ClockVerdict>;
  policy(): Policy;
  keys(): string[];
  symptom(record: IncidentRecord): Promise<Symptom>;
  /** Whether the writer's identity may do it. */
  writerCan(question: AccessQuestion): Promise<boolean>;
  now(): number;
}

/** Asks when it is first asked, and never again. */
function once<T>(ask: () => Promise<T>): () => Promise<T> {
  let answer: Promise<T> | null = null;
  return () => (answer ??= ask());
}

export function createGuardWorld(w: WorldPorts, record: IncidentRecord, of: WorldOf): GuardWorld {
  const readLease = once(() => of.lease ?? w.leases.read(leaseName(of.target.cluster, of.target.uid)));
  const known = new Map<string, Promise<number[]>>();
  const changesOf = (fingerprint: string) => {
    const asked = known.get(fingerprint) ?? w.facts.changes(fingerprint);
    known.set(fingerprint, asked);
    return asked;
  };
  return {
    async activity(identity) {
      return w.alertmanagers === null ? "unknown" : w.alertmanagers.activity(identity);
    },
    symptom: once(() => w.symptom(record)),
    async ledger() {
      return (await readLease())?.ledger ?? null;
    },
    budget: once(() => w.budgets.read()),
    control: once(() => w.control.read()),
    storm: once(() => w.storm(of.rule.guards.storm, of.storm)),
    clock: () => w.clock(),
    async history(fingerprint) {
      const [changes, found] = await Promise.all([changesOf(fingerprint), readLease()]);
      const attempts = (found?.ledger.ops ?? [])
        .filter((op) => op.fingerprint === fingerprint)
        .map((op) => Date.parse(op.at));
      return { changes, attempts };
    },
    bound: once(async () => {
      const { needs } = of.remedy;
      const may = await Promise.all(needs.map((need) => w.writerCan({ ...need, namespace: of.target.namespace })));
      const need = needs[may.indexOf(false)];
      if (need === undefined) return { ok: true, missing: "" };
      return {
        ok: false,
        missing: `${need.verb} ${need.resource}${need.subresource ? `/${need.subresource}` : ""} in ${of.target.namespace}`,
      };
    }),
    approvals(plan) {
      const keys = w.keys();
      const valid = new Set(
        record.approvals
          .filter((a) => a.nonce === plan.nonce && a.digest === plan.digest)
          .filter((a) =>
            keys.some((key) =>
              verifyApproval(key, { incident: record.id, nonce: a.nonce, digest: a.digest, by: a.by, at: a.at }, a.mac),
            ),
          )
          .map((a) => a.by),
      ).size;
      const needed =
        plan.autonomy === "auto"
          ? 1
          : Math.max(record.needed, of.rule.approval.count, [of.remedy.risk, plan.risk].includes("C") ? 2 : 1);
      return { valid, needed, says: `${valid} of ${needed} approvals carry a valid seal for this plan` };
    },
  };
}
