import type { Clock } from "../../src/clock.js";
import type { Access } from "./access.js";
import type { FaultAction, FaultTable } from "./faults.js";
import type { Ids } from "./ids.js";
import type { Raw } from "./kinds.js";
import type { Objects } from "./objects.js";
import type { Route } from "./route.js";
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

/** One request as the API server saw it, whatever its sender learned of it. */
export interface SeenRequest {
  /** Milliseconds of the clock at which it arrived, and at which it was applied or refused. */
  at: number;
  done: number;
  user: string;
  route: Route;
  /** Path and query. */
  url: string;
  body: unknown;
  dryRun: boolean;
  /** The fault that it met. */
  fault: FaultAction["do"] | null;
  /** Null where it was never carried out. */
  status: number | null;
  /** Whether its sender was still there for the answer, and was to get one. */
  answered: boolean;
  /** The object before and after; of a read both are what was read. */
  before: Raw | null;
  after: Raw | null;
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
  /** Told of every request once it is settled, refused and faulty ones included; null where nobody asks. */
  observe: ((request: SeenRequest) => void) | null;
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
