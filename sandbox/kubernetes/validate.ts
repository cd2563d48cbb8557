import { isDeepStrictEqual } from "node:util";
import { apiVersionOf, type Kind, type Raw } from "./kinds.js";
import { selectorMatches } from "./select.js";
import { ApiError, badRequest, type Cause, invalidObject, invalidValue, required } from "./status.js";

/** What the API server refuses, for the fields that tests and the demo write. */

const NAME = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;
const NAME_RULE =
  "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an " +
  "alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";

/** Fields of a fixed type by kind: a value of another type cannot even be decoded. */
const integers: Record<string, string[]> = {
  Deployment: ["replicas", "minReadySeconds", "revisionHistoryLimit", "progressDeadlineSeconds"],
  ReplicaSet: ["replicas", "minReadySeconds"],
  StatefulSet: ["replicas"],
  HorizontalPodAutoscaler: ["minReplicas", "maxReplicas"],
  Lease: ["leaseDurationSeconds", "leaseTransitions"],
};

/**
 * Errors: ApiError for values that cannot be decoded: 422 on field `patch` when they came by a patch, else 400.
 */
export function checkTypes(kind: Kind, object: Raw, byPatch: boolean): void {
  const wrong = firstWrongType(kind, object);
  if (wrong === null) return;
  if (!byPatch)
    throw badRequest(
      `${kind.kind} in version ${JSON.stringify(kind.version)} cannot be handled as a ${kind.kind}: ${wrong}`,
    );
  const message = `Invalid value: ${JSON.stringify(JSON.stringify(object))}: ${wrong}`;
  const details = { causes: [{ reason: "FieldValueInvalid", message, field: "patch" }] };
  throw new ApiError(422, { reason: "Invalid", message: ` "" is invalid: patch: ${message}`, details });
}

function firstWrongType(kind: Kind, object: Raw): string | null {
  for (const map of ["labels", "annotations"]) {
    const values = object.metadata?.[map];
    if (values === undefined || values === null) continue;
    if (typeof values !== "object" || Array.isArray(values))
      return `json: cannot unmarshal ${goType(values)} into Go struct field ObjectMeta.metadata.${map} of type map[string]string`;
    for (const value of Object.values(values)) {
      if (typeof value !== "string")
        return `json: cannot unmarshal ${goType(value)} into Go struct field ObjectMeta.metadata.${map} of type string`;
    }
  }
  for (const field of integers[kind.kind] ?? []) {
    const value = object.spec?.[field];
    if (value === undefined || value === null) continue;
    if (!Number.isInteger(value))
      return `json: cannot unmarshal ${goType(value)} into Go struct field ${kind.kind}Spec.spec.${field} of type int32`;
  }
  const containers = object.spec?.template?.spec?.containers;
  if (containers !== undefined && containers !== null && !Array.isArray(containers)) {
    return `json: cannot unmarshal ${goType(containers)} into Go struct field PodSpec.spec.template.spec.containers of type []v1.Container`;
  }
  return null;
}

function goType(value: unknown): string {
  if (Array.isArray(value)) return "array";
  return typeof value === "boolean" ? "bool" : typeof value;
}

/** Errors: ApiError 400 when the body is of another kind than the path. */
export function checkKind(kind: Kind, body: Raw): void {
  if (body === null || typeof body !== "object" || Array.isArray(body))
    throw badRequest("the object provided is unrecognized: it is no object");
  if (body.kind !== undefined && body.kind !== kind.kind) {
    throw badRequest(
      `${body.kind} in version ${JSON.stringify(body.apiVersion)} cannot be handled as a ${kind.kind}: converting (${body.apiVersion}.${body.kind}) to (${kind.group}.${kind.kind}): unknown conversion`,
    );
  }
  if (body.apiVersion !== undefined && body.apiVersion !== apiVersionOf(kind)) {
    throw badRequest(
      `the API version in the data (${body.apiVersion}) does not match the expected API version (${apiVersionOf(kind)})`,
    );
  }
}

