/** What each nemesis does, to whom, at the moment at which every subject stands at its point. */
import type { Fault, FaultMatch } from "../../../sandbox/kubernetes/faults.js";
import { until } from "../../harness/processes.js";
import type { NemesisName } from "../story/nemeses.js";
import type { Story } from "../story/story.js";
import { ACCOUNT, APPS, OWN } from "./cluster.js";
import type { Arrival, Hosts, Place } from "./hosts.js";
import type { RedisVictim } from "./redis.js";
import type { Stage } from "./stage.js";
import type { ChaosWorld, Played } from "./world.js";
import { humanEdit, humanRevert, isSettled } from "./workloads.js";

export interface Striking {
  story: Story;
  world: ChaosWorld;
  hosts: Hosts;
  redis: RedisVictim;
  stage: Stage;
  /** Starts the process of a place again. */
  start(place: Place): Promise<void>;
  /** Whoever stands at its point, and where. */
  there: Map<Played, Arrival>;
  /** What comes after everything has come to rest: the last late request, the last frozen worker. */
  later: (() => Promise<void>)[];
}

/** Long enough that a command times out, short enough that nobody is paged for it. */
const REDIS_FROZEN_MS = 2500;
const TAKEOVER_MS = 12_000;
/** Everybody obeys a pause within five seconds; then whoever was held goes on. */
const PAUSE_MS = 5300;
const HANDS = `${ACCOUNT}nightshift-hands`;
const sleep = (ms: number) => new Promise<void>((done) => setTimeout(done, ms));

type Strike = (s: Striking) => Promise<void>;

const placesOf = (s: Striking): Place[] => [...new Set([...s.there.values()].map((arrival) => arrival.place))];
const goAll = (s: Striking) => {
  for (const arrival of s.there.values()) arrival.go();
};

async function killAll(s: Striking, places: readonly Place[] = placesOf(s)): Promise<void> {
  await Promise.all(places.map((place) => s.hosts.kill(place)));
  await Promise.all(places.map((place) => s.start(place)));
}

/** The next write of each subject's run. */
function tamper(s: Striking, action: Parameters<ChaosWorld["cluster"]["faults"]["add"]>[1]): Map<Played, Fault> {
  const faults = new Map<Played, Fault>();
  for (const [one, arrival] of s.there) {
    const { workload } = one;
    const toLease: FaultMatch = {
      verb: ["create", "update"],
      resource: "leases",
      user: HANDS,
      body: (body) => JSON.stringify(body).includes(`\\"uid\\":\\"${workload.uid}\\"`),
    };
    const toPod: FaultMatch = { verb: "create", resource: "pods", name: workload.pod.name, user: HANDS };
    const toDeployment: FaultMatch = {
      verb: "patch",
      resource: "deployments",
      name: workload.name,
      user: HANDS,
      body: (body) => JSON.stringify(body).includes("nightshift.dev~1last-op"),
    };
    const match = arrival.bracket !== "effect" ? toLease : one.subject.step === "evict" ? toPod : toDeployment;
    faults.set(one, s.world.cluster.faults.add(match, action, 1));
  }
  return faults;
}

async function byHand(s: Striking, one: Played, what: string, body: Record<string, unknown>): Promise<void> {
  const { workload } = one;
  await s.world.human.mergePatch(`/apis/apps/v1/namespaces/${APPS}/deployments/${workload.name}`, body);
  s.world.note({ kind: "human", at: Date.now(), uid: workload.uid, what });
}

async function editAll(s: Striking): Promise<void> {
  for (const one of s.there.keys()) await byHand(s, one, "another spec", humanEdit(one.workload));
}

/** So that what follows does not depend on how fast the controllers are. */
async function settled(s: Striking): Promise<void> {
  for (const { subject, workload } of s.there.keys())
    if (subject.step !== "roll-back")
      await until(`${workload.name} to settle`, async () => isSettled(s.world.cluster, workload), 10_000);
}

