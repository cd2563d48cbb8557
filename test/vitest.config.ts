import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    root: new URL("..", import.meta.url).pathname,
    // Longer than `until` waits: it says what it waited for, and a slow machine is no fault.
    testTimeout: 90_000,
    hookTimeout: 120_000,
    // Two cores: real servers and many workers at once would only wait for each other.
    maxWorkers: 2,
    reporters: ["default"],
  },
});
