import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    root: new URL("..", import.meta.url).pathname,
    testTimeout: 30_000,
    hookTimeout: 60_000,
    // Two cores: real servers and many workers at once would only wait for each other.
    maxWorkers: 2,
    reporters: ["default"],
  },
});
