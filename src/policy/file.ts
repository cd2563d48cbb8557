import { readFileSync } from "node:fs";
import { isNode, isPair, isScalar, LineCounter, parseDocument, type Document } from "yaml";
import type { z } from "zod";
import { FaultsError, messageOf } from "../errors.js";
import { sha256 } from "../plan/digest.js";
import { defaultApproval, defaultEscalate, defaultGuards, defaultVerify } from "./defaults.js";
import { createBefore } from "./before.js";
import { contradict, implies, parseMatcher } from "./matchers.js";
import { alwaysProtected, isNamespaceName, isObjectName } from "./names.js";
import {
  type ApprovalSettings,
  autonomies,
  type GuardSettings,
  type Matcher,
  type Policy,
  type Rule,
  type VerifySettings,
} from "./policy.js";
import { type PolicyFile, policySchema, type RuleFile } from "./schema.js";

/** What the policy must know of a runbook. */
export interface KnownRunbook {
  name: string;
  kind: "remedy" | "diagnosis";
  risk: "A" | "B" | "C" | null;
  kinds: readonly string[];
  params: z.ZodType;
}

type Path = readonly (string | number)[];

interface Reading {
  file: string;
  document: Document;
  lines: LineCounter;
  faults: { at: number; text: string }[];
  /** Rules of one policy share their matchers: thousands of them say the same of a severity. */
  matchers: Map<string, ReturnType<typeof parseMatcher>>;
}

/** Reads the policy. Throws FaultsError (ERR_POLICY) with every fault, each with file, line and column. */
export function readPolicy(file: string, runbooks: readonly KnownRunbook[]): Policy {
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch (error) {
    throw new FaultsError("ERR_POLICY", `policy ${file}`, [`${file}: cannot be read: ${messageOf(error)}`]);
  }
  return parsePolicy(text, file, runbooks);
}

/** As `readPolicy`, from a text. */
export function parsePolicy(text: string, file: string, runbooks: readonly KnownRunbook[]): Policy {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false, uniqueKeys: true });
  const reading: Reading = { file, document, lines, faults: [], matchers: new Map() };
  for (const error of document.errors) reading.faults.push({ at: error.pos[0], text: error.message });
  let policy: Policy | null = null;
  if (reading.faults.length === 0) {
    const parsed = policySchema.safeParse(document.toJS());
    if (parsed.success) policy = build(reading, parsed.data, { runbooks, digest: sha256(text) });
    else shapeFaults(reading, parsed.error);
  }
  if (policy === null || reading.faults.length > 0) {
    const ordered = [...reading.faults].sort((a, b) => a.at - b.at);
    throw new FaultsError(
      "ERR_POLICY",
      `policy ${file}`,
      ordered.map(({ at, text: says }) => `${file}:${place(lines, at)}: ${says}`),
    );
  }
  return policy;
}

function place(lines: LineCounter, at: number): string {
  const { line, col } = lines.linePos(at);
  return `${line}:${col}`;
}

function shapeFaults(reading: Reading, error: z.ZodError): void {
  for (const issue of error.issues) {
    const path = issue.path as Path;
    const where = path.map(String).join(".");
    if (issue.code === "unrecognized_keys") {
      for (const key of issue.keys)
        fault(reading, [...path, key], `unknown key ${where === "" ? key : `${where}.${key}`}`, true);
      continue;
    }
    const found = reading.document.getIn(path as unknown[]);
    const shown =
      found === undefined ? "nothing" : isNode(found) ? JSON.stringify(found.toJSON()) : JSON.stringify(found);
    const message = issue.message.startsWith("expected")
      ? issue.message
      : issue.message.replace(/^Invalid input: /, "").replace(/, received .*$/, "");
    const says = /found/.test(message) ? message : `${message}, found ${(shown ?? "nothing").slice(0, 80)}`;
    fault(reading, path, `${where || "the policy"}: ${says}`);
  }
}

/** Adds a fault at a path; `key` points at the key itself rather than at its value. */
function fault(reading: Reading, path: Path, text: string, key = false): void {
  reading.faults.push({ at: offsetOf(reading.document, path, key), text });
}

function offsetOf(document: Document, path: Path, key: boolean): number {
  if (key) {
    const parent = document.getIn(path.slice(0, -1) as unknown[], true) ?? document.contents;
    const items = (parent as { items?: unknown[] } | null)?.items ?? [];
    for (const item of items) {
      if (isPair(item) && isScalar(item.key) && item.key.value === path.at(-1)) return item.key.range?.[0] ?? 0;
    }
  }
  for (let end = path.length; end >= 0; end -= 1) {
    const node = end === 0 ? document.contents : document.getIn(path.slice(0, end) as unknown[], true);
    if (isNode(node) && node.range) return node.range[0];
  }
  return 0;
}

