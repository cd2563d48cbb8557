import { isDeepStrictEqual } from "node:util";
import { iso } from "../../../src/clock.js";
import { kindNamed, type Raw } from "../kinds.js";
import { seconds } from "../objects.js";
import { behaviourOf, type PodBehaviour, type World } from "../world.js";
import { emit, writeStatus } from "./common.js";

/** Scheduler and kubelet in one: Pods get a node, start, and fare as their behaviour says. */

const KUBELET = "kubelet";
const START_MS = 500;
const CRASH_MS = 1000;
/** Pauses between restarts, doubling. */
const BACKOFF_MS = 10_000;
const BACKOFF_MAX_MS = 300_000;

/** What a Pod's status does not tell: when its present state began, in milliseconds. */
interface Life {
  since: number;
  ip: string;
}

export function createKubelet(world: World): () => void {
  const lives = new Map<string, Life>();
  let address = 0;

  function lifeOf(pod: Raw): Life {
    let life = lives.get(pod.metadata.uid);
    if (life === undefined) {
      address += 1;
      life = { since: world.clock.now(), ip: `10.0.${Math.floor(address / 250)}.${(address % 250) + 1}` };
      lives.set(pod.metadata.uid, life);
    }
    return life;
  }

  function schedule(pod: Raw): Raw {
    const nodes = world.store.list(kindNamed("Node")).filter((node) => !node.spec?.unschedulable && nodeReady(node));
    const used = (node: Raw) =>
      world.store.list(kindNamed("Pod")).filter((other) => other.spec.nodeName === node.metadata.name).length;
    const [node] = nodes.sort((a, b) => used(a) - used(b));
    if (node === undefined) return pod;
    const now = seconds(world.clock.now());
    const bound = world.store.put(kindNamed("Pod"), {
      ...pod,
      spec: { ...pod.spec, nodeName: node.metadata.name },
      status: {
        ...pod.status,
        conditions: [{ type: "PodScheduled", status: "True", lastProbeTime: null, lastTransitionTime: now }],
      },
    });
    emit(world, bound, {
      reason: "Scheduled",
      message: `Successfully assigned ${pod.metadata.namespace}/${pod.metadata.name} to ${node.metadata.name}`,
      component: "default-scheduler",
    });
    return bound;
  }

  function live(pod: Raw): void {
    const life = lifeOf(pod);
    const behaviour = behaviourOf(world, pod);
    const elapsed = (world.clock.now() - life.since) * world.speed;
    const container: Raw | undefined = pod.status.containerStatuses?.[0];
    const { kind } = behaviour;
    if (kind === "stuck") return;
    if (container === undefined) {
      if (elapsed < START_MS && kind !== "missing") return;
      if (kind === "missing") return cannotPull(pod);
      return start(pod, life, { behaviour, restarts: 0 });
    }
    if (container.state.waiting?.reason === "ImagePullBackOff") {
      if (kind !== "missing") start(pod, life, { behaviour, restarts: 0 });
      return;
    }
    if (container.state.waiting?.reason === "CrashLoopBackOff") {
      if (elapsed >= backoff(container.restartCount))
        start(pod, life, { behaviour, restarts: container.restartCount + 1 });
      return;
    }
    const bad = kind === "crash" || kind === "oom";
    if (bad && elapsed >= (behaviour.crashAfterMs ?? CRASH_MS)) return crash(pod, life, behaviour);
    const ready = kind === "ready" && elapsed >= (behaviour.readyAfterMs ?? readyAfter(pod));
    if (ready !== container.ready)
      report(pod, {
        ready,
        state: container.state,
        restarts: container.restartCount,
        last: container.lastState,
        ip: life.ip,
      });
  }

  function start(pod: Raw, life: Life, of: { behaviour: PodBehaviour; restarts: number }): void {
    life.since = world.clock.now();
    const { behaviour, restarts } = of;
    const lines = behaviour.logs ?? [
      "starting",
      ...(behaviour.kind === "crash" || behaviour.kind === "oom" ? ["Error: it cannot start"] : ["listening"]),
    ];
    const previous = world.output.get(pod.metadata.uid)?.current ?? [];
    world.output.set(pod.metadata.uid, { current: [...lines], previous });
    const [container] = pod.spec.containers;
    emit(world, pod, {
      reason: "Pulled",
      message: `Container image "${container.image}" already present on machine`,
      component: KUBELET,
    });
    emit(world, pod, { reason: "Started", message: `Started container ${container.name}`, component: KUBELET });
    const ready = behaviour.kind === "ready" && (behaviour.readyAfterMs ?? readyAfter(pod)) === 0;
    const last = pod.status.containerStatuses?.[0]?.lastState ?? {};
    report(pod, { ready, state: { running: { startedAt: seconds(world.clock.now()) } }, restarts, last, ip: life.ip });
  }

  function crash(pod: Raw, life: Life, behaviour: PodBehaviour): void {
    const old: Raw = pod.status.containerStatuses[0];
    const oom = behaviour.kind === "oom";
    const now = seconds(world.clock.now());
    const terminated = {
      exitCode: behaviour.exitCode ?? (oom ? 137 : 1),
      reason: oom ? "OOMKilled" : "Error",
      startedAt: old.state.running?.startedAt ?? now,
      finishedAt: now,
    };
    life.since = world.clock.now();
    const [container] = pod.spec.containers;
    const output = world.output.get(pod.metadata.uid);
    world.output.set(pod.metadata.uid, { current: output?.current ?? [], previous: output?.current ?? [] });
    // The first restart comes at once; after that the pauses double.
    const wait = `back-off ${backoff(old.restartCount) / 1000}s restarting failed container=${container.name} pod=${pod.metadata.name}_${pod.metadata.namespace}(${pod.metadata.uid})`;
    emit(world, pod, {
      type: "Warning",
      reason: "BackOff",
      message: `Back-off restarting failed container ${container.name} in pod ${pod.metadata.name}_${pod.metadata.namespace}(${pod.metadata.uid})`,
      component: KUBELET,
    });
    report(pod, {
      ready: false,
      state: { waiting: { reason: "CrashLoopBackOff", message: wait } },
      restarts: old.restartCount,
      last: { terminated },
      ip: life.ip,
    });
  }

  function cannotPull(pod: Raw): void {
    const [container] = pod.spec.containers;
    emit(world, pod, {
      type: "Warning",
      reason: "Failed",
      message: `Failed to pull image "${container.image}": not found`,
      component: KUBELET,
    });
    emit(world, pod, {
      type: "Warning",
      reason: "BackOff",
      message: `Back-off pulling image "${container.image}"`,
      component: KUBELET,
    });
    const state = { waiting: { reason: "ImagePullBackOff", message: `Back-off pulling image "${container.image}"` } };
    report(pod, { ready: false, state, restarts: 0, last: {}, ip: "", phase: "Pending" });
  }

  function report(
    pod: Raw,
    of: { ready: boolean; state: Raw; restarts: number; last: Raw; ip: string; phase?: string },
  ): void {
    const now = seconds(world.clock.now());
    const old: Raw[] = pod.status.conditions ?? [];
    const condition = (type: string, good: boolean): Raw => {
      const before = old.find((one) => one.type === type);
      const status = good ? "True" : "False";
      const since = before?.status === status ? before.lastTransitionTime : now;
      return {
        type,
        status,
        lastProbeTime: null,
        lastTransitionTime: since,
        ...(good ? {} : { reason: "ContainersNotReady" }),
      };
    };
    const status: Raw = {
      phase: of.phase ?? "Running",
      conditions: [
        condition("Initialized", true),
        condition("Ready", of.ready),
        condition("ContainersReady", of.ready),
        condition("PodScheduled", true),
      ],
      startTime: pod.status.startTime ?? now,
      ...(of.ip === "" ? {} : { podIP: of.ip, podIPs: [{ ip: of.ip }] }),
      containerStatuses: (pod.spec.containers as Raw[]).map((container) => ({
        name: container.name,
        state: of.state,
        lastState: of.last,
        ready: of.ready,
        restartCount: of.restarts,
        image: container.image,
        imageID: "",
        started: of.state.running !== undefined,
      })),
      qosClass: "BestEffort",
    };
    if (!isDeepStrictEqual(status, pod.status)) writeStatus(world, pod, { status, manager: KUBELET });
  }

  return function tick() {
    for (const pod of world.store.list(kindNamed("Pod"))) {
      if (pod.metadata.deletionTimestamp !== undefined) {
        const [container] = pod.spec.containers;
        emit(world, pod, { reason: "Killing", message: `Stopping container ${container.name}`, component: KUBELET });
        world.store.remove(kindNamed("Pod"), pod.metadata.namespace, pod.metadata.name);
        lives.delete(pod.metadata.uid);
        world.output.delete(pod.metadata.uid);
      } else {
        const placed = pod.spec.nodeName === undefined ? schedule(pod) : pod;
        if (placed.spec.nodeName !== undefined) live(placed);
      }
    }
  };
}

