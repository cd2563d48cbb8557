import { userInfo } from "node:os";
import { embeddedSecret } from "../app/secret.js";
import type { Answer } from "../approval/click.js";
import { sealButton } from "../approval/seal.js";
import { systemClock } from "../clock.js";
import { TerminalError } from "../errors.js";
import { JOB_VERSION } from "../queue/jobs.js";
import { createProducer } from "../queue/queues.js";
import { connect, find } from "./connect.js";
import { story } from "./incidents.js";

/**
 * `nightshift run INCIDENT --approve`: a person's answer by the command line. It goes through the same gate as a click:
 * the policy must name `cli:*` among the approvers, and NIGHTSHIFT_SECRET must be the running install's.
 */
export async function run(options: { incident: string; answer: Answer | null; json: boolean }): Promise<number> {
  const connection = await connect();
  try {
    const { config } = connection;
    const record = await find(connection.records, options.incident);
    if (options.answer === null) {
      for (const line of story(record)) process.stdout.write(`${line}\n`);
      process.stdout.write("Answer with --approve, --deny, --abort or --new-plan.\n");
      return 1;
    }
    const secret = config.secret ?? embeddedSecret(config.dataDir);
    const seal = {
      install: config.install,
      incident: record.id,
      nonce: record.plan?.nonce ?? "",
      digest: record.plan?.digest ?? "",
    };
    const user = userInfo().username;
    const producer = createProducer(
      { url: connection.redisUrl, prefix: `${config.redisPrefix}:queue` },
      systemClock,
      () => undefined,
    );
    try {
      const click = {
        answer: options.answer,
        ...seal,
        mac: sealButton(secret.values()[0] ?? "", seal),
        by: `cli:${user}`,
        name: user,
        at: systemClock.now(),
        reply: null,
      };
      await producer.add({ v: JOB_VERSION, kind: "click", click });
    } finally {
      await producer.close();
    }
    const before = record.rev;
    for (let attempt = 0; attempt < 50; attempt += 1) {
      await systemClock.sleep(100);
      const now = await connection.records.get(record.id);
      if (now === null || now.rev === before) continue;
      if (options.json)
        process.stdout.write(`${JSON.stringify({ incident: now.id, state: now.state, reason: now.reason })}\n`);
      else process.stdout.write(`${now.id}: ${now.state}\n`);
      return 0;
    }
    throw new TerminalError(
      "ERR_NOT_TAKEN",
      `the answer is stored, and the incident did not change within 5 s: it is ${record.state}; \`nightshift why ${record.id}\` and Nightshift's log say more`,
    );
  } finally {
    connection.close();
  }
}
