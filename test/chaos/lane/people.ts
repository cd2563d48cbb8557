/** Who is outside and reacts to what is there: Alertmanagers that tell, a person who answers asks, eyes that count pods. */
import { buttons } from "../../../sandbox/slack/index.js";
import type { Delivery } from "../story/story.js";
import type { ChaosWorld, Played } from "./world.js";
import { isSick } from "./workloads.js";

/** An incident as the HTTP API tells it. */
export interface Told {
  id: string;
  state: string;
  reason: string | null;
  page: string;
  pageResolve: string;
  dedupKey: string;
  joined: string | null;
  target: { uid: string } | null;
  alerts: { identity: string; status: string }[];
  plan: { nonce: string } | null;
  run: { id: string } | null;
  slack: { ts: string } | null;
}

/** Every incident that Nightshift knows; null while it cannot be asked. */
export async function incidents(world: ChaosWorld): Promise<Told[] | null> {
  try {
    const answer = await fetch(`${world.url}/api/v1/incidents?limit=1000`, { signal: AbortSignal.timeout(2000) });
    return answer.ok ? ((await answer.json()) as { incidents: Told[] }).incidents : null;
  } catch {
    return null;
  }
}

const sleep = (ms: number) => new Promise<void>((done) => setTimeout(done, ms));

export interface People {
  /** Both Alertmanagers say that it fires, and deliver; resolves once every webhook was taken. */
  fire(one: Played): Promise<void>;
  /** Whether an ask about the subject stands in Slack. */
  asked(one: Played): Promise<boolean>;
  /** Presses yes, or what its story says, on the newest ask of the subject, as its story says; false while there is none. */
  answer(one: Played): Promise<boolean>;
  /** From now on this subject's asks are answered without being told. */
  attend(one: Played): void;
  /** Whether every webhook under way has been taken and every end told. */
  quiet(): boolean;
  stop(): Promise<void>;
}

/** The same person presses again when nothing came of it. */
const PRESS_AGAIN_MS = 2500;

export function startPeople(world: ChaosWorld): People {
  const attended = new Set<Played>();
  const ended = new Set<Played>();
  const aborted = new Set<string>();
  const pressed = new Map<string, number>();
  const ready = new Map<string, number>();
  let under = 0;
  let stopped = false;

  async function deliver(one: Played, deliveries: readonly Delivery[]): Promise<void> {
    under += 1;
    try {
      for (const { from, status, afterMs } of deliveries) {
        await sleep(afterMs);
        await world.alertmanagers[from].deliver(one.alert[from], status);
      }
    } finally {
      under -= 1;
    }
  }

  /** Each Alertmanager learns of the end in its own time. */
  async function tellEnd(one: Played): Promise<void> {
    const { subject, alert } = one;
    under += 1;
    try {
      world.alertmanagers.a.active.delete(alert.a.fingerprint);
      await deliver(
        one,
        subject.resolved.filter((delivery) => delivery.from === "a"),
      );
      await sleep(subject.lagMs);
      world.alertmanagers.b.active.delete(alert.b.fingerprint);
      await deliver(
        one,
        subject.resolved.filter((delivery) => delivery.from === "b"),
      );
      if (subject.straggler) await deliver(one, [{ from: "b", status: "firing", afterMs: 100 }]);
    } finally {
      under -= 1;
    }
  }

  function look(): void {
    for (const { workload } of world.played) {
      const live = world.cluster.get("Deployment", workload.namespace, workload.name);
      const now = Number(live?.status?.readyReplicas ?? 0);
      if (ready.get(workload.uid) === now) continue;
      ready.set(workload.uid, now);
      world.note({ kind: "ready", at: Date.now(), uid: workload.uid, ready: now });
    }
    for (const one of world.played) {
      const fires = world.alertmanagers.a.active.has(one.alert.a.fingerprint);
      if (!fires || ended.has(one) || isSick(world.cluster, one.workload)) continue;
      ended.add(one);
      void tellEnd(one);
    }
  }

  /** Asks that wait for an answer and that a person can see. */
  async function asksOf(one: Played) {
    const told = (await incidents(world)) ?? [];
    return told
      .filter((incident) => incident.state === "waiting" && incident.target?.uid === one.workload.uid)
      .flatMap(({ id, plan }) => {
        const nonce = plan?.nonce ?? "none";
        const message = world.slack.messages.findLast((each) =>
          buttons(each).some((button) => String(button["value"]).includes(nonce)),
        );
        return message === undefined ? [] : [{ id, nonce, message }];
      });
  }

  async function answer(one: Played): Promise<boolean> {
    for (const { id, nonce, message } of await asksOf(one)) {
      if (Date.now() - (pressed.get(nonce) ?? 0) < PRESS_AGAIN_MS) return false;
      const first = !pressed.has(nonce);
      pressed.set(nonce, Date.now());
      const url = `${world.url}/slack/events`;
      if (first && one.subject.stranger)
        await world.slack.press(message, "approve", { user: "U9", url }).catch(() => undefined);
      // Noted before it is sent: what happens because of it must come after it.
      const says = one.subject.says === "deny" ? "deny" : "approve";
      world.note({ kind: "click", at: Date.now(), answer: says, incident: id, nonce });
      const presses = Array.from({ length: one.subject.presses }, () =>
        world.slack.press(message, says, { user: "U1", url }).catch(() => undefined),
      );
      await Promise.race([Promise.all(presses), sleep(3000)]);
      return true;
    }
    return false;
  }

  /** Abort, as soon as the message of its run offers it. */
  async function abort(one: Played): Promise<void> {
    for (const incident of (await incidents(world)) ?? []) {
      if (incident.state !== "running" || incident.target?.uid !== one.workload.uid || aborted.has(incident.id))
        continue;
      const message = world.slack.messages.find((each) => each.ts === incident.slack?.ts);
      if (message === undefined || !buttons(message).some((button) => button["action_id"] === "abort")) continue;
      aborted.add(incident.id);
      world.note({ kind: "click", at: Date.now(), answer: "abort", incident: incident.id, nonce: "" });
      await world.slack.press(message, "abort", { user: "U1", url: `${world.url}/slack/events` });
    }
  }

  const looking = (async () => {
    while (!stopped) {
      look();
      await sleep(50);
    }
  })();
  const answering = (async () => {
    while (!stopped) {
      for (const one of attended) {
        await answer(one).catch(() => false);
        if (one.subject.says === "abort") await abort(one).catch(() => undefined);
      }
      await sleep(150);
    }
  })();

  return {
    async fire(one) {
      world.alertmanagers.a.active.set(one.alert.a.fingerprint, one.alert.a);
      world.alertmanagers.b.active.set(one.alert.b.fingerprint, one.alert.b);
      await deliver(one, one.subject.firing);
    },
    asked: async (one) => (await asksOf(one)).length > 0,
    answer,
    attend: (one) => void attended.add(one),
    quiet: () => under === 0,
    async stop() {
      stopped = true;
      await Promise.all([looking, answering]);
    },
  };
}
