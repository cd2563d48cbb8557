import { type Guard, holds, passes } from "../guard.js";

/** G27. Whoever has the wrong time takes old for new and new for old: deadlines, approvals and starts mean nothing to it. */
export const guard: Guard = {
  name: "clock",
  order: 2,
  overrule: "fixed",
  summary: "Holds everything while this process's clock is more than 15 s from both the API server's and Redis'.",
  async evaluate({ world }) {
    const { agrees, says } = await world.clock();
    const expected = "at most 15 s from the API server's clock or from Redis'";
    if (agrees) return passes("its clock agrees", expected, says);
    return holds("clock", `this process's clock is wrong: ${says}; synchronise the machine's clock (NTP)`, {
      expected,
      found: says,
    });
  },
};