/** Errors: ApiError 422 that lists every fault. */
export function validate(kind: Kind, object: Raw, previous: Raw | null): void {
  const name: string = object.metadata.name ?? "";
  const causes: Cause[] = [];
  if (name === "") causes.push(required("metadata.name", "name or generateName is required"));
  else if (!NAME.test(name) && kind.group !== "rbac.authorization.k8s.io")
    causes.push(invalidValue("metadata.name", name, NAME_RULE));
  if (
    kind.kind === "Deployment" ||
    kind.kind === "ReplicaSet" ||
    kind.kind === "StatefulSet" ||
    kind.kind === "DaemonSet"
  )
    workload(kind, object, { previous, causes });
  if (kind.kind === "Pod") pod(object, previous, causes);
  if (
    kind.kind === "Lease" &&
    object.spec?.leaseDurationSeconds !== undefined &&
    object.spec.leaseDurationSeconds <= 0
  ) {
    causes.push(invalidValue("spec.leaseDurationSeconds", object.spec.leaseDurationSeconds, "must be greater than 0"));
  }
  if (kind.kind === "Lease" && object.spec?.leaseTransitions < 0) {
    causes.push(
      invalidValue("spec.leaseTransitions", object.spec.leaseTransitions, "must be greater than or equal to 0"),
    );
  }
  if (kind.kind === "HorizontalPodAutoscaler") autoscaler(object.spec ?? {}, causes);
  if (causes.length > 0) throw invalidObject(kind, name, causes);
}

function workload(kind: Kind, object: Raw, to: { previous: Raw | null; causes: Cause[] }): void {
  const { causes, previous } = to;
  const spec = object.spec ?? {};
  for (const field of ["replicas", "minReadySeconds", "revisionHistoryLimit", "progressDeadlineSeconds"]) {
    if (spec[field] < 0) causes.push(invalidValue(`spec.${field}`, spec[field], "must be greater than or equal to 0"));
  }
  if (previous !== null && !isDeepStrictEqual(previous.spec.selector, spec.selector)) {
    const labels = spec.template?.metadata?.labels ?? null;
    if (spec.selector && !selectorMatches(spec.selector, labels ?? {})) {
      causes.push(invalidValue("spec.template.metadata.labels", labels, "`selector` does not match template `labels`"));
    }
    causes.push(invalidValue("spec.selector", spec.selector ?? null, "field is immutable"));
  } else if (spec.selector === undefined || spec.selector === null) {
    causes.push(required("spec.selector"));
    causes.push(
      invalidValue(
        "spec.template.metadata.labels",
        spec.template?.metadata?.labels ?? null,
        "`selector` does not match template `labels`",
      ),
    );
  } else if (
    Object.keys(spec.selector.matchLabels ?? {}).length === 0 &&
    (spec.selector.matchExpressions ?? []).length === 0
  ) {
    causes.push(invalidValue("spec.selector", {}, `empty selector is invalid for ${kind.singular}`));
  } else if (!selectorMatches(spec.selector, spec.template?.metadata?.labels ?? {})) {
    const labels = spec.template?.metadata?.labels ?? null;
    causes.push(invalidValue("spec.template.metadata.labels", labels, "`selector` does not match template `labels`"));
  }
  containers(spec.template?.spec?.containers, "spec.template.spec.containers", causes);
}

function containers(list: Raw[] | undefined, field: string, causes: Cause[]): void {
  if (list === undefined || list === null || list.length === 0) {
    causes.push(required(field));
    return;
  }
  for (const [index, container] of list.entries()) {
    if (!container?.name) causes.push(required(`${field}[${index}].name`));
    if (!container?.image) causes.push(required(`${field}[${index}].image`));
  }
}

/** Beside its images almost nothing in a Pod's spec may change. */
function pod(object: Raw, previous: Raw | null, causes: Cause[]): void {
  containers(object.spec?.containers, "spec.containers", causes);
  if (previous === null) return;
  const still = (spec: Raw) => ({
    ...spec,
    tolerations: null,
    activeDeadlineSeconds: null,
    nodeName: null,
    containers: ((spec.containers ?? []) as Raw[]).map((container) => ({ ...container, image: null })),
  });
  if (!isDeepStrictEqual(still(object.spec), still(previous.spec))) {
    causes.push({
      reason: "FieldValueForbidden",
      message: "Forbidden: pod updates may not change fields other than `spec.containers[*].image`",
      field: "spec",
    });
  }
}

function autoscaler(spec: Raw, causes: Cause[]): void {
  if (spec.maxReplicas === undefined) causes.push(required("spec.maxReplicas"));
  else if (spec.maxReplicas < 1)
    causes.push(invalidValue("spec.maxReplicas", spec.maxReplicas, "must be greater than 0"));
  if (spec.minReplicas < 1)
    causes.push(invalidValue("spec.minReplicas", spec.minReplicas, "must be greater than or equal to 1"));
  if (spec.maxReplicas < spec.minReplicas) {
    causes.push(invalidValue("spec.maxReplicas", spec.maxReplicas, "must be greater than or equal to `minReplicas`"));
  }
}
