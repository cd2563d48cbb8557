import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdtempSync, readFileSync } from "node:fs";
import { homedir, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

/** A real Kubernetes control plane for tests: the one of this folder, or any other by KUBECONFIG_REAL. */
export interface Plane {
  /** Path of an administrator's kubeconfig. */
  kubeconfig: string;
  /** State and logs; null where the cluster is somebody else's. */
  dir: string | null;
  /** The API server's audit log as it is now; empty where the cluster is somebody else's. */
  auditLog(): AuditLine[];
  stop(): Promise<void>;
}

/** One audited request. Bodies are there for writes of workloads, autoscalers, Leases, ConfigMaps and Pods. */
export interface AuditLine {
  verb: string;
  stage: string;
  requestURI: string;
  userAgent?: string;
  user?: { username?: string };
  objectRef?: { resource?: string; namespace?: string; name?: string; subresource?: string };
  requestObject?: unknown;
  responseStatus?: { code?: number };
}

const folder = fileURLToPath(new URL("./", import.meta.url));

/** Why there is no control plane to test on, as a sentence; null where there is one. */
export function planeMissing(): string | null {
  const given = process.env["KUBECONFIG_REAL"];
  if (given) return existsSync(given) ? null : `KUBECONFIG_REAL names ${given}, which is not there`;
  const bin = binaries();
  const absent = ["plane", "etcd", "kwok"].filter((name) => !existsSync(join(bin, name)));
  if (absent.length === 0) return null;
  return `${absent.join(", ")} not in ${bin}: run test/cluster/build (Go 1.26, seven minutes, once) or set KUBECONFIG_REAL`;
}

/** Where `build` puts what it builds: keyed on what it is built from. */
function binaries(): string {
  const key = createHash("sha256")
    .update(readFileSync(join(folder, "go.sum")))
    .update(readFileSync(join(folder, "main.go")))
    .digest("hex");
  const cache = process.env["XDG_CACHE_HOME"] ?? join(homedir(), ".cache");
  return process.env["TESTPLANE_BIN"] ?? join(cache, "nightshift-testplane", key.slice(0, 12));
}

/**
 * Starts it in about nine seconds. Errors: Error with the reason when there is none, or when it does not come up.
 */
export async function startPlane(dir = mkdtempSync(join(tmpdir(), "testplane-"))): Promise<Plane> {
  const missing = planeMissing();
  if (missing !== null) throw new Error(missing);
  const given = process.env["KUBECONFIG_REAL"];
  if (given) return { kubeconfig: given, dir: null, auditLog: () => [], stop: async () => undefined };
  await script("up", dir);
  const log = join(dir, "audit.log");
  return {
    kubeconfig: join(dir, "kubeconfig"),
    dir,
    auditLog: () => (existsSync(log) ? wholeLines(readFileSync(log, "utf8")) : []),
    stop: () => script("down", dir),
  };
}

/** The last line may still be under way. */
function wholeLines(text: string): AuditLine[] {
  const lines = text.split("\n").slice(0, -1);
  return lines.filter((line) => line !== "").map((line) => JSON.parse(line) as AuditLine);
}

async function script(name: string, dir: string): Promise<void> {
  const child = spawn(join(folder, name), [dir], { stdio: ["ignore", "ignore", "pipe"] });
  let words = "";
  child.stderr.on("data", (chunk: Buffer) => {
    words = (words + chunk.toString()).slice(-2000);
  });
  const code = await new Promise<number | null>((done, failed) => {
    child.once("error", failed);
    child.once("close", done);
  });
  if (code !== 0) throw new Error(`test/cluster/${name} ${dir} ended with ${code}: ${words}`);
}
