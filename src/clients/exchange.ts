import type { Dispatcher } from "undici";

/** No whole answer came within the deadline; whether the request was carried out is not known. */
export class LateError extends Error {
  override readonly name = "LateError";
}

export interface Exchange {
  dispatcher: Dispatcher;
  origin: string;
  /** With its query. */
  path: string;
  method: Dispatcher.HttpMethod;
  headers: Record<string, string>;
  body?: string | undefined;
  /** From now to the last byte of the answer. */
  timeoutMs: number;
}

export interface Exchanged {
  status: number;
  headers: Record<string, string | string[] | undefined>;
  text: string;
}

/**
 * Sends one request and reads the whole answer. What waits for a free connection past its deadline is never sent. An incident
 * makes dozens of these: undici's `request` makes a stream of every answer, which costs as much again as all the rest.
 * Errors: LateError, or what undici says of the connection.
 */
export function exchange(of: Exchange): Promise<Exchanged> {
  return new Promise((resolve, reject) => {
    let late: LateError | null = null;
    let abort: ((reason: Error) => void) | null = null;
    let status = 0;
    let headers: Exchanged["headers"] = {};
    const chunks: Buffer[] = [];
    const timer = setTimeout(() => {
      late = new LateError(`no answer within ${of.timeoutMs / 1000} s`);
      reject(late);
      abort?.(late);
    }, of.timeoutMs);
    const failed = (error: Error) => {
      clearTimeout(timer);
      reject(error);
    };
    const { dispatcher, origin, path, method, headers: sent, body = null } = of;
    try {
      dispatcher.dispatch(
        { origin, path, method, headers: sent, body },
        {
          onRequestStart(controller) {
            if (late !== null) controller.abort(late);
            abort = (reason) => controller.abort(reason);
          },
          onResponseStart(_controller, code, found) {
            status = code;
            headers = found;
          },
          onResponseData(_controller, chunk) {
            chunks.push(chunk);
          },
          onResponseEnd() {
            clearTimeout(timer);
            const [first] = chunks;
            const whole = first !== undefined && chunks.length === 1 ? first : Buffer.concat(chunks);
            resolve({ status, headers, text: whole.toString("utf8") });
          },
          onResponseError: (_controller, error) => failed(error),
        },
      );
    } catch (error) {
      failed(error as Error);
    }
  });
}
