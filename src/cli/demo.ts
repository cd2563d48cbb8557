import { TerminalError } from "../errors.js";

/** `nightshift demo`. Exit 0 only if the world ended as told. The only command that opens the sandbox. */
export async function demo(options: {
  story: string;
  yes: boolean;
  json: boolean;
  list: boolean;
  cluster: boolean;
  image: string;
}): Promise<number> {
  const { loadStories } = await import("../../sandbox/demo/story.js");
  const stories = await loadStories();
  if (options.list) {
    const width = Math.max(...[...stories.keys()].map((name) => name.length));
    for (const { name, says, cluster } of stories.values())
      process.stdout.write(`${name.padEnd(width)}  ${says}${cluster === true ? " (also with --cluster)" : ""}\n`);
    return 0;
  }
  const story = stories.get(options.story);
  if (story === undefined) {
    throw new TerminalError(
      "ERR_NO_STORY",
      `no story ${JSON.stringify(options.story)}; there are ${[...stories.keys()].join(", ")}`,
    );
  }
  if (options.cluster && story.cluster !== true) {
    const able = [...stories.values()].filter((one) => one.cluster === true).map((one) => one.name);
    throw new TerminalError(
      "ERR_SANDBOX_ONLY",
      `the story ${story.name} can be played on this machine only; on a cluster: ${able.join(", ")}`,
    );
  }
  await needRedis(options.json);
  if (!options.json)
    process.stdout.write(
      options.cluster
        ? "Nightshift's demo, in compressed time, on the cluster of your KUBECONFIG: in namespaces of its own, which are removed afterwards.\n"
        : "Nightshift's demo, in compressed time: everything runs on this machine, on loopback, and is removed afterwards.\n",
    );
  const { play } = await import("../../sandbox/demo/play.js");
  const code = await play(story, {
    yes: options.yes,
    json: options.json,
    ...(options.cluster ? { cluster: { image: options.image } } : {}),
  });
  if (!options.json && code === 0) process.stdout.write(LAST_LINES);
  return code;
}

/** Redis is installed where that needs no question; else one clear sentence. */
async function needRedis(json: boolean): Promise<void> {
  const { spawnSync } = await import("node:child_process");
  const there = () => spawnSync("redis-server", ["--version"], { stdio: "ignore" }).status === 0;
  if (there()) return;
  const root = process.getuid?.() === 0;
  const apt = spawnSync("apt-get", ["--version"], { stdio: "ignore" }).status === 0;
  if (root && apt) {
    if (!json) process.stdout.write("There is no redis-server on this machine: installing it with apt-get …\n");
    const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };
    const install = () =>
      spawnSync("apt-get", ["install", "-y", "-qq", "--no-install-recommends", "redis-server"], {
        stdio: "ignore",
        env,
      });
    if (install().status !== 0) {
      spawnSync("apt-get", ["update", "-qq"], { stdio: "ignore", env });
      install();
    }
    if (there()) return;
  }
  throw new TerminalError(
    "ERR_NO_REDIS",
    "the demo needs redis-server on this machine: `sudo apt-get install redis-server` (Debian, Ubuntu) or `brew install redis`",
  );
}

const LAST_LINES = `
To send it your own alerts, add to alertmanager.yml (and a route to it):

receivers:
  - name: nightshift
    webhook_configs:
      - url: http://NIGHTSHIFT:8080/webhooks/alertmanager
        send_resolved: true
        max_alerts: 0
        http_config: { authorization: { type: Bearer, credentials_file: /etc/alertmanager/nightshift-token } }

And for your own cluster, observing first:

  KUBECONFIG=~/.kube/config NIGHTSHIFT_POLICY=deploy/platform/policy.yaml NIGHTSHIFT_WEBHOOK_TOKEN=$(openssl rand -hex 16) npx nightshift doctor
  … and the same with \`serve\` in place of \`doctor\`.
`;
