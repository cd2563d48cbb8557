import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync } from "node:fs";
import { homedir, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

/** The real Kubernetes control plane of test/cluster, or any other by KUBECONFIG_REAL. */

export interface Plane {
  kubeconfig: string;
  /** Lines of the API server's audit log; empty where the cluster is somebody else's. */
  audit(): AuditLine[];
  stop(): Promise<void>;
}

export interface AuditLine {
  verb: string;
  stage: string;
  user?: { username?: string };
  objectRef?: { resource?: string; namespace?: string; name?: string; subresource?: string };
  requestURI: string;
  requestObject?: unknown;
  responseStatus?: { code?: number };
  userAgent?: string;
}

const folder = fileURLToPath(new URL("../cluster/", import.meta.url));

/** Why there is no control plane to test on; null where there is one. */
export function planeMissing(): string | null {
  if (process.env["KUBECONFIG_REAL"]) return null;
  const cache =
    process.env["TESTPLANE_BIN"] ??
    join(process.env["XDG_CACHE_HOME"] ?? join(homedir(), ".cache"), "nightshift-testplane");
  const built =
    existsSync(join(cache, "plane")) ||
    (existsSync(cache) && readdirSync(cache).some((name) => existsSync(join(cache, name, "plane"))));
  if (!built)
    return "the control plane of test/cluster is not built: run test/cluster/build (needs Go, seven minutes, once) or set KUBECONFIG_REAL";
  return null;
}

export async function startPlane(): Promise<Plane> {
  const given = process.env["KUBECONFIG_REAL"];
  if (given) return { kubeconfig: given, audit: () => [], stop: async () => undefined };
  const dir = mkdtempSync(join(tmpdir(), "plane-"));
  await script("up", dir);
  return {
    kubeconfig: join(dir, "kubeconfig"),
    audit: () =>
      existsSync(join(dir, "audit.log"))
        ? readFileSync(join(dir, "audit.log"), "utf8")
            .split("\n")
            .filter((line) => line.trim() !== "")
            .map((line) => JSON.parse(line) as AuditLine)
        : [],
    stop: () => script("down", dir),
  };
}

async function script(name: string, dir: string): Promise<void> {
  const child = spawn(join(folder, name), [dir], { stdio: ["ignore", "ignore", "pipe"] });
  let words = "";
  child.stderr.on("data", (chunk: Buffer) => (words = (words + chunk.toString()).slice(-2000)));
  const code = await new Promise<number | null>((done) => child.once("close", done));
  if (code !== 0) throw new Error(`test/cluster/${name} ended with ${code}: ${words}`);
}