function build(reading: Reading, data: PolicyFile, of: { runbooks: readonly KnownRunbook[]; digest: string }): Policy {
  const ceiling = data.maxAutonomy ?? "auto";
  const base = {
    autonomy: data.defaults?.autonomy ?? "observe",
    approval: approvalOf(defaultApproval, data.defaults?.approval),
    escalate: { ...defaultEscalate, ...defined(data.defaults?.escalate) },
    guards: guardsOf(defaultGuards, data.guards),
    verify: verifyOf(defaultVerify, data.verify),
  };
  data.clusters.forEach((cluster, i) => {
    if (data.clusters.findIndex((c) => c.name === cluster.name) < i)
      fault(reading, ["clusters", i, "name"], `cluster ${cluster.name} is listed twice`);
    cluster.namespaces.forEach((name, j) => {
      if (!isNamespaceName(name))
        fault(reading, ["clusters", i, "namespaces", j], `expected a namespace, found ${JSON.stringify(name)}`);
    });
  });
  (data.protected ?? []).forEach((name, i) => {
    if (!isNamespaceName(name)) fault(reading, ["protected", i], `expected a namespace, found ${JSON.stringify(name)}`);
  });
  const rules: Rule[] = [];
  const before = createBefore();
  data.rules.forEach((rule, position) => {
    const built = ruleOf(reading, rule, { position, base, runbooks: of.runbooks });
    if (autonomies.indexOf(built.autonomy) > autonomies.indexOf(ceiling)) {
      fault(
        reading,
        ["rules", position, rule.autonomy === undefined ? "name" : "autonomy"],
        `rule ${rule.name}: autonomy ${built.autonomy} is above maxAutonomy ${ceiling}`,
      );
    }
    const twin = before.named(built.name);
    if (twin)
      fault(
        reading,
        ["rules", position, "name"],
        `rule ${built.name}: the name is taken by the rule at line ${twin.line}`,
      );
    const shadow = before.mayShadow(built).find((other) => implies(built.match, other.match));
    if (shadow && built.match.length > 0)
      fault(
        reading,
        ["rules", position, "match"],
        `rule ${built.name} can never match: rule ${shadow.name} at line ${shadow.line} takes everything before it`,
      );
    rules.push(built);
    before.add(built);
  });
  return {
    clusters: data.clusters,
    protected: [...new Set([...(data.protected ?? []), ...alwaysProtected])],
    defaults: { autonomy: base.autonomy, approval: base.approval, escalate: base.escalate },
    guards: base.guards,
    verify: base.verify,
    rules,
    digest: of.digest,
  };
}

interface Base {
  autonomy: Rule["autonomy"];
  approval: ApprovalSettings;
  escalate: Rule["escalate"];
  guards: GuardSettings;
  verify: VerifySettings;
}

function ruleOf(
  reading: Reading,
  rule: RuleFile,
  of: { position: number; base: Base; runbooks: readonly KnownRunbook[] },
): Rule {
  const { position, base } = of;
  const at = (...path: (string | number)[]): Path => ["rules", position, ...path];
  const match: Matcher[] = [];
  rule.match.forEach((text, i) => {
    const parsed = reading.matchers.get(text) ?? parseMatcher(text);
    reading.matchers.set(text, parsed);
    if ("fault" in parsed) fault(reading, at("match", i), `rule ${rule.name}: ${parsed.fault}`);
    else {
      const against = match.find((other) => contradict(other, parsed));
      if (against)
        fault(
          reading,
          at("match", i),
          `rule ${rule.name} can never match: ${text} contradicts ${against.name}${against.op}${JSON.stringify(against.value)}`,
        );
      match.push(parsed);
    }
  });
  return {
    name: rule.name,
    position,
    line: reading.lines.linePos(offsetOf(reading.document, at(), false)).line,
    match,
    does: doesOf(reading, rule, { at, runbooks: of.runbooks }),
    autonomy: rule.autonomy ?? base.autonomy,
    approval: approvalOf(base.approval, rule.approval),
    escalate: { ...base.escalate, ...defined(rule.escalate) },
    guards: guardsOf(base.guards, rule.guards),
    verify: verifyOf(base.verify, rule.verify),
  };
}

