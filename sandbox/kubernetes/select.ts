import type { Kind, Raw } from "./kinds.js";
import { badRequest } from "./status.js";

/** Label and field selectors, in the query syntax and in the objects' own. */

export type Matcher = (object: Raw) => boolean;

type Requirement = { key: string; op: "in" | "notin" | "exists" | "absent" | "gt" | "lt"; values: string[] };

const NAME = /^([a-zA-Z0-9]([-a-zA-Z0-9.]*[a-zA-Z0-9])?\/)?[a-zA-Z0-9]([-_.a-zA-Z0-9]*[a-zA-Z0-9])?$/;
const VALUE = /^([a-zA-Z0-9]([-_.a-zA-Z0-9]*[a-zA-Z0-9])?)?$/;

/** Errors: ApiError 400 for a selector that cannot be parsed. */
export function labelMatcher(text: string): Matcher {
  if (text.trim() === "") return () => true;
  const wanted = splitTop(text).map(parseRequirement);
  return (object) => wanted.every((requirement) => holds(requirement, object.metadata.labels ?? {}));
}

/** Commas inside brackets belong to a set. */
function splitTop(text: string): string[] {
  return text.split(/,(?![^(]*\))/).map((part) => part.trim());
}

function parseRequirement(text: string): Requirement {
  const set = /^(\S+)\s+(in|notin)\s*\((.*)\)$/s.exec(text);
  if (set !== null)
    return checked({
      key: set[1] ?? "",
      op: set[2] as "in" | "notin",
      values: (set[3] ?? "").split(",").map((v) => v.trim()),
    });
  const cut = /^(\S+)\s+(in|notin)\b/.exec(text);
  if (cut !== null) throw badRequest("unable to parse requirement: found '' expected: '('");
  const compare = /^([^=!<>\s]+)\s*(==|=|!=|>|<)\s*(.*)$/s.exec(text);
  if (compare !== null) {
    const [, key = "", sign = "", value = ""] = compare;
    const op = sign === "!=" ? "notin" : sign === ">" ? "gt" : sign === "<" ? "lt" : "in";
    return checked({ key, op, values: [value.trim()] });
  }
  if (text.startsWith("!")) return checked({ key: text.slice(1).trim(), op: "absent", values: [] });
  return checked({ key: text, op: "exists", values: [] });
}

function checked(requirement: Requirement): Requirement {
  const { key, values } = requirement;
  if (!NAME.test(key))
    throw badRequest(
      `unable to parse requirement: key: Invalid value: ${JSON.stringify(key)}: name part must consist of alphanumeric characters`,
    );
  const wrong = values.find((value) => !VALUE.test(value) || value.length > 63);
  if (wrong !== undefined) {
    throw badRequest(
      `unable to parse requirement: values[0][${key}]: Invalid value: ${JSON.stringify(wrong)}: a valid label must consist of alphanumeric characters`,
    );
  }
  return requirement;
}

function holds({ key, op, values }: Requirement, labels: Record<string, string>): boolean {
  const value = labels[key];
  switch (op) {
    case "in":
      return value !== undefined && values.includes(value);
    case "notin":
      return value === undefined || !values.includes(value);
    case "exists":
      return value !== undefined;
    case "absent":
      return value === undefined;
    case "gt":
      return value !== undefined && Number(value) > Number(values[0]);
    case "lt":
      return value !== undefined && Number(value) < Number(values[0]);
  }
}

/** A LabelSelector object, as in spec.selector. An empty one matches everything. */
export function selectorMatches(selector: Raw | undefined, labels: Record<string, string>): boolean {
  for (const [key, value] of Object.entries(selector?.matchLabels ?? {})) if (labels[key] !== value) return false;
  for (const { key, operator, values } of (selector?.matchExpressions ?? []) as {
    key: string;
    operator: string;
    values?: string[];
  }[]) {
    const op = ({ In: "in", NotIn: "notin", Exists: "exists", DoesNotExist: "absent" } as const)[operator as "In"];
    if (op === undefined || !holds({ key, op, values: values ?? [] }, labels)) return false;
  }
  return true;
}

/** Errors: ApiError 400 for a field that the kind cannot be selected by. */
export function fieldMatcher(kind: Kind, text: string): Matcher {
  if (text.trim() === "") return () => true;
  const wanted = text.split(",").map((part) => {
    const found = /^([^=!]+)(==|=|!=)(.*)$/.exec(part.trim());
    if (found === null) throw badRequest(`invalid selector: '${part}'; can't understand '${part}'`);
    const [, field = "", sign, value = ""] = found;
    if (field !== "metadata.name" && field !== "metadata.namespace" && !kind.fields.includes(field)) {
      const core = kind.group === "" || kind.group === "apps";
      const known = core && kind.fields.length > 0;
      throw badRequest(
        known
          ? `field label not supported: ${field}`
          : `"${field}" is not a known field selector: only "metadata.name", "metadata.namespace"`,
      );
    }
    return { field, equal: sign !== "!=", value };
  });
  return (object) => wanted.every(({ field, equal, value }) => (valueAt(object, field) === value) === equal);
}

function valueAt(object: Raw, field: string): string {
  if (field === "source") return String(object.source?.component ?? object.reportingComponent ?? "");
  let here: unknown = object;
  for (const part of field.split(".")) here = (here as Raw | undefined)?.[part];
  return here === undefined || here === null ? "" : String(here);
}
