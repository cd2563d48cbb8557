import type { ServerResponse } from "node:http";
import { type ActiveFault, madeUp } from "./faults.js";
import { send } from "./send.js";

/** Applies the request and hands back how to send the answer: a fault may come between. */
export type Act = () => (() => void) | Promise<() => void>;

export interface Faulty {
  active: ActiveFault;
  act: Act;
  sleep(ms: number): Promise<void>;
}

/** Carries a request out as its fault says. Errors: those of `act`. */
export async function withFault(response: ServerResponse, of: Faulty): Promise<void> {
  const { active, act } = of;
  const { action } = active;
  switch (action.do) {
    case "delay":
      await of.sleep(action.ms);
      return (await act())();
    case "drop-before":
      return void response.destroy();
    case "drop-after":
      try {
        await act();
      } finally {
        response.destroy();
      }
      return;
    case "twice":
      await act();
      return (await act())();
    case "answer":
      return send(
        response,
        action.status,
        madeUp(action),
        action.retryAfterSeconds === undefined ? {} : { "retry-after": String(action.retryAfterSeconds) },
      );
    case "hold":
      await active.released;
      try {
        (await act())();
      } finally {
        active.applied();
      }
      return;
    case "stale":
      return (await act())();
  }
}
