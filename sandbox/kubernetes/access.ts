import { kindNamed, type Raw } from "./kinds.js";
import type { Store } from "./store.js";

/** Who is asking and what they may do: rules handed in beside the roles and bindings that are stored. */

export interface Rule {
  verbs: readonly string[];
  groups: readonly string[];
  /** Plurals; a subresource as "deployments/scale"; "*" for all. */
  resources: readonly string[];
  /** Absent: all namespaces and the cluster scope. */
  namespaces?: readonly string[];
  /** Absent: every name. */
  names?: readonly string[];
}

export interface Identity {
  token: string;
  /** "system:serviceaccount:nightshift:nightshift-writer" for a ServiceAccount. */
  user: string;
  groups?: readonly string[];
  rules: readonly Rule[];
}

export interface Question {
  verb: string;
  group: string;
  resource: string;
  subresource: string;
  namespace: string;
  name: string;
}

export interface Person {
  user: string;
  groups: readonly string[];
}

export interface Access {
  /** Null for a token that is not known. */
  identify(token: string): Person | null;
  allowed(person: Person, question: Question): boolean;
  /** Adds rules to an identity. Errors: Error for an unknown user. */
  grant(user: string, rules: readonly Rule[]): void;
  /** Takes every rule of an identity away; the identity stays known. */
  revoke(user: string): void;
  add(identity: Identity): void;
}

export const ANYTHING: Rule = { verbs: ["*"], groups: ["*"], resources: ["*"] };

export function createAccess(store: Store, identities: readonly Identity[]): Access {
  const byToken = new Map<string, Identity>();
  const rules = new Map<string, Rule[]>();

  function add(identity: Identity): void {
    byToken.set(identity.token, identity);
    rules.set(identity.user, [...(rules.get(identity.user) ?? []), ...identity.rules]);
  }
  for (const identity of identities) add(identity);

  return {
    add,
    identify(token) {
      const found = byToken.get(token);
      return found === undefined ? null : personOf(found.user, found.groups ?? []);
    },
    allowed(person, question) {
      if (person.groups.includes("system:masters")) return true;
      const given = rules.get(person.user) ?? [];
      return given.some((rule) => covers(rule, question)) || bound(store, person, question);
    },
    grant(user, more) {
      const present = rules.get(user);
      if (present === undefined)
        throw new Error(`no identity is called ${user}; known: ${[...rules.keys()].join(", ")}`);
      rules.set(user, [...present, ...more]);
    },
    revoke(user) {
      rules.set(user, []);
    },
  };
}

/** Groups that every user, and every ServiceAccount, belongs to. */
export function personOf(user: string, groups: readonly string[]): Person {
  const account = /^system:serviceaccount:([^:]+):([^:]+)$/.exec(user);
  const implied = account === null ? [] : ["system:serviceaccounts", `system:serviceaccounts:${account[1]}`];
  return { user, groups: [...groups, ...implied, "system:authenticated"] };
}

function covers(rule: Rule, q: Question): boolean {
  const resource = q.subresource === "" ? q.resource : `${q.resource}/${q.subresource}`;
  const has = (list: readonly string[], value: string) => list.includes("*") || list.includes(value);
  return (
    has(rule.verbs, q.verb) &&
    has(rule.groups, q.group) &&
    (has(rule.resources, resource) || (q.subresource !== "" && rule.resources.includes(`*/${q.subresource}`))) &&
    (rule.namespaces === undefined || has(rule.namespaces, q.namespace)) &&
    (rule.names === undefined || rule.names.length === 0 || (q.name !== "" && rule.names.includes(q.name)))
  );
}

/** Roles and bindings as they are stored now. */
function bound(store: Store, person: Person, q: Question): boolean {
  const bindings = [
    ...store.list(kindNamed("ClusterRoleBinding")),
    ...(q.namespace === "" ? [] : store.list(kindNamed("RoleBinding"), q.namespace)),
  ];
  return bindings.some((binding) => {
    if (!((binding.subjects ?? []) as Raw[]).some((subject) => isSubject(subject, person, binding.metadata.namespace)))
      return false;
    const cluster = binding.roleRef?.kind === "ClusterRole";
    const role = store.get(
      kindNamed(cluster ? "ClusterRole" : "Role"),
      cluster ? "" : binding.metadata.namespace,
      binding.roleRef?.name ?? "",
    );
    return ((role?.rules ?? []) as Raw[]).some((rule) =>
      covers(
        {
          verbs: rule.verbs ?? [],
          groups: rule.apiGroups ?? [],
          resources: rule.resources ?? [],
          names: rule.resourceNames ?? [],
        },
        q,
      ),
    );
  });
}

function isSubject(subject: Raw, person: Person, home: string | undefined): boolean {
  switch (subject.kind) {
    case "User":
      return subject.name === person.user;
    case "Group":
      return person.groups.includes(subject.name);
    case "ServiceAccount":
      return person.user === `system:serviceaccount:${subject.namespace ?? home}:${subject.name}`;
    default:
      return false;
  }
}
