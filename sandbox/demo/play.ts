/** Plays one story from an empty machine to an empty machine. */
import { messageOf, TerminalError } from "../../src/errors.js";
import { createCleanup } from "./cleanup.js";
import { startClusterGround } from "./cluster-ground.js";
import type { Ground } from "./ground.js";
import { startSandboxGround } from "./sandbox-ground.js";
import { createScreen } from "./screen.js";
import { createStage } from "./stage.js";
import type { Story } from "./story.js";
import { startDemoWorld } from "./world.js";

const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

export interface PlayOptions {
  yes: boolean;
  json: boolean;
  /** On the cluster of one's KUBECONFIG, with this image; in the sandbox without. */
  cluster?: { image: string };
}

/**
 * 0 when the world ended as told, 1 when it did not, 130 when it was interrupted. Errors: TerminalError where it was
 * refused before anything was made. Everything that was started is stopped and removed, whichever it is, also when the
 * interrupt comes while things are being started.
 */
export async function play(story: Story, options: PlayOptions): Promise<number> {
  const cleanup = createCleanup();
  /** What could not be removed, as sentences. */
  const left: string[] = [];
  const tty = process.stdout.isTTY === true && process.stdin.isTTY === true;
  const screen = createScreen({
    title: story.title,
    mode: options.json ? "json" : tty ? "screen" : "lines",
    yes: options.yes,
    started: performance.now(),
    onInterrupt: interrupt,
  });
  let interrupted = false;
  function leave(code: number): void {
    if (interrupted) return;
    interrupted = true;
    screen.close();
    void cleanup.run().then(() => {
      for (const line of left) process.stderr.write(`${line}\n`);
      process.exit(code);
    });
  }
  function interrupt(): void {
    leave(130);
  }
  /** A fault of the demo itself must not leave behind what it made. */
  function fault(error: unknown): void {
    process.stderr.write(`nightshift: the demo failed: ${messageOf(error)}\n`);
    leave(1);
  }
  const ignore = () => undefined;
  // Whoever read the lines has gone (`| head`): nobody is left to tell the story to.
  process.stdout.on("error", interrupt);
  // A terminal that was closed takes no words any more: what was made is removed all the same.
  process.stderr.on("error", ignore);
  process.on("uncaughtException", fault);
  for (const signal of SIGNALS) process.on(signal, interrupt);

  async function finish(): Promise<void> {
    await cleanup.run();
    for (const line of left) process.stderr.write(`${line}\n`);
    process.stdout.off("error", interrupt);
    process.stderr.off("error", ignore);
    process.off("uncaughtException", fault);
    for (const signal of SIGNALS) process.off(signal, interrupt);
  }
  const confirm = async (says: string): Promise<void> => {
    await screen.ask(`[y] ${says}; Ctrl-C leaves`, ["y"]);
  };
  const tell = (line: string): void => {
    if (!options.json) process.stderr.write(`${line}\n`);
  };
  let wrong: string[];
  try {
    const { cluster } = options;
    const world = await startDemoWorld<Ground>(cleanup, (dir) =>
      cluster === undefined
        ? startSandboxGround(dir, cleanup)
        : startClusterGround(dir, { image: cluster.image, left, confirm, tell }, cleanup),
    );
    const stage = createStage(world, screen);
    cleanup.push(stage.close);
    await story.tell(stage).catch((error: unknown) => stage.wrong.push(messageOf(error)));
    wrong = stage.wrong;
  } catch (error) {
    // Refused before there was a world: no story was told that could have ended otherwise.
    if (error instanceof TerminalError && !interrupted) {
      screen.close();
      await finish();
      throw error;
    }
    wrong = [messageOf(error)];
  }
  if (interrupted) return new Promise(() => undefined);
  for (const line of wrong) screen.say("wrong", `NOT AS TOLD: ${line}`);
  screen.close();
  await finish();
  return wrong.length + left.length === 0 ? 0 : 1;
}
