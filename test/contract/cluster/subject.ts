import { execFile } from "node:child_process";
import { existsSync, mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Agent, request } from "undici";
import type { Raw } from "../../../sandbox/kubernetes/kinds.js";
import { type Kubernetes, startKubernetes } from "../../../sandbox/kubernetes/kubernetes.js";
import { planeMissing, startPlane } from "../../cluster/plane.js";
import { rawApi } from "../../harness/raw-api.js";

/** One API server under the contract, spoken to in raw HTTP. */
export interface Subject {
  call(method: string, path: string, body?: unknown, options?: CallOptions): Promise<Answer>;
  /** Lines of a watch until `enough` says so. */
  watch(path: string, enough: (events: WatchEvent[]) => boolean): Promise<WatchEvent[]>;
  /** A token of a ServiceAccount. */
  tokenOf(namespace: string, account: string): Promise<string>;
  /** Accepted patches of a Deployment as the API server itself recorded them; null where it keeps no record for us. */
  patchesOf(namespace: string, name: string): { user: string; template: boolean }[] | null;
  kubectl(...args: string[]): Promise<{ code: number; out: string }>;
  stop(): Promise<void>;
}

export interface CallOptions {
  type?: string;
  /** "" sends none. */
  token?: string;
  agent?: string;
}

export interface Answer {
  status: number;
  body: Raw;
  text: string;
  headers: Record<string, string | string[] | undefined>;
}

export interface WatchEvent {
  type: string;
  object: Raw;
}

export interface Candidate {
  title: string;
  /** Why it cannot be tested here; null when it can. */
  missing: string | null;
  start(): Promise<Subject>;
}

export const candidates: Candidate[] = [
  { title: "the stand-in", missing: null, start: async () => standIn(await startKubernetes({ speed: 5, tickMs: 20 })) },
  { title: "a real control plane", missing: planeMissing(), start: realPlane },
];

export const JSON_PATCH = { type: "application/json-patch+json" };
export const MERGE_PATCH = { type: "application/merge-patch+json" };
export const STRATEGIC_PATCH = { type: "application/strategic-merge-patch+json" };

export function standIn(kubernetes: Kubernetes): Subject {
  const tokens = new Map<string, string>();
  return over({
    server: kubernetes.url,
    agent: new Agent(),
    token: kubernetes.adminToken,
    kubeconfig: written(kubernetes.kubectlConfig()),
    async tokenOf(namespace, account) {
      const user = `system:serviceaccount:${namespace}:${account}`;
      const token = tokens.get(user) ?? `token-of-${namespace}-${account}`;
      if (!tokens.has(user)) kubernetes.addIdentity({ token, user, rules: [] });
      tokens.set(user, token);
      return token;
    },
    patchesOf: (namespace, name) =>
      kubernetes
        .writes()
        .filter(
          (write) =>
            write.verb === "patch" &&
            write.kind === "Deployment" &&
            write.namespace === namespace &&
            write.name === name,
        )
        .map((write) => ({ user: write.user, template: write.templateChanged })),
    stop: () => kubernetes.stop(),
  });
}

async function realPlane(): Promise<Subject> {
  const plane = await startPlane();
  const { server, agent, token } = rawApi(plane.kubeconfig);
  const subject = over({
    server,
    agent,
    token,
    kubeconfig: plane.kubeconfig,
    async tokenOf(namespace, account) {
      const body = { apiVersion: "authentication.k8s.io/v1", kind: "TokenRequest", spec: { audiences: [] } };
      const made = await subject.call("POST", `/api/v1/namespaces/${namespace}/serviceaccounts/${account}/token`, body);
      return made.body.status.token as string;
    },
    patchesOf(namespace, name) {
      if (plane.dir === null) return null;
      return plane
        .auditLog()
        .filter(
          (line) =>
            line.verb === "patch" &&
            line.objectRef?.resource === "deployments" &&
            line.objectRef.subresource === undefined,
        )
        .filter(
          (line) =>
            line.objectRef?.namespace === namespace &&
            line.objectRef.name === name &&
            (line.responseStatus?.code ?? 500) < 300,
        )
        .filter((line) => !line.requestURI.includes("dryRun"))
        .map((line) => ({
          user: line.user?.username ?? "",
          template: JSON.stringify(line.requestObject).includes("template"),
        }));
    },
    stop: () => plane.stop(),
  });
  return subject;
}

