import { type Kind, kindName, type Raw, resourceName } from "./kinds.js";

/** Errors as the API server words them: a Status object with code, reason, message and details. */

export interface Cause {
  reason: string;
  message: string;
  field: string;
}

/** An answer that is not 2xx. */
export class ApiError extends Error {
  override readonly name = "ApiError";
  readonly code: number;
  readonly status: Raw;
  readonly headers: Record<string, string>;

  constructor(
    code: number,
    body: { reason: string; message: string; details?: Raw },
    headers: Record<string, string> = {},
  ) {
    super(body.message);
    this.code = code;
    this.headers = headers;
    this.status = {
      kind: "Status",
      apiVersion: "v1",
      metadata: {},
      status: "Failure",
      message: body.message,
      reason: body.reason,
      ...(body.details === undefined ? {} : { details: body.details }),
      code,
    };
  }
}

function about(kind: Kind, name: string): Raw {
  return { ...(name === "" ? {} : { name }), ...(kind.group === "" ? {} : { group: kind.group }), kind: kind.plural };
}

export function notFound(kind: Kind, name: string): ApiError {
  return new ApiError(404, {
    reason: "NotFound",
    message: `${resourceName(kind)} "${name}" not found`,
    details: about(kind, name),
  });
}

export function noSuchResource(): ApiError {
  return new ApiError(404, {
    reason: "NotFound",
    message: "the server could not find the requested resource",
    details: {},
  });
}

export function alreadyExists(kind: Kind, name: string): ApiError {
  return new ApiError(409, {
    reason: "AlreadyExists",
    message: `${resourceName(kind)} "${name}" already exists`,
    details: about(kind, name),
  });
}

export function conflict(kind: Kind, name: string, why?: string): ApiError {
  const because = why ?? "the object has been modified; please apply your changes to the latest version and try again";
  const message = `Operation cannot be fulfilled on ${resourceName(kind)} "${name}": ${because}`;
  return new ApiError(409, { reason: "Conflict", message, details: about(kind, name) });
}

/** A delete or an eviction whose preconditions do not hold. */
export function preconditionFailed(kind: Kind, name: string, why: string): ApiError {
  const details = { name, ...(kind.group === "" ? {} : { group: kind.group }), kind: kind.kind };
  return new ApiError(409, {
    reason: "Conflict",
    message: `Operation cannot be fulfilled on ${kindName(kind)} "${name}": ${why}`,
    details,
  });
}

export function badRequest(message: string): ApiError {
  return new ApiError(400, { reason: "BadRequest", message });
}

export function rejected(): ApiError {
  return new ApiError(422, {
    reason: "Invalid",
    message: "the server rejected our request due to an error in our request",
    details: {},
  });
}

export function unsupportedMediaType(): ApiError {
  return new ApiError(415, { reason: "UnsupportedMediaType", message: "415: Unsupported Media Type", details: {} });
}

export function methodNotAllowed(): ApiError {
  return new ApiError(405, {
    reason: "MethodNotAllowed",
    message: "the server does not allow this method on the requested resource",
    details: {},
  });
}

export function unauthorized(): ApiError {
  return new ApiError(401, { reason: "Unauthorized", message: "Unauthorized" });
}

/** `what` is a kind's qualified name; with `of` the details name group and kind apart. */
export function invalid(
  of: { name: string; group: string; kind: string; qualified: string },
  causes: Cause[],
): ApiError {
  const said = causes.map((cause) => `${cause.field}: ${cause.message}`);
  const [only] = said;
  const message = `${of.qualified} "${of.name}" is invalid: ${said.length === 1 ? only : `[${said.join(", ")}]`}`;
  const details = {
    ...(of.name === "" ? {} : { name: of.name }),
    ...(of.group === "" ? {} : { group: of.group }),
    kind: of.kind,
    causes,
  };
  return new ApiError(422, { reason: "Invalid", message, details });
}

export function invalidObject(kind: Kind, name: string, causes: Cause[]): ApiError {
  return invalid({ name, group: kind.group, kind: kind.kind, qualified: kindName(kind) }, causes);
}

export function invalidValue(field: string, value: unknown, why: string): Cause {
  return { reason: "FieldValueInvalid", message: `Invalid value: ${JSON.stringify(value ?? null)}: ${why}`, field };
}

export function required(field: string, why = ""): Cause {
  return { reason: "FieldValueRequired", message: `Required value${why === "" ? "" : `: ${why}`}`, field };
}

/** What a denied identity is told. */
export function forbidden(of: {
  user: string;
  verb: string;
  kind: Kind;
  subresource: string;
  namespace: string;
  name: string;
}): ApiError {
  const { kind, name } = of;
  const resource = of.subresource === "" ? kind.plural : `${kind.plural}/${of.subresource}`;
  const where = of.namespace === "" ? " at the cluster scope" : ` in the namespace "${of.namespace}"`;
  const what = name === "" ? resourceName(kind) : `${resourceName(kind)} "${name}"`;
  const message = `${what} is forbidden: User "${of.user}" cannot ${of.verb} resource "${resource}" in API group "${kind.group}"${where}`;
  return new ApiError(403, { reason: "Forbidden", message, details: about(kind, name) });
}

export function success(kind: Kind, object: Raw): Raw {
  return {
    kind: "Status",
    apiVersion: "v1",
    metadata: {},
    status: "Success",
    details: { ...about(kind, object.metadata.name), uid: object.metadata.uid },
  };
}
