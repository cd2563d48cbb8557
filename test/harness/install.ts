/** Nightshift's own manifest applied to a real API server, and kubeconfigs of the two identities that it makes. */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parse, parseAllDocuments, stringify } from "yaml";
import { type RawApi, rawApi } from "./raw-api.js";
import { OWN } from "./world.js";

export interface Manifested {
  apiVersion: string;
  kind: string;
  metadata: { name: string; namespace?: string };
  // biome-ignore lint/suspicious/noExplicitAny: objects of every kind
  [field: string]: any;
}

export const manifest = (): Manifested[] =>
  objectsOf(readFileSync(fileURLToPath(new URL("../../deploy/nightshift.yaml", import.meta.url)), "utf8"));

export const objectsOf = (yaml: string): Manifested[] =>
  parseAllDocuments(yaml)
    .map((document) => document.toJS() as Manifested | null)
    .filter((object) => object !== null);

/** Where the API server keeps one of the manifest's kinds: its plural is regular in all of them. */
export function pathOf(object: Manifested): string {
  const { apiVersion, kind, metadata } = object;
  const base = apiVersion === "v1" ? "/api/v1" : `/apis/${apiVersion}`;
  const plural = kind.toLowerCase().replace(/y$/, "ie") + "s";
  return `${base}${metadata.namespace === undefined ? "" : `/namespaces/${metadata.namespace}`}/${plural}`;
}

export interface Install {
  /** Asks as the administrator. */
  admin: RawApi;
  /** Kubeconfigs of the two ServiceAccounts, by tokens that the API server made. */
  front: string;
  hands: string;
  close(): Promise<void>;
}

/** Creates everything, unknown fields refused, and opens namespaces as docs/install.md says. Errors: Error with the answer. */
export async function install(
  kubeconfig: string,
  of: { dir: string; namespaces: Record<string, readonly ("a" | "b" | "c")[]> },
): Promise<Install> {
  const admin = rawApi(kubeconfig);
  const create = async (object: Manifested, path = pathOf(object)) => {
    const answer = await admin.ask("POST", `${path}?fieldValidation=Strict`, object);
    if (answer.status >= 300 && answer.status !== 409)
      throw new Error(`${object.kind} ${object.metadata.name}: ${answer.status} ${JSON.stringify(answer.body)}`);
    return answer.body;
  };
  for (const object of manifest()) await create(object);
  for (const [namespace, classes] of Object.entries(of.namespaces)) {
    await create({ apiVersion: "v1", kind: "Namespace", metadata: { name: namespace } });
    await create(binding(namespace, "nightshift-reader", ["nightshift", "nightshift-hands"]));
    for (const risk of classes) await create(binding(namespace, `nightshift-class-${risk}`, ["nightshift-hands"]));
  }
  async function identity(account: string): Promise<string> {
    const made = await create(
      { apiVersion: "authentication.k8s.io/v1", kind: "TokenRequest", metadata: { name: account }, spec: {} },
      `/api/v1/namespaces/${OWN}/serviceaccounts/${account}/token`,
    );
    const config = parse(readFileSync(kubeconfig, "utf8"));
    mkdirSync(of.dir, { recursive: true });
    const file = join(of.dir, `${account}.kubeconfig`);
    writeFileSync(
      file,
      stringify({
        ...config,
        users: config.users.map((one: { name: string }) => ({ name: one.name, user: { token: made.status.token } })),
      }),
      { mode: 0o600 },
    );
    return file;
  }
  const [front, hands] = [await identity("nightshift"), await identity("nightshift-hands")];
  return { admin, front, hands, close: () => admin.close() };
}

function binding(namespace: string, role: string, accounts: readonly string[]): Manifested {
  return {
    apiVersion: "rbac.authorization.k8s.io/v1",
    kind: "RoleBinding",
    metadata: { name: role, namespace },
    roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: role },
    subjects: accounts.map((name) => ({ kind: "ServiceAccount", name, namespace: OWN })),
  };
}