function doesOf(
  reading: Reading,
  rule: RuleFile,
  of: { at(...path: (string | number)[]): Path; runbooks: readonly KnownRunbook[] },
): Rule["does"] {
  const { at } = of;
  const chosen = [
    rule.ignore ? "ignore" : null,
    rule.heartbeat === undefined ? null : "heartbeat",
    rule.runbook === undefined ? null : "runbook",
  ].filter((x) => x !== null);
  if (chosen.length > 1)
    fault(
      reading,
      at(),
      `rule ${rule.name}: expected one of runbook, escalate, ignore and heartbeat, found ${chosen.join(" and ")}`,
    );
  if (rule.runbook === undefined) {
    for (const key of ["target", "params", "autonomy", "approval", "verify"] as const) {
      if (rule[key] !== undefined) fault(reading, at(key), `rule ${rule.name}: ${key} means nothing without a runbook`);
    }
    if (rule.heartbeat !== undefined) return { what: "heartbeat", everyMs: rule.heartbeat };
    if (rule.ignore) return { what: "ignore" };
    if (rule.escalate === undefined)
      fault(reading, at(), `rule ${rule.name}: expected one of runbook, escalate, ignore and heartbeat, found none`);
    return { what: "escalate" };
  }
  const runbook = of.runbooks.find((r) => r.name === rule.runbook);
  if (!runbook) {
    fault(
      reading,
      at("runbook"),
      `rule ${rule.name}: no runbook ${rule.runbook}; there are ${of.runbooks.map((r) => r.name).join(", ")}`,
    );
  }
  const params = runbook?.params.safeParse(rule.params ?? {});
  if (params && !params.success) {
    for (const issue of params.error.issues) {
      const keys =
        issue.code === "unrecognized_keys"
          ? `: unknown key ${issue.keys.join(", ")}`
          : `.${issue.path.map(String).join(".")}: ${issue.message}`;
      fault(reading, at("params", ...(issue.path as (string | number)[])), `rule ${rule.name}: params${keys}`);
    }
  }
  if (runbook && rule.autonomy === "auto" && runbook.kind === "remedy" && runbook.risk !== "A") {
    fault(
      reading,
      at("autonomy"),
      `rule ${rule.name}: autonomy auto is only for runbooks of risk class A; ${runbook.name} is class ${runbook.risk ?? "?"}`,
    );
  }
  const { target } = rule;
  if (target === undefined) {
    fault(reading, at(), `rule ${rule.name}: a runbook needs a target`);
    return {
      what: "runbook",
      runbook: rule.runbook,
      diagnosis: runbook?.kind === "diagnosis",
      params: {},
      target: { namespace: "", name: "" },
    };
  }
  if ((target.kind === undefined) === (target.from === undefined)) {
    fault(
      reading,
      at("target"),
      `rule ${rule.name}: target: expected either kind or from, found ${target.kind === undefined ? "neither" : "both"}`,
    );
  }
  if (target.kind !== undefined && runbook && !runbook.kinds.includes(target.kind)) {
    fault(
      reading,
      at("target", "kind"),
      `rule ${rule.name}: ${runbook.name} acts on ${runbook.kinds.join(", ")}, found ${target.kind}`,
    );
  }
  const scoped = target.kind === "Node" || target.from === "node";
  if (target.namespace === undefined && !scoped)
    fault(reading, at("target"), `rule ${rule.name}: target: expected a namespace, found none`);
  if (target.namespace !== undefined && !target.namespace.startsWith("$") && !isNamespaceName(target.namespace)) {
    fault(
      reading,
      at("target", "namespace"),
      `rule ${rule.name}: expected a namespace, found ${JSON.stringify(target.namespace)}`,
    );
  }
  if (!target.name.startsWith("$") && !isObjectName(target.name)) {
    fault(reading, at("target", "name"), `rule ${rule.name}: expected a name, found ${JSON.stringify(target.name)}`);
  }
  return {
    what: "runbook",
    runbook: rule.runbook,
    diagnosis: runbook?.kind === "diagnosis",
    params: params?.success ? params.data : {},
    target: {
      namespace: target.namespace ?? "",
      name: target.name,
      ...(target.kind === undefined ? {} : { kind: target.kind }),
      ...(target.from === undefined ? {} : { from: target.from }),
    },
  };
}

/** Leaves out keys whose value is undefined, so that a spread keeps what was there. */
function defined<T extends object>(part: T | undefined): { [K in keyof T]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(part ?? {}).filter(([, value]) => value !== undefined)) as never;
}

function approvalOf(base: ApprovalSettings, part: RuleFile["approval"]): ApprovalSettings {
  return {
    from: part?.from ?? base.from,
    count: part?.count ?? base.count,
    expiresMs: part?.expires ?? base.expiresMs,
  };
}

function verifyOf(base: VerifySettings, part: RuleFile["verify"]): VerifySettings {
  return {
    samples: part?.samples ?? base.samples,
    everyMs: part?.every ?? base.everyMs,
    bakeMs: part?.bake ?? base.bakeMs,
  };
}

function guardsOf(base: GuardSettings, part: RuleFile["guards"]): GuardSettings {
  return {
    freshness: {
      autoMs: part?.freshness?.auto ?? base.freshness.autoMs,
      approvedMs: part?.freshness?.approved ?? base.freshness.approvedMs,
    },
    budget: { ...base.budget, ...defined(part?.budget) },
    storm: {
      workloads: part?.storm?.workloads ?? base.storm.workloads,
      withinMs: part?.storm?.within ?? base.storm.withinMs,
      quietMs: part?.storm?.quiet ?? base.storm.quietMs,
      share: part?.storm?.share ?? base.storm.share,
    },
    change: {
      deployAgeMs: part?.change?.deployAge ?? base.change.deployAgeMs,
      humanWriteMs: part?.change?.humanWrite ?? base.change.humanWriteMs,
    },
    attempts: { ...base.attempts, ...defined(part?.attempts) },
    data: { maxAgeMs: part?.data?.maxAge ?? base.data.maxAgeMs },
    rollback: { healthMs: part?.rollback?.health ?? base.rollback.healthMs },
  };
}