async function pause(s: Striking, on: boolean): Promise<void> {
  const path = `/api/v1/namespaces/${OWN}/configmaps/nightshift-control`;
  const status = await s.world.human.mergePatch(path, { data: { stop: on ? "true" : "false" } });
  if (status !== 200) throw new Error(`the control ConfigMap could not be written: ${status}`);
  s.world.note({ kind: "pause", at: Date.now(), on });
}

const nothing: Strike = async () => undefined;

export const strikes: Record<NemesisName, Strike> = {
  "kill-hands": (s) => killAll(s),
  "kill-twice": (s) => killAll(s),
  async "freeze-hands"(s) {
    const frozen = placesOf(s).slice(0, 1);
    for (const place of frozen) s.hosts.signal(place, "SIGSTOP");
    // It goes on with what it was about to do the moment it wakes.
    goAll(s);
    const mine = [...s.there].filter(([, arrival]) => frozen.includes(arrival.place));
    await Promise.all(mine.map(([one, arrival]) => s.stage.elsewhere(one, arrival.place, TAKEOVER_MS)));
    const wake = async () => {
      for (const place of frozen) s.hosts.signal(place, "SIGCONT");
    };
    if (s.story.lateness === "rest") s.later.push(wake);
    else await wake();
  },
  async "stop-hands"(s) {
    const places = placesOf(s);
    const others = [...s.there.values()];
    await Promise.all(places.map((place) => s.hosts.stop(place)));
    for (const arrival of others) arrival.go();
    await Promise.all(places.map((place) => s.start(place)));
  },
  "kill-front": (s) => killAll(s, ["front"]),
  async "freeze-front"(s) {
    s.hosts.signal("front", "SIGSTOP");
    await sleep(1500);
    s.hosts.signal("front", "SIGCONT");
  },
  "restart-redis": (s) => s.redis.restart(),
  async "freeze-redis"(s) {
    s.redis.freeze();
    goAll(s);
    await sleep(REDIS_FROZEN_MS);
    s.redis.thaw();
  },
  "flush-redis": (s) => s.redis.flush(),
  "restore-redis": (s) => s.redis.restore(),
  async "lose-answer"(s) {
    tamper(s, { do: "drop-after" });
  },
  async "refuse-answer"(s) {
    const reason = s.story.status === 409 ? { reason: "Conflict" } : {};
    tamper(s, { do: "answer", status: s.story.status, ...reason });
  },
  async "late-request"(s) {
    const faults = tamper(s, { do: "hold" });
    goAll(s);
    await Promise.race([Promise.all([...faults.values()].map((fault) => fault.met())), sleep(5000)]);
    const places = placesOf(s);
    const taken = [...s.there.keys()].map((one) => s.stage.elsewhere(one, "front", TAKEOVER_MS));
    await killAll(s, places);
    const arrive = async () => {
      await Promise.all([...faults.values()].map((fault) => fault.release()));
    };
    if (s.story.lateness === "early") await arrive();
    else if (s.story.lateness === "takeover") {
      await Promise.all(taken);
      await arrive();
    } else s.later.push(arrive);
  },
  async "human-edit"(s) {
    await editAll(s);
    await settled(s);
  },
  async "human-revert"(s) {
    for (const one of s.there.keys()) await byHand(s, one, "our change taken back", humanRevert(one.workload));
    await killAll(s);
  },
  async "stale-reads"(s) {
    const stale = [...s.there.keys()].map(({ workload }) =>
      s.world.cluster.faults.add(
        { verb: "get", resource: "deployments", name: workload.name, user: HANDS },
        { do: "stale" },
        6,
      ),
    );
    await editAll(s);
    await settled(s);
    s.later.push(async () => {
      for (const fault of stale) fault.remove();
    });
  },
  async pause(s) {
    await pause(s, true);
    await sleep(PAUSE_MS);
    goAll(s);
    await sleep(1000);
    s.later.push(() => pause(s, false));
  },
  "lagging-alertmanager": nothing,
  "disagreeing-alertmanagers": nothing,
  "skew-clock": nothing,
};

/** Nemeses after which Nightshift may no longer know what it had accepted. */
export const forgets: ReadonlySet<NemesisName> = new Set<NemesisName>(["flush-redis", "restore-redis"]);
