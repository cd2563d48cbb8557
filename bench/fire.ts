/** An alert that fires: at Alertmanager's stand-in, and as a webhook that must be accepted. */
import { Pool } from "undici";
import { alertOf, bodyOf } from "./payload.js";
import type { TargetRef } from "./targets.js";
import { ALERT, TOKEN, WARM_ALERT, type World } from "./world.js";

const rule = (name: string, alert: string, more = "") =>
  `  - { name: ${name}, match: ['alertname="${alert}"'], runbook: restart-workload, autonomy: auto, target: { kind: Deployment, namespace: $labels.namespace, name: $labels.name }${more} }`;

/** The rule that acts alone on what `fire` sends, every guard asked. */
export const RESTART_RULE = rule("stuck", ALERT);
/** The same way for what is not measured; looked at every second, so that it ends as soon as its target is gone. */
export const WARM_RULE = rule("warm", WARM_ALERT, ", verify: { samples: 1, every: 1s, bake: 0s }");

export interface Firing {
  /** Resolves when it was answered. Errors: Error for any answer but 202. */
  fire(target: TargetRef): Promise<void>;
  close(): Promise<void>;
}

export function firing(world: World, url: string, alertname = ALERT): Firing {
  const pool = new Pool(new URL(url).origin, { connections: 16 });
  const headers = { "content-type": "application/json", authorization: `Bearer ${TOKEN}` };
  return {
    async fire(target) {
      const alert = alertOf({ alertname, severity: "critical", ...target });
      world.stand.fires(alert);
      const body = bodyOf([alert], `{}:{name="${target.name}"}`);
      const answer = await pool.request({ method: "POST", path: "/webhooks/alertmanager", headers, body });
      await answer.body.dump();
      if (answer.statusCode !== 202) throw new Error(`a webhook was answered with ${answer.statusCode}`);
    },
    close: () => pool.close(),
  };
}
