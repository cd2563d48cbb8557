/** When everything has come to rest, and what Nightshift says of itself then. */
import type { History, IncidentSeen } from "../checker/history.js";
import { acceptedAlerts, sameAlert } from "../checker/alerts.js";
import { incidents, type People, type Told } from "./people.js";
import { OWN } from "./cluster.js";
import type { ChaosWorld } from "./world.js";

const OUTCOMES = ["remediated", "held", "suppressed"];
const sleep = (ms: number) => new Promise<void>((done) => setTimeout(done, ms));

/** Null once nothing has been outstanding in three looks in a row; what is, after `ms`. */
export async function awaitRest(world: ChaosWorld, people: People, ms: number): Promise<string | null> {
  const until = performance.now() + ms;
  let calm = 0;
  let left: string | null = null;
  while (performance.now() < until) {
    const told = await incidents(world);
    if (told === null) left = "Nightshift does not answer";
    else left = people.quiet() ? outstanding(world, told) : "a webhook is on its way";
    calm = left === null ? calm + 1 : 0;
    if (calm === 3) return null;
    await sleep(150);
  }
  return left ?? "it was not calm for long enough";
}

/** What is still to come, in words; null for nothing. */
export function outstanding(world: ChaosWorld, told: readonly Told[]): string | null {
  for (const one of told) {
    if (!OUTCOMES.includes(one.state)) return `${one.id} is ${one.state}`;
    if (one.page === "wanted" || one.pageResolve === "wanted") return `${one.id} wants a page`;
  }
  const known = told.flatMap((one) => one.alerts.map((alert) => alert.identity));
  const firing = firingIdentities(world);
  const missing = firing.find((identity) => !known.some((one) => sameAlert(one, identity)));
  if (missing !== undefined) return `${missing} fires and is not known`;
  const forgot = world.events.some((event) => event.kind === "nemesis" && event.forgets);
  const accepted = acceptedAlerts({ events: world.events } as History);
  const lost = accepted.find(({ identity }) => !known.some((one) => sameAlert(one, identity)));
  if (lost !== undefined && !forgot) return `${lost.identity} was accepted and is not known`;
  for (const lease of world.cluster.list("Lease", OWN)) {
    const text = lease.metadata.annotations?.["nightshift.dev/ledger"];
    if (text === undefined) continue;
    const ledger = JSON.parse(text) as { run: unknown; open: unknown; ends: { told: boolean }[] };
    if (ledger.run !== null || ledger.open !== null) return `Lease ${lease.metadata.name} holds a run`;
    if (ledger.ends.some((end) => !end.told)) return `an end in Lease ${lease.metadata.name} is not told`;
  }
  return null;
}

function firingIdentities(world: ChaosWorld): string[] {
  const { a, b } = world.alertmanagers;
  return [...a.active.values(), ...b.active.values()].map((alert) => `${alert.fingerprint}@${alert.startsAt}`);
}

export async function endOf(world: ChaosWorld, left: string | null): Promise<History["end"]> {
  for (const call of world.pager.calls) {
    const body = call.body as { event_action?: string; dedup_key?: string; payload?: { summary?: string } } | null;
    if (call.path !== "/v2/enqueue") continue;
    world.note({
      kind: "page",
      at: Date.now(),
      action: body?.event_action ?? "",
      key: body?.dedup_key ?? "",
      summary: body?.payload?.summary ?? "",
    });
  }
  for (const call of world.slack.calls)
    world.note({
      kind: "slack",
      at: Date.now(),
      method: call.method,
      text: JSON.stringify([call.args["text"], call.args["blocks"]]),
    });
  const told = (await incidents(world)) ?? [];
  await world.cluster.settled();
  return { outstanding: left, incidents: told.map(seen), firing: firingIdentities(world) };
}

function seen(one: Told): IncidentSeen {
  return {
    id: one.id,
    identities: one.alerts.map((alert) => alert.identity),
    state: one.state,
    reason: one.reason,
    page: one.page,
    dedupKey: one.dedupKey,
    uid: one.target?.uid ?? null,
    runId: one.run?.id ?? null,
    joined: one.joined,
  };
}