interface Way {
  server: string;
  agent: Agent;
  token: string;
  kubeconfig: string;
  tokenOf(namespace: string, account: string): Promise<string>;
  patchesOf: Subject["patchesOf"];
  stop(): Promise<void>;
}

function over(way: Way): Subject {
  const authorization = (token = way.token): Record<string, string> =>
    token === "" ? {} : { authorization: `Bearer ${token}` };
  return {
    tokenOf: way.tokenOf,
    patchesOf: way.patchesOf,
    async call(method, path, body, options = {}) {
      const answer = await request(way.server + path, {
        dispatcher: way.agent,
        method: method as "GET",
        headers: {
          ...authorization(options.token),
          accept: "application/json",
          ...(options.agent === undefined ? {} : { "user-agent": options.agent }),
          ...(body === undefined ? {} : { "content-type": options.type ?? "application/json" }),
        },
        ...(body === undefined ? {} : { body: typeof body === "string" ? body : JSON.stringify(body) }),
      });
      const text = await answer.body.text();
      return { status: answer.statusCode, headers: answer.headers, text, body: asJson(text) };
    },
    async watch(path, enough) {
      const events: WatchEvent[] = [];
      const answer = await request(way.server + path, { dispatcher: way.agent, headers: authorization() });
      let rest = "";
      for await (const chunk of answer.body) {
        const lines = (rest + String(chunk)).split("\n");
        rest = lines.pop() ?? "";
        for (const line of lines) events.push(JSON.parse(line) as WatchEvent);
        if (enough(events)) break;
      }
      return events;
    },
    kubectl: (...args) =>
      new Promise((resolve) => {
        const env = { ...process.env, KUBECONFIG: way.kubeconfig, HOME: mkdtempSync(join(tmpdir(), "kubectl-")) };
        execFile("kubectl", args, { env, timeout: 30_000 }, (error, out, err) => {
          resolve({ code: error === null ? 0 : Number(error.code ?? 1), out: `${out}${err}` });
        });
      }),
    async stop() {
      await way.agent.destroy();
      await way.stop();
    },
  };
}

function asJson(text: string): Raw {
  try {
    return JSON.parse(text) as Raw;
  } catch {
    return {};
  }
}

function written(kubeconfig: string): string {
  const path = join(mkdtempSync(join(tmpdir(), "stand-in-")), "kubeconfig");
  writeFileSync(path, kubeconfig, { mode: 0o600 });
  return path;
}

/** Why kubectl cannot be tried here; null when it can. */
export function kubectlMissing(): string | null {
  const found = (process.env["PATH"] ?? "").split(":").some((dir) => existsSync(join(dir, "kubectl")));
  return found ? null : "there is no kubectl on this machine";
}

/** Asks until the answer is there. Errors: Error that says what never came, and what was seen last. */
export async function until<T>(what: string, probe: () => Promise<T | null | undefined | false>): Promise<T> {
  const deadline = performance.now() + 30_000;
  while (performance.now() < deadline) {
    const found = await probe();
    if (found) return found;
    await new Promise((done) => setTimeout(done, 50));
  }
  throw new Error(`${what}: not within 30 s`);
}

/** A namespace of its own for one test, ready for Pods. */
export async function freshNamespace(subject: Subject): Promise<string> {
  const body = { apiVersion: "v1", kind: "Namespace", metadata: { generateName: "contract-" } };
  const made = await subject.call("POST", "/api/v1/namespaces", body);
  const name = made.body.metadata.name as string;
  await until(
    "the namespace's ServiceAccount",
    async () => (await subject.call("GET", `/api/v1/namespaces/${name}/serviceaccounts/default`)).status === 200,
  );
  return name;
}

export function deployment(name: string, of: { image?: string; replicas?: number; spec?: Raw } = {}): Raw {
  return {
    apiVersion: "apps/v1",
    kind: "Deployment",
    metadata: { name },
    spec: {
      replicas: of.replicas ?? 2,
      selector: { matchLabels: { app: name } },
      template: {
        metadata: { labels: { app: name } },
        spec: { containers: [{ name: "app", image: of.image ?? "app:v1" }] },
      },
      ...of.spec,
    },
  };
}
