/** Folders of this process, gone when it ends, however it ends by itself. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const folders = new Set<string>();
process.once("exit", () => {
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
});

export function scratch(name: string): { dir: string; remove(): void } {
  const dir = mkdtempSync(join(tmpdir(), name));
  folders.add(dir);
  return {
    dir,
    remove() {
      rmSync(dir, { recursive: true, force: true });
      folders.delete(dir);
    },
  };
}
