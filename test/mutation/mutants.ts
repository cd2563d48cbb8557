/**
 * Each safeguard taken away in turn: a piece of source, what stands there instead, and the tests that must then go red.
 * A safeguard whose absence no test notices is a missing test.
 */

export interface Mutant {
  /** The safeguard, in words. */
  without: string;
  /** What it keeps from happening: an invariant or hazard by its id. */
  keeps: string;
  file: string;
  find: string;
  put: string;
  tests: string[];
}

const ENGINE = ["test/unit/execution"];
const MACHINE = ["test/unit/record"];

/** The rows of the protocol's table of safeguards. */
const protocol: Mutant[] = [
  {
    without: "the resourceVersion on the patch",
    keeps: "I3",
    file: "src/execution/run-step.ts",
    find: `    { op: "replace", path: "/metadata/resourceVersion", value: live.metadata.resourceVersion },\n`,
    put: "",
    tests: ENGINE,
  },
  {
    without: "the operation's key in the patch",
    keeps: "I1",
    file: "src/execution/run-step.ts",
    find: "value: JSON.stringify(stamp)",
    put: 'value: JSON.stringify({ ...stamp, key: "none" })',
    tests: ENGINE,
  },
  {
    without: "the intent",
    keeps: "I1",
    file: "src/execution/run-step.ts",
    find: "run: ledger.run && { ...ledger.run, begun: true }, open })",
    put: "run: ledger.run && { ...ledger.run, begun: true }, open: null })",
    tests: ENGINE,
  },
  {
    without: "the operations in the ledger on the cluster",
    keeps: "I1",
    file: "src/execution/run-step.ts",
    find: ": [...ledger.ops, { key, fingerprint, at: iso(now) }];",
    put: ": ledger.ops;",
    tests: ENGINE,
  },
  {
    without: "operation keys free of run ids",
    keeps: "I1",
    file: "src/execution/keys.ts",
    find: "return opKey({ identity, runbook: plan.runbook, step,",
    put: 'return opKey({ identity: identity + ((plan as { nonce?: string }).nonce ?? ""), runbook: plan.runbook, step,',
    tests: ENGINE,
  },
  {
    without: "the compare-and-set of the Lease",
    keeps: "I2 I3",
    file: "src/execution/lease.ts",
    find: "...(view === null ? {} : { resourceVersion: view.resourceVersion }),",
    put: "",
    tests: ENGINE,
  },
  {
    without: "the fence at a takeover",
    keeps: "I3",
    file: "src/execution/fence.ts",
    find: "  if (open.evicts) return { proved: false, generation: null };\n",
    put: "  if (open.key !== '') return { proved: true, generation: null };\n",
    tests: ENGINE,
  },
  {
    without: "the fence before the look after an unknown answer",
    keeps: "I1",
    file: "src/execution/run-step.ts",
    find: 'const fenced = await fence(e.writer, open, mark(e, held));\n      await e.at("look", about);',
    put: 'const fenced = { proved: true, generation: null };\n      await e.at("look", about);',
    tests: ENGINE,
  },
  {
    without: "the look before a retry",
    keeps: "I8",
    file: "src/execution/fence.ts",
    find: 'if (lastOp(live) === open.key) return "happened";',
    put: "",
    tests: ENGINE,
  },
  {
    without: "the doubt where neither fence nor generation prove anything",
    keeps: "I8",
    file: "src/execution/fence.ts",
    find: '? "did-not" : "cannot-tell";',
    put: '? "did-not" : "did-not";',
    tests: ENGINE,
  },
  {
    without: "the world being compared with the plan at the step",
    keeps: "I3",
    file: "src/execution/run-step.ts",
    find: 'if (changed !== null) throw new Halt({ kind: "changed-world", says: changed, trace: gate.trace });',
    put: "",
    tests: ENGINE,
  },
  {
    without: "the key on the object being looked for after a refusal",
    keeps: "I1",
    file: "src/execution/run-step.ts",
    find: "const sentTwice = same !== null && lastOp(same) === key;",
    put: "const sentTwice = same === undefined;",
    tests: ENGINE,
  },
  {
    without: "a run of a lost memory being settled only",
    keeps: "I1 H42",
    file: "src/execution/carry-out.ts",
    find: "(runOf !== null && record.run !== null && runOf.id !== record.run.id && runOf.begun)",
    put: "false",
    tests: [...ENGINE, "test/integration/memory.test.ts"],
  },
  {
    without: "the ends in the ledger",
    keeps: "I1",
    file: "src/execution/carry-out.ts",
    find: "if (ended !== undefined) return copy(e, record, ended.outcome);",
    put: "",
    tests: ENGINE,
  },
  {
    without: "nonce and digest at the click",
    keeps: "I4 H45",
    file: "src/record/machine.ts",
    find: "if (event.approval.nonce !== record.plan?.nonce || event.approval.digest !== record.plan.digest) {",
    put: "if (record.plan === null) {",
    tests: MACHINE,
  },
  {
    without: "the token in the record",
    keeps: "H40",
    file: "src/record/machine.ts",
    find: 'record.state === "running" && record.run?.token === token;',
    put: 'record.state === "running" && token > 0;',
    tests: MACHINE,
  },
  {
    without: "the tombstone of a resolved alert",
    keeps: "H37",
    file: "src/record/machine.ts",
    find: "if (record.resolved || !event.active) {",
    put: "if (!event.active) {",
    tests: MACHINE,
  },
  {
    without: "the checks being repeated before each step",
    keeps: "I6",
    file: "src/execution/run-step.ts",
    find: "if (gate.held !== null)",
    put: "if (gate.held !== null && held.ledger.ops.length === 0 && open === undefined)",
    tests: ENGINE,
  },
  {
    without: "the Lease being taken away at a pause",
    keeps: "I6 H46",
    file: "src/execution/control.ts",
    find: 'if (await leases.write(view.name, view, { holder: "", token: view.token + 1, ledger: view.ledger })) {',
    put: "if (view.token >= 0) {",
    tests: ENGINE,
  },
  {
    without: "the compare-and-set of the record",
    keeps: "I4",
    file: "src/store/records.ts",
    find: "elseif rev ~= ARGV[1] then",
    put: "elseif rev == 'never' then",
    tests: ["test/integration/store.test.ts"],
  },
  {
    without: "one live incident of a target",
    keeps: "I2",
    file: "src/store/records.ts",
    find: "if redis.call('HGET', prefix .. holder, 'live') == '1' then return {'target', holder} end",
    put: "",
    tests: ["test/integration/store.test.ts"],
  },
  {
    without: "the abort being asked for before each step",
    keeps: "H45",
    file: "src/execution/run-step.ts",
    find: "if (now.run.abort !== null)",
    put: "if (now.run.abort !== null && now.run.abort.at < 0)",
    tests: ENGINE,
  },
  {
    without: "the UID on an eviction",
    keeps: "I1",
    file: "src/clients/kubernetes.ts",
    find: "deleteOptions: { preconditions: { uid: pod.uid }, ",
    put: "deleteOptions: { ",
    tests: ENGINE,
  },
  {
    without: "2xx only once Redis has it",
    keeps: "I7 H36",
    file: "src/pipeline.ts",
    find: "        p.missed(parsed.alerts);\n        throw error;",
    put: "        p.missed(parsed.alerts);",
    tests: ["test/integration/receive.test.ts"],
  },
  {
    without: "the page of a hold being wanted until it was sent",
    keeps: "I7",
    file: "src/record/machine.ts",
    find: 'if (how.outcome === "held" && !how.quiet) wantPage(next, "held");',
    put: "",
    tests: MACHINE,
  },
  {
    without: "the store's counter against its copy",
    keeps: "H42",
    file: "src/memory.ts",
    find: "seen.epoch === copy.epoch && seen.tick >= copy.tick;",
    put: "seen.tick >= 0;",
    tests: ["test/integration/memory.test.ts"],
  },
];

/** Every guard, made to say yes to everything. */
export function guardMutant(name: string): Mutant {
  return {
    without: `the guard \`${name}\``,
    keeps: "see its test",
    file: `src/guard/guards/${name}.ts`,
    find: "async evaluate(",
    put: 'async evaluate(..._unused: unknown[]) {\n    return { holds: false, says: "", expected: "", found: "" };\n  },\n  async evaluated(',
    tests: ["test/unit/guard/guards.test.ts"],
  };
}

export const mutants: Mutant[] = protocol;
