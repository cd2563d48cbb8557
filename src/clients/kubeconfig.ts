/** Credentials of the plain kinds, read without the official client: loading that costs 85 MiB and most of a second. */
import { existsSync, readFileSync } from "node:fs";
import { isIPv6 } from "node:net";
import { homedir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { parse } from "yaml";
import { z } from "zod";

/** Where the API server is; `read` says who we are, anew at every call. */
export interface CredentialSource {
  server: string;
  context: string;
  namespace: string;
  /** Errors: whatever reading a file throws. */
  read(): Promise<{ headers: Record<string, string>; tls: Record<string, unknown> }>;
}

const text = z.string().min(1);

/** Exactly what is understood here. A key more (exec, auth-provider, impersonation, proxy) is the official client's. */
const cluster = z.strictObject({
  server: text,
  "certificate-authority": text.optional(),
  "certificate-authority-data": text.optional(),
  "insecure-skip-tls-verify": z.boolean().optional(),
});
const user = z.strictObject({
  token: text.optional(),
  "client-certificate": text.optional(),
  "client-certificate-data": text.optional(),
  "client-key": text.optional(),
  "client-key-data": text.optional(),
});
const context = z.strictObject({ cluster: text, user: text, namespace: z.string().optional() });
const file = z.object({
  "current-context": text,
  clusters: z.array(z.object({ name: text, cluster: z.unknown() })),
  users: z.array(z.object({ name: text, user: z.unknown() })),
  contexts: z.array(z.object({ name: text, context: z.unknown() })),
});

const ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount";

export interface CredentialQuestion {
  kubeconfig: string | null;
  context?: string;
  /** Where the pod's ServiceAccount is mounted. */
  account?: string;
  env?: Readonly<Record<string, string | undefined>>;
}

/** A source for a token or a client certificate, in a file or in the pod; null for everything else, and for every fault. */
export function plainCredentials(question: CredentialQuestion): CredentialSource | null {
  if (question.kubeconfig !== null) return ofFile(question.kubeconfig, question.context);
  const env = question.env ?? process.env;
  // The order in which every client looks: KUBECONFIG, the home directory, the pod.
  if (env["KUBECONFIG"]) return null;
  if (existsSync(join(env["HOME"] ?? homedir(), ".kube", "config"))) return null;
  return question.context === undefined ? ofPod(question.account ?? ACCOUNT, env) : null;
}

function ofPod(account: string, env: Readonly<Record<string, string | undefined>>): CredentialSource | null {
  const host = env["KUBERNETES_SERVICE_HOST"] ?? "";
  const port = env["KUBERNETES_SERVICE_PORT"] ?? "";
  const at = (name: string) => join(account, name);
  // Ports that mean plain HTTP to the official client are left to it.
  if (host === "" || !/^\d+$/.test(port) || ["80", "8080", "8001"].includes(port)) return null;
  if (!existsSync(at("token")) || !existsSync(at("ca.crt"))) return null;
  return {
    server: `https://${isIPv6(host) ? `[${host}]` : host}:${port}`,
    context: "inClusterContext",
    namespace: existsSync(at("namespace")) ? readFileSync(at("namespace"), "utf8").trim() : "",
    read: async () => ({
      headers: { Authorization: `Bearer ${readFileSync(at("token"), "utf8").trim()}` },
      tls: { ca: readFileSync(at("ca.crt")) },
    }),
  };
}

function ofFile(path: string, wanted: string | undefined): CredentialSource | null {
  const found = read(path, wanted);
  if (found === null) return null;
  const { name, cluster: at, namespace } = found;
  let last = found;
  return {
    server: at.server,
    context: name,
    namespace,
    async read() {
      // The file may be written anew. Half of it, or another server's, is no news of who we are at this one.
      const anew = read(path, name);
      if (anew !== null && anew.cluster.server === at.server) last = anew;
      return { headers: last.headers, tls: tlsOf(path, last) };
    },
  };
}

interface Found {
  name: string;
  namespace: string;
  cluster: z.infer<typeof cluster>;
  user: z.infer<typeof user>;
  headers: Record<string, string>;
}

function read(path: string, wanted: string | undefined): Found | null {
  try {
    const whole = file.parse(parse(readFileSync(path, "utf8")));
    const name = wanted ?? whole["current-context"];
    const of = context.parse(only(whole.contexts, name).context);
    const who = user.parse(only(whole.users, of.user).user);
    return {
      name,
      namespace: of.namespace ?? "",
      cluster: cluster.parse(only(whole.clusters, of.cluster).cluster),
      user: who,
      headers: who.token === undefined ? {} : { Authorization: `Bearer ${who.token}` },
    };
  } catch {
    // Whatever is wrong with it, the official client says it.
    return null;
  }
}

/** The one of that name; two of a name are a fault. */
function only<T extends { name: string }>(all: readonly T[], name: string): T {
  const [one, twin] = all.filter((entry) => entry.name === name);
  if (one === undefined || twin !== undefined) throw new Error(`not one ${name}`);
  return one;
}

function tlsOf(path: string, of: Found): Record<string, unknown> {
  const bytes = (data: string | undefined, name: string | undefined) => {
    if (data !== undefined) return Buffer.from(data, "base64");
    return name === undefined ? undefined : readFileSync(resolve(dirname(path), name));
  };
  return {
    ca: bytes(of.cluster["certificate-authority-data"], of.cluster["certificate-authority"]),
    cert: bytes(of.user["client-certificate-data"], of.user["client-certificate"]),
    key: bytes(of.user["client-key-data"], of.user["client-key"]),
    rejectUnauthorized: of.cluster["insecure-skip-tls-verify"] !== true,
  };
}
