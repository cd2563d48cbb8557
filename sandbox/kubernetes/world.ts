import type { Clock } from "../../src/clock.js";
import type { Access } from "./access.js";
import type { FaultTable } from "./faults.js";
import type { Ids } from "./ids.js";
import type { Raw } from "./kinds.js";
import type { Objects } from "./objects.js";
import type { Store } from "./store.js";
import type { WriteLog } from "./write-log.js";

/** How a container fares: what the image's tag says (`:crash`, `:oom`, `:missing`, `:unready`, `:stuck`) or the world's hook. */
export interface PodBehaviour {
  kind: "ready" | "crash" | "oom" | "missing" | "unready" | "stuck";
  /** Of a crash; 1 unless said otherwise, 137 for `oom`. */
  exitCode?: number;
  /** Milliseconds from start to ready, before compression. */
  readyAfterMs?: number;
  /** Milliseconds from start to the crash, before compression. */
  crashAfterMs?: number;
  /** What the container writes before it is ready or crashes. */
  logs?: readonly string[];
}

/** Everything that a request or a controller works on. */
export interface World {
  store: Store;
  objects: Objects;
  clock: Clock;
  ids: Ids;
  access: Access;
  faults: FaultTable;
  log: WriteLog;
  /** Divides every duration of the controllers: 10 makes a minute six seconds. Progress deadlines included. */
  speed: number;
  /** Null for what the image's tag says. */
  behaviour(pod: Raw): PodBehaviour | null;
  /** Lines by Pod UID, of the present and of the last container. */
  output: Map<string, { current: string[]; previous: string[] }>;
}

/** What an image's tag says, as on the test plane. */
export function behaviourOf(world: World, pod: Raw): PodBehaviour {
  const said = world.behaviour(pod);
  if (said !== null) return said;
  const tag = /:(crash|oom|missing|unready|stuck)$/.exec(String(pod.spec.containers[0]?.image ?? ""))?.[1];
  return { kind: (tag ?? "ready") as PodBehaviour["kind"] };
}
