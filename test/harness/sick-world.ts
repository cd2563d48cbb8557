/** Workloads that fall sick with a bad release and get well, in a world whose parts a test then breaks. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Kubernetes, startKubernetes } from "../../sandbox/kubernetes/kubernetes.js";
import type { IncidentRecord } from "../../src/record/incident.js";
import { alertmanagerProgram } from "./processes.js";
import { badRelease, errorRate, startWorld, testPolicy, type World, type WorldOptions } from "./world.js";

export interface SickOptions extends Partial<Omit<WorldOptions, "kubeconfig" | "policy">> {
  /** Its workloads' namespace, and the policy's only one. */
  namespace: string;
  /** Names that may fall sick: each a Deployment with its Service. */
  services: readonly string[];
  /** The rest of the rule; acts alone unless told. */
  rule?: string;
}

export interface SickWorld {
  kubernetes: Kubernetes;
  world: World;
  labels(name: string): Record<string, string>;
  /** A bad release, and its alert; returns when that starts, as it is said in it. */
  sicken(name: string): Promise<string>;
  /** Its errors end, and its alert. */
  mend(name: string): Promise<void>;
  /** The record, once `test` holds for it. */
  record(what: string, name: string, test: (record: IncidentRecord) => boolean): Promise<IncidentRecord>;
  /** The record, once its effect was made and looked at. */
  underWay(name: string): Promise<IncidentRecord>;
  end(name: string): Promise<IncidentRecord>;
  /** Writes of Nightshift's that changed the template. */
  effects(name: string): number;
  stop(): Promise<void>;
}

/** Why there can be none on this machine; null where there can. */
export const noSickWorld = alertmanagerProgram() === null ? "no Alertmanager on this machine" : null;
/** A suite's title, with what is missing for it. */
export const suite = (title: string, missing = noSickWorld) =>
  `${title}${missing === null ? "" : ` (not run: ${missing})`}`;

export async function startSickWorld(of: SickOptions): Promise<SickWorld> {
  const { namespace, services, rule = "    autonomy: auto", ...options } = of;
  const dir = mkdtempSync(join(tmpdir(), `sick-${namespace}-`));
  // Whoever writes apart from the front does so by this account.
  const rules = [{ verbs: ["*"], groups: ["*"], resources: ["*"] }];
  const hands = { token: "hands", user: "system:serviceaccount:nightshift:nightshift-hands", rules };
  const kubernetes = await startKubernetes({ identities: [hands] });
  const kubeconfig = join(dir, "kubeconfig");
  writeFileSync(kubeconfig, kubernetes.kubeconfig());
  const world = await startWorld({
    kubeconfig,
    policy: testPolicy([namespace], rule),
    slackMode: "none",
    ...options,
  });
  const sick = new Set<string>();
  errorRate(
    world.prometheus,
    ({ service }) => (sick.has(service) ? 0.4 : 0),
    services.map((service) => ({ namespace, service })),
  );
  const labels = (service: string) => ({ alertname: "HighErrorRate", namespace, service, severity: "critical" });
  const record: SickWorld["record"] = (what, name, test) =>
    world.incident(`${what} of ${name}`, (one) => one.target?.name === name && test(one));
  return {
    kubernetes,
    world,
    labels,
    async sicken(name) {
      sick.add(name);
      await badRelease(world.k, { namespace, name });
      const startsAt = new Date().toISOString();
      await world.fire(labels(name), startsAt);
      return startsAt;
    },
    async mend(name) {
      sick.delete(name);
      await world.resolve(labels(name));
    },
    record,
    underWay: (name) => record("the effect", name, (one) => (one.run?.looks.length ?? 0) > 0),
    end: (name) => record("the end", name, (one) => one.endedAt !== null),
    effects: (name) =>
      kubernetes
        .writes()
        .filter(
          (write) => write.kind === "Deployment" && write.name === name && write.templateChanged && write.op !== null,
        ).length,
    async stop() {
      await world.stop();
      await kubernetes.stop();
      rmSync(dir, { recursive: true, force: true });
    },
  };
}
