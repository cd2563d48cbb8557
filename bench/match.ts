/** Match: what deciding about one alert costs, as the policy grows. In this process; nothing is asked but the alert. */
import { parsePolicy } from "../src/policy/file.js";
import { decide } from "../src/policy/decide.js";
import { type Figure, figure, median } from "./figures.js";

const SIZES = [10, 100, 1000, 10_000];

/** Rules as policies have them: one alert each, some with a second matcher; a few at the end that fix no name. */
function policyOf(rules: number) {
  const open = 3;
  const named = Array.from(
    { length: rules - open },
    (_, i) => `  - { name: r${i}, match: ['alertname="Alert${i}"', 'severity=~"warning|critical"'], ignore: true }`,
  );
  const rest = ["Watchdog", "InfoInhibitor", "Synthetic"].map(
    (name) => `  - { name: ${name.toLowerCase()}, match: ['alertname=~"${name}.*"'], ignore: true }`,
  );
  const text = `apiVersion: nightshift.dev/v1\nclusters: [{ name: bench, namespaces: [shop] }]\nrules:\n${[...named, ...rest].join("\n")}\n`;
  return parsePolicy(text, "bench.yaml", []);
}

export async function match(options: { alerts: number; rounds: number }): Promise<Figure[]> {
  const policies = SIZES.map((rules) => ({ rules, policy: policyOf(rules), times: [] as number[] }));
  // Rounds go over all sizes in turn, so that a noisy moment hits all of them.
  for (let round = 0; round <= options.rounds; round += 1) {
    for (const { rules, policy, times } of policies) {
      const alerts = Array.from({ length: 1000 }, (_, i) => ({
        status: "firing" as const,
        // Nine of ten are known to the policy; the tenth is nobody's and asks every rule without a name.
        labels: { alertname: i % 10 === 9 ? `Unknown${i}` : `Alert${(i * 7919) % (rules - 3)}`, severity: "warning" },
      }));
      const began = performance.now();
      for (let i = 0; i < options.alerts; i += 1) decide(policy, alerts[i % 1000] as (typeof alerts)[number]);
      // The first round warms the compiler up.
      if (round > 0) times.push(((performance.now() - began) * 1e6) / options.alerts);
    }
  }
  const least = median(policies[0]?.times ?? []);
  return policies.map(({ rules, times }) =>
    figure({
      name: `match/one alert, ${rules} rules`,
      unit: "ns",
      value: median(times),
      ...(rules === SIZES[0] ? {} : { floor: least }),
      ...(rules === SIZES.at(-1) ? { target: { of: "ratio", is: "at most", bar: 2 } as const } : {}),
    }),
  );
}
