/** The kill switch and the named pauses: a ConfigMap, not Redis, so that they outlive it. Only a person clears them. */
import { z } from "zod";
import { ClusterError, type KubeObject, type OwnObjects } from "../cluster.js";
import { messageOf, TerminalError, UnavailableError } from "../errors.js";
import type { Control, Pause } from "../guard/guard.js";
import { fence } from "./fence.js";
import type { LeaseStore } from "./lease.js";
import type { ClusterReader, ClusterWriter } from "../cluster.js";
import type { Target } from "../target/target.js";

export const CONTROL_CONFIGMAP = "nightshift-control";

const pauses = z.array(
  z.object({ scope: z.string().min(1), by: z.string(), why: z.string(), until: z.number().nullable() }),
);

export interface ControlStore {
  /** Creates the ConfigMap where it is absent: only when `serve` starts. */
  create(): Promise<void>;
  read(): Promise<Control>;
  /** Adds or replaces the pause of that scope. Errors: ClusterError. */
  pause(pause: Pause): Promise<void>;
  /** Lifts the pause of that scope; false where there was none. */
  resume(scope: string): Promise<boolean>;
}

export function createControl(objects: OwnObjects, namespace: string): ControlStore {
  const ref = { apiVersion: "v1", kind: "ConfigMap", namespace, name: CONTROL_CONFIGMAP };

  async function change(edit: (present: Pause[]) => Pause[]): Promise<void> {
    for (let attempt = 0; attempt < 10; attempt += 1) {
      const found = await objects.get(ref);
      if (found === null)
        throw new UnavailableError(
          "ERR_CONTROL_MISSING",
          `ConfigMap ${namespace}/${CONTROL_CONFIGMAP} is not there: Nightshift counts as stopped until \`serve\` makes it again`,
        );
      const control = parse(found);
      if (control.state === "unreadable") throw new UnavailableError("ERR_CONTROL_UNREADABLE", control.why);
      const next = edit(control.pauses);
      const data = {
        ...dataOf(found),
        stop: next.some((p) => p.scope === "all") ? "true" : "false",
        pauses: JSON.stringify(next),
      };
      try {
        await objects.replace({ ...found, data });
        return;
      } catch (error) {
        if (!(error instanceof ClusterError && error.conflict)) throw error;
      }
    }
    throw new UnavailableError(
      "ERR_CONTROL_CONTENDED",
      `ConfigMap ${namespace}/${CONTROL_CONFIGMAP} kept changing under 10 attempts to write it`,
    );
  }

  return {
    async create() {
      if ((await objects.get(ref)) !== null) return;
      try {
        await objects.create({
          apiVersion: "v1",
          kind: "ConfigMap",
          metadata: { name: CONTROL_CONFIGMAP, namespace, labels: { "app.kubernetes.io/managed-by": "nightshift" } },
          data: { stop: "false", pauses: "[]" },
        });
      } catch (error) {
        if (error instanceof ClusterError && error.status === 404) {
          const how = `create it with \`kubectl create namespace ${namespace}\`, or set NIGHTSHIFT_NAMESPACE`;
          throw new TerminalError(
            "ERR_NO_NAMESPACE",
            `there is no namespace ${namespace} for Nightshift's own ConfigMap and Leases: ${how}`,
          );
        }
        if (!(error instanceof ClusterError && error.conflict)) throw error;
      }
    },
    async read() {
      try {
        const found = await objects.get(ref);
        if (found === null)
          return { state: "unreadable", why: `ConfigMap ${namespace}/${CONTROL_CONFIGMAP} is not there` };
        return parse(found);
      } catch (error) {
        return {
          state: "unreadable",
          why: `ConfigMap ${namespace}/${CONTROL_CONFIGMAP} cannot be read: ${messageOf(error)}`,
        };
      }
    },
    pause: (pause) => change((present) => [...present.filter((p) => p.scope !== pause.scope), pause]),
    async resume(scope) {
      let had = false;
      await change((present) => {
        had = present.some((p) => p.scope === scope);
        return present.filter((p) => p.scope !== scope);
      });
      return had;
    },
  };
}

function dataOf(found: KubeObject): Record<string, string> {
  return (found["data"] ?? {}) as Record<string, string>;
}

/** `stop` other than "false" stops everything, so that one `kubectl patch` is enough in an emergency. */
function parse(found: KubeObject): Control {
  const data = dataOf(found);
  let value: unknown;
  try {
    value = JSON.parse(data["pauses"] ?? "[]");
  } catch {
    value = null;
  }
  const parsed = pauses.safeParse(value);
  if (!parsed.success)
    return {
      state: "unreadable",
      why: `ConfigMap ${CONTROL_CONFIGMAP}: data.pauses is not a list of {scope, by, why, until}`,
    };
  const list = parsed.data;
  if ((data["stop"] ?? "false") !== "false" && !list.some((p) => p.scope === "all")) {
    list.push({
      scope: "all",
      by: "whoever set data.stop",
      why: `ConfigMap ${CONTROL_CONFIGMAP} has data.stop=${(data["stop"] ?? "").slice(0, 20)}`,
      until: null,
    });
  }
  return { state: "readable", pauses: list };
}

/**
 * Takes every held or open Lease away, so that a frozen worker that wakes meets 409 on intent and on effect: fence the
 * object of `open`, then PUT holder = none, token + 1; again on conflict. PROTOCOL section 6. Returns how many.
 */
export async function revokeLeases(
  leases: LeaseStore,
  writer: ClusterReader & ClusterWriter,
  covers: (target: Target | null, runbook: string) => boolean,
): Promise<number> {
  let revoked = 0;
  // Under a Lease that cannot be read nothing is begun; that of a newer version is revoked by the newer version.
  for (const seen of await leases.all(() => undefined)) {
    if (!covers(seen.target, seen.ledger.run?.runbook ?? "")) continue;
    for (let attempt = 0; attempt < 20; attempt += 1) {
      const view = attempt === 0 ? seen : await leases.read(seen.name);
      // Given back, or taken away already: what was open has been fenced then.
      if (view === null || view.holder === "") break;
      if (view.ledger.open) await fence({ reader: writer, writer }, view.ledger.open, `${view.token + 1} revoked`);
      if (await leases.write(view.name, view, { holder: "", token: view.token + 1, ledger: view.ledger })) {
        revoked += 1;
        break;
      }
    }
  }
  return revoked;
}
