/** The cluster of one's KUBECONFIG as a story's ground: two namespaces that are made for it and removed afterwards. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { ObjectRef } from "../../src/cluster.js";
import { createKubernetes } from "../../src/clients/kubernetes.js";
import { randomHex, systemClock } from "../../src/clock.js";
import { messageOf } from "../../src/errors.js";
import type { Raw } from "../kubernetes/kinds.js";
import { apiVersionOf, kindNamed } from "../kubernetes/kinds.js";
import { until } from "../processes.js";
import type { Cleanup } from "./cleanup.js";
import { openClusterApi } from "./cluster-api.js";
import { demoGrant, demoNamespace, demoWorkload, demoWriter, LABEL, WRITER } from "./cluster-workload.js";
import { needCluster } from "./cluster-rights.js";
import type { Ground } from "./ground.js";
import { NAME } from "./release.js";

const REVISION = "deployment.kubernetes.io/revision";
const GONE_MS = 90_000;
/** Not for the processes of the demo: they are told their own. */
const OURS = /^(NIGHTSHIFT|SLACK|PAGERDUTY|PROMETHEUS|ALERTMANAGER|REDIS|DEMO)_|^KUBECONFIG_HANDS$/;

export interface ClusterOptions {
  /** An image that the nodes can pull and that has `sh`; the bad release is the same with a tag that is not there. */
  image: string;
  /** Told what takes a while after the screen has closed. */
  tell(line: string): void;
  /** Sentences about what could not be removed are added here. */
  left: string[];
  /** Asked once, before anything is made. */
  confirm(says: string): Promise<void>;
}

/** Errors: TerminalError where the cluster does not answer or rights lack; nothing was made then. */
export async function startClusterGround(dir: string, options: ClusterOptions, cleanup: Cleanup): Promise<Ground> {
  const kubeconfig = process.env["KUBECONFIG"] || null;
  const api = await openClusterApi(kubeconfig);
  cleanup.push(() => api.close());
  const client = await createKubernetes({ kubeconfig, clock: systemClock, fieldManager: "kubectl-edit" });
  cleanup.push(() => client.close());
  const namespace = `nightshift-demo-${randomHex(3)}`;
  const own = `${namespace}-own`;
  await needCluster(client, { target: namespace, own });
  const where = `context ${client.context} (${client.server})`;
  await options.confirm(`make the namespaces ${namespace} and ${own} on ${where}, and remove them afterwards`);
  for (const name of [own, namespace]) await makeNamespace(name);
  for (const object of [...demoWriter(own), ...demoWorkload(namespace, options.image)]) await api.create(object);
  const hands = join(dir, "hands.kubeconfig");
  writeFileSync(hands, await api.kubeconfigFor(await api.token(own, WRITER)), { mode: 0o600 });

  /** The removal is kept before the request goes out, so that an interrupt meanwhile leaves nothing behind. */
  async function makeNamespace(name: string): Promise<void> {
    if (cleanup.ended) throw new Error("interrupted");
    const made = api.create(demoNamespace(name));
    cleanup.push(async () => {
      const uid = await made.then(
        (object) => String(object["metadata"].uid),
        () => null,
      );
      if (uid !== null) await removeNamespace(name, uid);
    });
    await made;
  }

  /** Exactly the namespace that was made, by its UID. */
  async function removeNamespace(name: string, uid: string): Promise<void> {
    try {
      options.tell(`Removing namespace ${name} …`);
      await api.remove("Namespace", { namespace: "", name, uid });
      const gone = async () => (await client.get(refOf("Namespace", "", name))) === null;
      await until(`namespace ${name} to go`, gone, GONE_MS);
    } catch (error) {
      options.left.push(
        `namespace ${name} may still be there: ${messageOf(error)}. Remove it: kubectl delete namespace ${name} (all that the demo ever left: kubectl get namespaces -l ${LABEL})`,
      );
    }
  }

  const get = (kind: string, name: string, of: string = namespace) => client.get(refOf(kind, of, name));
  let shipped: number | null = null;
  const revision = async () => Number((await get("Deployment", NAME))?.metadata.annotations?.[REVISION] ?? 0);

  return {
    real: true,
    says: `Real: the cluster of ${where}, Redis. Namespaces ${namespace} and ${own} (Nightshift's own) were made for this and go afterwards. Stand-ins: Slack, PagerDuty, and Prometheus, which counts the pods of the bad release. Nightshift's processes run on this machine: the front reads with your kubeconfig's identity, the hands write as ServiceAccount ${WRITER}, which may nothing here yet.`,
    cluster: "demo",
    namespace,
    own,
    release: { good: options.image, bad: `${options.image.replace(/:[^:/]*$/, "")}:crash` },
    patience: 6,
    env: {
      ...Object.fromEntries(
        Object.entries(process.env).flatMap(([name, value]) =>
          value === undefined || OURS.test(name) ? [] : [[name, value]],
        ),
      ),
      KUBECONFIG_HANDS: hands,
    },
    grantBy: `kubectl -n ${namespace} create rolebinding nightshift-class-a --role=nightshift-class-a --serviceaccount=${own}:${WRITER}`,
    async grant() {
      for (const object of demoGrant(namespace, own)) await api.create(object);
    },
    get: async (kind, name, of) => ((await get(kind, name, of)) ?? undefined) as Raw | undefined,
    list: (kind, of = namespace) =>
      client.list({ apiVersion: apiVersionOf(kindNamed(kind)), kind, namespace: of }) as Promise<Raw[]>,
    async setImage({ name, image }) {
      // Creation times have whole seconds: the release that comes must be younger by one.
      await new Promise((done) => setTimeout(done, 1100));
      const before = await revision();
      await client.jsonPatch(refOf("Deployment", namespace, name), [
        { op: "replace", path: "/spec/template/spec/containers/0/image", value: image },
      ]);
      shipped = await until("the release's revision", async () => {
        const now = await revision();
        return now > before ? now : null;
      });
    },
    async setData(name, data) {
      await client.mergePatch(refOf("ConfigMap", namespace, name), { data });
    },
    // Every write of the template that changes it makes a revision: what came after the release's is Nightshift's.
    async effects() {
      const count = shipped === null ? 0 : Math.max(0, (await revision()) - shipped);
      return Array.from({ length: count }, () => ({
        verb: "patch",
        kind: "Deployment",
        namespace,
        name: NAME,
        subresource: "",
      }));
    },
  };
}

function refOf(kind: string, namespace: string, name: string): ObjectRef {
  return { apiVersion: apiVersionOf(kindNamed(kind)), kind, namespace, name };
}
