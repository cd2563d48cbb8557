/**
 * The floor of the way from a webhook to the first write: bare Fastify, two BullMQ hops, and the requests that PROTOCOL asks
 * for before the first effect, as src/execution sends them: what depends on each other one after the other, the rest side by
 * side. Nothing is decided, and nothing is looked at for the plan.
 */
import { Queue, Worker } from "bullmq";
import fastify from "fastify";
import { type Dispatcher, request } from "undici";
import { loadAuth } from "../src/clients/kubernetes-auth.js";
import { systemClock } from "../src/clock.js";
import { endWithParent } from "./end.js";

export interface BarePathInput {
  socket: string;
  kubeconfig: string;
  /** Where the Leases are put. */
  namespace: string;
}

interface Job {
  namespace: string;
  name: string;
}

interface Raw {
  metadata: { resourceVersion: string; uid: string; annotations?: Record<string, string> };
}

endWithParent();
const input = JSON.parse(process.argv[2] ?? "{}") as BarePathInput;
const auth = await loadAuth({ kubeconfig: input.kubeconfig, clock: systemClock });

async function ask(method: Dispatcher.HttpMethod, path: string, body?: unknown, type = "application/json") {
  const { agent, headers } = await auth.present();
  const answer = await request(auth.server + path, {
    dispatcher: agent,
    method,
    headers: { ...headers, "content-type": type },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  const found = (await answer.body.json()) as Raw;
  if (answer.statusCode >= 400 && answer.statusCode !== 404)
    throw new Error(`${method} ${path}: ${answer.statusCode} ${JSON.stringify(found)}`);
  return found;
}

const leases = `/apis/coordination.k8s.io/v1/namespaces/${input.namespace}/leases`;
const lease = (name: string, more: object = {}) => ({
  apiVersion: "coordination.k8s.io/v1",
  kind: "Lease",
  metadata: { name, namespace: input.namespace, ...more },
  spec: { holderIdentity: "bare", leaseDurationSeconds: 35, leaseTransitions: 1 },
});
await ask("POST", leases, lease("bare-budget"));

/** The budget's Lease is one for all: whoever writes it waits for the one before, or they would only conflict. */
let budget: Promise<unknown> = Promise.resolve();
async function reserve(): Promise<void> {
  const turn = budget.then(async () => {
    const found = await ask("GET", `${leases}/bare-budget`);
    await ask(
      "PUT",
      `${leases}/bare-budget`,
      lease("bare-budget", { resourceVersion: found.metadata.resourceVersion }),
    );
  });
  budget = turn.catch(() => undefined);
  await turn;
}

const pathOf = ({ namespace, name }: Job) => `/apis/apps/v1/namespaces/${namespace}/deployments/${name}`;

/** Section 3, "considered": ids are made of the target's UID, and no outcome without the Lease. */
async function considered(job: Job): Promise<void> {
  await ask("GET", pathOf(job));
  await ask("GET", `${leases}/bare-${job.name}`);
}

async function path(job: Job): Promise<void> {
  const target = pathOf(job);
  const { name } = job;
  const mine = `bare-${name}`;
  await ask("GET", `${leases}/${mine}`); // 1: the Lease
  const taken = await ask("POST", leases, lease(mine)); // 3: take it
  // 6: the kill switch, the cooldown in the ledger, the budget, and the target as the guards look at it
  await Promise.all([
    ask("GET", `/api/v1/namespaces/${input.namespace}/configmaps/nightshift-control`),
    ask("GET", `${leases}/${mine}`),
    ask("GET", `${leases}/bare-budget`),
    ask("GET", target),
  ]);
  await reserve(); // section 11: the budget by compare-and-set, before the first intent
  const live = await ask("GET", target); // 6: the target, last
  const open = { resourceVersion: taken.metadata.resourceVersion, annotations: { "nightshift.dev/ledger": "{}" } };
  await ask("PUT", `${leases}/${mine}`, lease(mine, open)); // 7: the intent
  await ask(
    "PATCH", // 8: the effect
    target,
    [
      { op: "replace", path: "/metadata/resourceVersion", value: live.metadata.resourceVersion },
      ...(live.metadata.annotations ? [] : [{ op: "add", path: "/metadata/annotations", value: {} }]),
      { op: "add", path: "/metadata/annotations/nightshift.dev~1last-op", value: "{}" },
      { op: "add", path: "/spec/template/metadata/annotations", value: { restartedAt: new Date().toISOString() } },
    ],
    "application/json-patch+json",
  );
}

const options = { connection: { path: input.socket } as never, prefix: "{bare}" };
const worker = { connection: { path: input.socket, maxRetriesPerRequest: null } as never, prefix: "{bare}" };
const [first, second] = [new Queue<Job>("first", options), new Queue<Job>("second", options)];
const hops = [
  new Worker<Job>(
    "first",
    async (job) => {
      await considered(job.data);
      await second.add("hop", job.data, { removeOnComplete: true });
    },
    { ...worker, concurrency: 16 },
  ),
  new Worker<Job>("second", (job) => path(job.data), { ...worker, concurrency: 8 }),
];
for (const one of [first, second]) one.on("error", console.error);
for (const hop of hops) hop.on("error", console.error);
hops[1]?.on("failed", (_job, error) => console.error(error));
await Promise.all([first.waitUntilReady(), second.waitUntilReady(), ...hops.map((hop) => hop.waitUntilReady())]);
const server = fastify();
server.post("/webhooks/alertmanager", async (incoming, reply) => {
  const { alerts } = incoming.body as { alerts: { labels: Job }[] };
  const labels = alerts[0]?.labels;
  await first.add("hop", { namespace: labels?.namespace ?? "", name: labels?.name ?? "" }, { removeOnComplete: true });
  return reply.code(202).send({ ok: true });
});
process.send?.({ url: await server.listen({ host: "127.0.0.1", port: 0 }) });
