import { statSync } from "node:fs";
import type { Config } from "../../config.js";
import { type Finding, ok, warning } from "./finding.js";

/** A webhook token shorter than this can be guessed. */
const TOKEN_LENGTH = 16;

/** Files that hold secrets, and secrets that are too short to be any. */
export function fileFindings(config: Config, env: NodeJS.ProcessEnv): Finding[] {
  const files = Object.entries(env).filter(([name, path]) => name.endsWith("_FILE") && path && path.trim() !== "");
  if (config.kubeconfig !== null) files.push(["KUBECONFIG", config.kubeconfig]);
  if (config.kubeconfigHands !== null) files.push(["KUBECONFIG_HANDS", config.kubeconfigHands]);
  const findings: Finding[] = [];
  for (const [name, path = ""] of files) {
    const mode = modeOf(path.trim());
    if (mode !== null && (mode & 0o004) !== 0)
      findings.push(
        warning(
          "secret files",
          `${name}: ${path} can be read by everybody (mode ${(mode & 0o777).toString(8)})`,
          `chmod o-r ${path}; in a pod, give the Secret's volume defaultMode: 0440`,
        ),
      );
  }
  const short = (config.webhook.tokens?.values() ?? []).filter((token) => token.length < TOKEN_LENGTH);
  if (short.length > 0)
    findings.push(
      warning(
        "webhook token",
        `NIGHTSHIFT_WEBHOOK_TOKEN has ${short[0]?.length} characters, expected at least ${TOKEN_LENGTH}: it can be guessed`,
        "make one with `openssl rand -hex 32`, and give the same to Alertmanager's credentials_file",
      ),
    );
  return findings.length > 0 ? findings : [ok("secret files", `${files.length} files, none open to everybody`)];
}

/** Null where it cannot be told: a missing file is the configuration's fault, and listed there. */
function modeOf(path: string): number | null {
  try {
    return statSync(path).mode;
  } catch {
    return null;
  }
}