function backoff(restarts: number): number {
  return restarts === 0 ? 0 : Math.min(BACKOFF_MAX_MS, BACKOFF_MS * 2 ** (restarts - 1));
}

function readyAfter(pod: Raw): number {
  const asked = /^(\d+(?:\.\d+)?)s$/.exec(pod.metadata.annotations?.["testplane/ready-after"] ?? "");
  return asked === null ? 0 : Number(asked[1]) * 1000;
}

function nodeReady(node: Raw): boolean {
  return ((node.status?.conditions ?? []) as Raw[]).some(
    (condition) => condition.type === "Ready" && condition.status === "True",
  );
}

/** A node that takes Pods, as it is seeded. */
export function nodeNamed(name: string, now: number): Raw {
  const time = iso(now);
  return {
    apiVersion: "v1",
    kind: "Node",
    metadata: { name, labels: { "kubernetes.io/hostname": name, "kubernetes.io/os": "linux" } },
    spec: {},
    status: {
      conditions: [
        {
          type: "Ready",
          status: "True",
          reason: "KubeletReady",
          message: "the stand-in's node",
          lastHeartbeatTime: time,
          lastTransitionTime: time,
        },
      ],
      allocatable: { cpu: "8", memory: "32Gi", pods: "110" },
      capacity: { cpu: "8", memory: "32Gi", pods: "110" },
      nodeInfo: {
        architecture: "amd64",
        operatingSystem: "linux",
        kubeletVersion: "stand-in",
        containerRuntimeVersion: "none",
        kernelVersion: "none",
        osImage: "none",
      },
    },
  };
}
