/** What every story stands on: the world, the screen, and the few moves that all stories make. */
import type { IncidentRecord } from "../../src/record/incident.js";
import { until } from "../processes.js";
import { buttons, type StandInMessage } from "../slack/index.js";
import { phone } from "../slack/phone.js";
import type { Effect } from "./ground.js";
import { YOU } from "./policy.js";
import type { SandboxGround } from "./sandbox-ground.js";
import type { Screen } from "./screen.js";
import type { DemoWorld, ProcessOptions } from "./world.js";

export type Stage = ReturnType<typeof createStage>;

/** An alert as Prometheus would send it. */
export interface DemoAlert {
  labels: Record<string, string>;
  annotations: Record<string, string>;
}

const HOUR_MS = 3_600_000;

export function createStage(world: DemoWorld, screen: Screen) {
  const { ground, slack, pager, alertmanager } = world;
  const wrong: string[] = [];
  let drawing = false;

  async function draw(): Promise<void> {
    if (drawing) return;
    drawing = true;
    try {
      const rung = pager.alerts.map(
        (alert) => `${alert.state === "triggered" ? "RINGS" : alert.state}  ${alert.summary}`,
      );
      const all = [...(await ground.list("Deployment")), ...(await ground.list("StatefulSet"))];
      screen.show({ pager: rung, cluster: all.map(workloadLine) });
    } catch {
      // The cluster does not answer at this moment: what was drawn last stays.
    } finally {
      drawing = false;
    }
  }
  const panes = setInterval(() => void draw(), 250);

  async function incidents(): Promise<IncidentRecord[]> {
    const answer = await fetch(`http://127.0.0.1:${world.port}/api/v1/incidents`);
    return ((await answer.json()) as { incidents: IncidentRecord[] }).incidents;
  }

  /** Waits for an incident; where it never comes, what every incident says is part of the error. */
  async function incident(
    what: string,
    test: (record: IncidentRecord) => boolean,
    ms = 30_000,
  ): Promise<IncidentRecord> {
    return until(what, async () => (await incidents()).find(test), ms).catch(async (error: unknown) => {
      const told = (await incidents().catch(() => [])).map(
        ({ target, state, reason, says }) => `${target?.name ?? "no target"}: ${state} ${reason ?? ""} ${says}`,
      );
      throw new Error(`${(error as Error).message}; incidents: ${told.join(" | ") || "none"}`);
    });
  }

  function messageOf(record: IncidentRecord): StandInMessage | null {
    return slack.messages.find((m) => m.ts === record.slack?.ts && m.threadTs === null) ?? null;
  }

  return {
    ...world,
    screen,
    wrong,
    incidents,
    incident,
    messageOf,
    say: screen.say.bind(screen),
    /** What must be true at this point of the story. */
    expect(what: string, ok: boolean): void {
      if (!ok) wrong.push(what);
    },
    /** The sandbox behind the story. Errors: Error on a cluster of the user's. */
    sandbox(): SandboxGround {
      if (ground.real) throw new Error("this story needs the sandbox's cluster");
      return ground as SandboxGround;
    },
    until,
    pause: (ms: number) => new Promise<void>((done) => setTimeout(done, ms)),
    effects: (): Promise<Effect[]> => ground.effects(),
    /** One front and one of hands, or as many as told. */
    async startNightshift(of: Omit<ProcessOptions, "role">, hands = 1) {
      const front = await world.startProcess({ ...of, role: "front", kill: false });
      return [
        front,
        ...(await Promise.all(Array.from({ length: hands }, () => world.startProcess({ ...of, role: "hands" })))),
      ];
    },
    /** What Prometheus would post now. */
    async fire(alerts: readonly DemoAlert[]): Promise<void> {
      const startsAt = new Date().toISOString();
      const endsAt = new Date(Date.now() + HOUR_MS).toISOString();
      await alertmanager.post(...alerts.map((alert) => ({ ...alert, startsAt, endsAt })));
    },
    async resolve(alerts: readonly DemoAlert[]): Promise<void> {
      const endsAt = new Date().toISOString();
      await alertmanager.post(...alerts.map(({ labels }) => ({ labels, endsAt })));
    },
    /** An ask whose message with its buttons is posted; another one than that of `nonce`. */
    async asked(nonce: string | null = null): Promise<IncidentRecord> {
      const record = await incident(
        "the ask",
        (one) => {
          if (one.state !== "waiting" || one.plan?.nonce === nonce || one.slack === null) return false;
          const message = messageOf(one);
          const carries = (button: Record<string, unknown>) => String(button["value"]).includes(one.plan?.nonce ?? "?");
          return message !== null && buttons(message).some(carries);
        },
        40_000,
      );
      return record;
    },
    async press(record: IncidentRecord, button = "approve"): Promise<void> {
      const message = messageOf(record);
      if (message === null) throw new Error("the incident has no message");
      await slack.press(message, button, { user: YOU, name: "you" });
    },
    /** Shows the incident's message as a phone has it. */
    shown(record: IncidentRecord): void {
      const message = messageOf(record);
      if (message !== null) screen.show({ phone: phone(message) });
    },
    close(): void {
      clearInterval(panes);
    },
  };
}

function workloadLine(object: Awaited<ReturnType<DemoWorld["ground"]["list"]>>[number]): string {
  const { kind, metadata, spec, status } = object;
  const revision = metadata.annotations?.["deployment.kubernetes.io/revision"];
  const ready = kind === "StatefulSet" ? status?.readyReplicas : status?.availableReplicas;
  const image = String(spec.template.spec.containers[0].image).split(":")[1];
  return `${metadata.name}  ${revision === undefined ? kind : `revision ${revision}`}  ${ready ?? 0}/${spec.replicas} available  ${image}`;
}
