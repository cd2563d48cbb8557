import { TerminalError, messageOf } from "../errors.js";

const STORIES = [
  {
    name: "bad-deploy",
    says: "a bad release, seen by four alerts, taken back by one approved write; a worker is killed in the middle",
  },
];

/** `nightshift demo`. Exit 0 only if the world ended as told. The only command that opens the sandbox. */
export async function demo(options: { story: string; yes: boolean; json: boolean; list: boolean }): Promise<number> {
  if (options.list) {
    for (const story of STORIES) process.stdout.write(`${story.name}  ${story.says}\n`);
    return 0;
  }
  if (!STORIES.some((story) => story.name === options.story)) {
    throw new TerminalError(
      "ERR_NO_STORY",
      `no story ${JSON.stringify(options.story)}; there are ${STORIES.map((story) => story.name).join(", ")}`,
    );
  }
  await needRedis(options.json);
  const started = performance.now();
  const tty = process.stdout.isTTY === true && process.stdin.isTTY === true;
  const { createScreen } = await import("../../sandbox/demo/screen.js");
  const { startDemoWorld } = await import("../../sandbox/demo/world.js");
  const { badDeploy } = await import("../../sandbox/demo/bad-deploy.js");
  if (!options.json)
    process.stdout.write(
      "Nightshift's demo, in compressed time: everything runs on this machine, on loopback, and is removed afterwards.\n",
    );
  const world = await startDemoWorld();
  let interrupted = false;
  const interrupt = () => {
    if (interrupted) return;
    interrupted = true;
    screen.close();
    void world.stop().then(() => process.exit(130));
  };
  const screen = createScreen({
    mode: options.json ? "json" : tty ? "screen" : "lines",
    yes: options.yes,
    started,
    onInterrupt: interrupt,
  });
  // Whoever read the lines has gone (`| head`): nobody is left to tell the story to.
  process.stdout.on("error", interrupt);
  process.on("SIGINT", interrupt);
  process.on("SIGTERM", interrupt);
  let wrong: string[];
  try {
    wrong = await badDeploy(world, screen);
  } catch (error) {
    wrong = [messageOf(error)];
  }
  if (interrupted) return 130;
  for (const line of wrong) screen.say("wrong", `NOT AS TOLD: ${line}`);
  screen.close();
  if (!options.json) process.stdout.write(LAST_LINES);
  await world.stop();
  return wrong.length === 0 ? 0 : 1;
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
