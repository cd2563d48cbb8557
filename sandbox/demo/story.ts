import { readdir } from "node:fs/promises";
import { fileURLToPath, pathToFileURL } from "node:url";
import { FaultsError } from "../../src/errors.js";
import type { Stage } from "./stage.js";

/** One story of the demo: a file of stories/, found by directory scan. */
export interface Story {
  /** The file's name without its ending. */
  name: string;
  /** One line for `--list`. */
  says: string;
  /** What stands above the screen. */
  title: string;
  /** Whether it can be played on a cluster of the user's. */
  cluster?: boolean;
  /** Tells it and checks its end by `stage.expect`. Errors: whatever did not come in time. */
  tell(stage: Stage): Promise<void>;
}

/** Every story, by name. Errors: FaultsError with every file that is none. */
export async function loadStories(
  directory = fileURLToPath(new URL("./stories/", import.meta.url)),
): Promise<Map<string, Story>> {
  const stories = new Map<string, Story>();
  const faults: string[] = [];
  const files = (await readdir(directory)).filter((file) => /\.(ts|js)$/.test(file) && !file.endsWith(".d.ts")).sort();
  for (const file of files) {
    const name = file.replace(/\.(ts|js)$/, "");
    const { story } = (await import(pathToFileURL(`${directory}/${file}`).href)) as { story?: Story };
    if (story === undefined) faults.push(`stories/${file}: exports no \`story\``);
    else if (story.name !== name) faults.push(`stories/${file}: expected the name ${name}, found ${story.name}`);
    else stories.set(name, story);
  }
  if (faults.length > 0) throw new FaultsError("ERR_STORIES", "stories of the demo", faults);
  return stories;
}
