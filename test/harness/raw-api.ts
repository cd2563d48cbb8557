/** An API server spoken to in raw HTTP with a kubeconfig's administrator: for what the product's own client has no call for. */
import { readFileSync } from "node:fs";
import { Agent, request } from "undici";
import { parse } from "yaml";

interface Entry {
  [field: string]: string | undefined;
}

export interface RawAnswer {
  status: number;
  /** The parsed body; its text where it is no JSON. */
  // biome-ignore lint/suspicious/noExplicitAny: whatever the API server answers
  body: any;
}

export interface WatchEvent {
  type: string;
  // biome-ignore lint/suspicious/noExplicitAny: whatever the API server sends
  object: any;
}

export interface RawApi {
  server: string;
  agent: Agent;
  token: string;
  /** Sends a merge patch; resolves with the status code. */
  mergePatch(path: string, body: unknown): Promise<number>;
  /** One request of any kind, as whoever the kubeconfig's token or certificate names. */
  ask(method: "GET" | "POST" | "PUT" | "PATCH" | "DELETE", path: string, body?: unknown): Promise<RawAnswer>;
  /** Events after that version, until the API server ends the watch or `signal` says so. */
  watch(path: string, resourceVersion: string, signal: AbortSignal): AsyncGenerator<WatchEvent>;
  close(): Promise<void>;
}

export function rawApi(kubeconfig: string): RawApi {
  const config = parse(readFileSync(kubeconfig, "utf8")) as {
    clusters: { cluster: Entry }[];
    users: { user: Entry }[];
  };
  const cluster = config.clusters[0]?.cluster ?? {};
  const user = config.users[0]?.user ?? {};
  const read = (of: Entry, name: string) => {
    const data = of[`${name}-data`];
    if (data !== undefined) return Buffer.from(data, "base64").toString();
    const file = of[name];
    return file === undefined ? undefined : readFileSync(file, "utf8");
  };
  const tls = {
    ca: read(cluster, "certificate-authority"),
    cert: read(user, "client-certificate"),
    key: read(user, "client-key"),
  };
  const connect = Object.fromEntries(Object.entries(tls).filter(([, value]) => value !== undefined));
  const server = cluster["server"] ?? "";
  const agent = new Agent({ connect });
  const token = user["token"] ?? "";

  async function ask(method: "GET" | "POST" | "PUT" | "PATCH" | "DELETE", path: string, body?: unknown) {
    const answer = await request(server + path, {
      dispatcher: agent,
      method,
      headers: {
        "content-type": method === "PATCH" ? "application/merge-patch+json" : "application/json",
        ...(token === "" ? {} : { authorization: `Bearer ${token}` }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const text = await answer.body.text();
    try {
      return { status: answer.statusCode, body: JSON.parse(text) };
    } catch {
      return { status: answer.statusCode, body: text };
    }
  }

  async function* watch(path: string, resourceVersion: string, signal: AbortSignal): AsyncGenerator<WatchEvent> {
    const answer = await request(
      `${server}${path}?watch=1&allowWatchBookmarks=true&resourceVersion=${resourceVersion}`,
      {
        dispatcher: agent,
        headers: token === "" ? {} : { authorization: `Bearer ${token}` },
        signal,
        bodyTimeout: 0,
      },
    );
    let left = "";
    for await (const chunk of answer.body.setEncoding("utf8") as AsyncIterable<string>) {
      const lines = (left + chunk).split("\n");
      left = lines.pop() ?? "";
      for (const line of lines) if (line !== "") yield JSON.parse(line) as WatchEvent;
    }
  }

  return {
    server,
    agent,
    token,
    mergePatch: async (path, body) => (await ask("PATCH", path, body)).status,
    ask,
    watch,
    close: () => agent.destroy(),
  };
}
