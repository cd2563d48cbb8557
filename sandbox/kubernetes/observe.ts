import type { ServerResponse } from "node:http";
import type { Raw } from "./kinds.js";
import { ApiError } from "./status.js";
import type { SeenRequest, World } from "./world.js";

/** Tells the world's observer what became of a request, whatever its sender learned. */

type Of = Pick<SeenRequest, "route" | "user" | "body" | "fault"> & { response: ServerResponse; url: URL };

export function observed(world: World, of: Of) {
  const { route, user, url, body, fault } = of;
  const at = world.clock.now();
  let told = false;
  const object = (): Raw | null => world.store.get(route.kind, route.namespace, route.name) ?? null;
  const tell = (how: Pick<SeenRequest, "status" | "before" | "after">) => {
    told = true;
    world.observe?.({
      at,
      done: world.clock.now(),
      user,
      route,
      url: url.pathname + url.search,
      body,
      dryRun: url.searchParams.get("dryRun") === "All",
      fault,
      answered: fault !== "drop-after" && fault !== "drop-before" && !of.response.destroyed,
      ...how,
    });
  };
  return {
    /** Carries it out, and tells of it. */
    act(carryOut: () => () => void): () => void {
      if (world.observe === null) return carryOut();
      const before = object();
      try {
        const send = carryOut();
        tell({ status: 200, before, after: object() });
        return send;
      } catch (error) {
        tell({ status: error instanceof ApiError ? error.code : 500, before, after: null });
        throw error;
      }
    },
    /** It ends without having been carried out. */
    never(status: number | null): void {
      if (!told && world.observe !== null) tell({ status, before: object(), after: null });
    },
  };
}
