import { userInfo } from "node:os";
import { createKubernetes } from "../clients/kubernetes.js";
import { systemClock } from "../clock.js";
import { readConfig } from "../config.js";
import { TerminalError } from "../errors.js";
import { createControl, revokeLeases } from "../execution/control.js";
import { createLeaseStore } from "../execution/lease.js";
import { durationMs } from "../policy/schema.js";

const SCOPE = /^(all|(cluster|namespace|runbook):[A-Za-z0-9._-]+)$/;

async function withControl<T>(act: (of: Awaited<ReturnType<typeof open>>) => Promise<T>): Promise<T> {
  const opened = await open();
  try {
    return await act(opened);
  } finally {
    await opened.kubernetes.close();
  }
}

async function open() {
  const config = readConfig(process.env, false);
  const kubernetes = await createKubernetes({
    kubeconfig: config.kubeconfigHands ?? config.kubeconfig,
    clock: systemClock,
  });
  return {
    kubernetes,
    control: createControl(kubernetes, config.namespace),
    leases: createLeaseStore(kubernetes, config.namespace, { clock: systemClock, durationSeconds: 35 }),
  };
}

/** Stops acting in the scope: the ConfigMap first, then every Lease in it is taken away. Returns when both are done. */
export async function pause(options: {
  scope: string;
  why: string;
  duration: string | null;
  json: boolean;
}): Promise<number> {
  if (!SCOPE.test(options.scope))
    throw new TerminalError(
      "ERR_SCOPE",
      `scope: expected all, cluster:NAME, namespace:NAME or runbook:NAME, found ${JSON.stringify(options.scope)}`,
    );
  const ms = options.duration === null ? null : durationMs(options.duration);
  if (options.duration !== null && ms === null)
    throw new TerminalError(
      "ERR_DURATION",
      `--for: expected a duration such as 2h, found ${JSON.stringify(options.duration)}`,
    );
  return withControl(async ({ control, kubernetes, leases }) => {
    await control.create();
    const until = ms === null ? null : systemClock.now() + ms;
    await control.pause({ scope: options.scope, by: userInfo().username, why: options.why, until });
    const covered = (target: { cluster: string; namespace: string } | null, runbook: string) =>
      options.scope === "all" ||
      options.scope === `runbook:${runbook}` ||
      (target !== null && [`cluster:${target.cluster}`, `namespace:${target.namespace}`].includes(options.scope));
    const revoked = await revokeLeases(leases, kubernetes, covered);
    if (options.json) process.stdout.write(`${JSON.stringify({ scope: options.scope, until, revoked })}\n`);
    else
      process.stdout.write(
        `Paused ${options.scope}${until === null ? "" : ` until ${new Date(until).toISOString()}`}; ${revoked} running Lease${revoked === 1 ? " was" : "s were"} taken away. \`nightshift resume ${options.scope}\` lifts it.\n`,
      );
    return 0;
  });
}

export async function resume(options: { scope: string; json: boolean }): Promise<number> {
  return withControl(async ({ control }) => {
    const had = await control.resume(options.scope);
    if (options.json) process.stdout.write(`${JSON.stringify({ scope: options.scope, lifted: had })}\n`);
    else
      process.stdout.write(
        had ? `The pause of ${options.scope} is lifted.\n` : `There was no pause of ${options.scope}.\n`,
      );
    return had ? 0 : 1;
  });
}
