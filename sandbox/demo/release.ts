/** The workload that most stories are about, and its two releases in the sandbox. */
export const NAME = "mcp-typescript-api";
export const CONFIG = "mcp-typescript-config";
export const IMAGE = {
  good: "ghcr.io/your-org/mcp-typescript-server:v1.4.1",
  bad: "ghcr.io/your-org/mcp-typescript-server:v1.4.2",
};

/** The tag of an image, for a line of the story. */
export function tagOf(image: string): string {
  return image.slice(image.lastIndexOf(":") + 1);
}
