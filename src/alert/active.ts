import type { ActiveAlert } from "../verify/metrics.js";
import type { Alert } from "./alert.js";
import { identityOf } from "./identity.js";

/** An alert read from Alertmanager's API as one received now. The API tells no groupKey. */
export function activeAlert(found: ActiveAlert, now: number): Alert {
  return {
    identity: identityOf(found.fingerprint, found.startsAt),
    fingerprint: found.fingerprint,
    startsAt: found.startsAt,
    endsAt: null,
    status: "firing",
    labels: found.labels,
    annotations: found.annotations,
    generatorURL: found.generatorURL,
    groupKey: null,
    receiver: found.receivers[0] ?? "",
    externalURL: found.externalURL,
    receivedAt: now,
  };
}
