import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { systemClock } from "../../src/clock.js";
import { NewerError } from "../../src/errors.js";
import { silentLog } from "../../src/log.js";
import { createMetrics } from "../../src/metrics.js";
import { createConsumer, createProducer, type Producer } from "../../src/queue/queues.js";
import { startRedis, until } from "../harness/processes.js";

/** BullMQ on real Redis: what becomes of a job whose handler says no. */
describe("the queue", () => {
  let redis: Awaited<ReturnType<typeof startRedis>>;
  let producer: Producer;
  const metrics = createMetrics({ guards: [], runbooks: [], outcomes: [], reasons: [] });

  beforeAll(async () => {
    redis = await startRedis();
    producer = createProducer({ url: redis.url, prefix: "{queue}" }, systemClock, () => undefined);
  });

  afterAll(async () => {
    await producer.close();
    await redis.stop();
  });

  const counted = async (result: string) => {
    const { values } = await metrics.jobs.get();
    return values.find(({ labels }) => labels.queue === "alerts" && labels.result === result)?.value ?? 0;
  };

  it("leaves a job of its own format for the newer version when what it is about was written by that: no attempt is used, nothing fails (I7)", async () => {
    const asked: string[] = [];
    const consumer = createConsumer(
      "alerts",
      async (job) => {
        asked.push(job.kind);
        throw new NewerError("ERR_NEWER", "record inc-1 is of version 2");
      },
      { url: redis.url, prefix: "{queue}", concurrency: 1, log: silentLog, metrics },
    );
    await consumer.ready();
    try {
      await producer.add({ v: 1, kind: "consider", incident: "inc-1" });
      await until("it to be met", async () => asked.length > 0);
      await until("it to be left", async () => (await counted("newer")) === 1);

      expect([await counted("retried"), await counted("failed")]).toEqual([0, 0]);
      // It is put back for whoever can, and comes again.
      await until("it to come again", async () => asked.length > 1, 20_000);
      expect(await producer.depth("alerts")).toMatchObject({ jobs: 1 });
    } finally {
      await consumer.stop();
    }
  }, 60_000);
});
