import { describe, expect, it } from "vitest";
import { podNames } from "../../src/kit/saturation.js";

const long = "a-service-of-a-very-long-name-that-somebody-once-thought-to-be-clever";

describe("the names of a workload's pods", () => {
  it.each([
    ["Deployment", "api", "api-6d4cf56db6-x7k2p", true],
    ["Deployment", "api", "api-gateway-6d4cf56db6-x7k2p", false],
    ["Deployment", "api", "api-gateway-x7k2p", false],
    ["Deployment", "api", "api-0", false],
    ["Deployment", "api.v2", "api.v2-6d4cf56db6-x7k2p", true],
    ["Deployment", "api.v2", "apixv2-6d4cf56db6-x7k2p", false],
    ["Deployment", long, `${long.slice(0, 58)}x7k2p`, true],
    ["StatefulSet", "postgres", "postgres-0", true],
    ["StatefulSet", "postgres", "postgres-replica-0", false],
    ["DaemonSet", "agent", "agent-x7k2p", true],
    ["DaemonSet", "agent", "agent-proxy-x7k2p", false],
  ])("of %s %s: %s is one: %s", (kind, name, pod, mine) => {
    expect(new RegExp(`^(?:${podNames({ kind, name })})$`).test(pod)).toBe(mine);
  });
});
