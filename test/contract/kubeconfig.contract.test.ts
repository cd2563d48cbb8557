import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { plainCredentials } from "../../src/clients/kubeconfig.js";
import { officialCredentials } from "../../src/clients/kubeconfig-official.js";

/** What is read here must be what the official client reads; what is not understood for certain is the official client's. */
describe("credentials", () => {
  let dir: string;
  beforeAll(() => {
    dir = mkdtempSync(join(tmpdir(), "kubeconfig-"));
    for (const name of ["ca", "cert", "key"]) writeFileSync(join(dir, `${name}.pem`), `the ${name}`);
  });
  afterAll(() => rmSync(dir, { recursive: true, force: true }));

  const base64 = (text: string) => Buffer.from(text).toString("base64");
  function written(cluster: string, user: string, more = ""): string {
    const path = join(dir, "config");
    writeFileSync(
      path,
      `apiVersion: v1
kind: Config
clusters: [{ name: other, cluster: { server: "https://other" } }, { name: c, cluster: { server: "https://10.0.0.1:6443"${cluster} } }]
users: [{ name: u, user: {${user}} }]
contexts: [{ name: x, context: { cluster: c, user: u, namespace: n } }, { name: y, context: { cluster: other, user: u } }]
current-context: x
${more}`,
    );
    return path;
  }
  const told = async (source: Awaited<ReturnType<typeof officialCredentials>>) => {
    const { headers, tls } = await source.read();
    const known = Object.entries(tls).filter(([, value]) => value !== undefined);
    return {
      server: source.server,
      context: source.context,
      namespace: source.namespace,
      headers,
      tls: Object.fromEntries(known.map(([name, value]) => [name, String(value)])),
    };
  };

  it.each([
    ["a token", ', certificate-authority-data: "Y2E="', 'token: "secret"'],
    [
      "a client certificate in files",
      ", certificate-authority: ca.pem",
      "client-certificate: cert.pem, client-key: key.pem",
    ],
    [
      "a client certificate within",
      ", insecure-skip-tls-verify: true",
      `client-certificate-data: ${base64("cert")}, client-key-data: ${base64("key")}`,
    ],
    ["nothing at all", "", ""],
  ])("of %s are those that the official client reads", async (_what, cluster, user) => {
    const kubeconfig = written(cluster, user);
    const plain = plainCredentials({ kubeconfig });

    expect(plain).not.toBeNull();
    if (plain === null) return;
    expect(await told(plain)).toEqual(await told(await officialCredentials({ kubeconfig })));
    const y = plainCredentials({ kubeconfig, context: "y" });
    expect(y?.server).toBe("https://other");
  });

  it.each([
    ["an exec plug-in", "", "exec: { apiVersion: v1, command: true }"],
    ["an auth provider", "", "auth-provider: { name: oidc }"],
    ["somebody else's name", "", 'token: "t", as: "boss"'],
    ["a password", "", 'username: "u", password: "p"'],
    ["a proxy", ', proxy-url: "http://proxy"', 'token: "t"'],
    ["another server's name", ', tls-server-name: "name"', 'token: "t"'],
  ])("with %s are left to the official client", (_what, cluster, user) => {
    expect(plainCredentials({ kubeconfig: written(cluster, user) })).toBeNull();
  });

  it("that cannot be read are left to the official client, which says why", async () => {
    const missing = join(dir, "missing");
    writeFileSync(join(dir, "broken"), "clusters: [");

    expect(plainCredentials({ kubeconfig: missing })).toBeNull();
    expect(plainCredentials({ kubeconfig: join(dir, "broken") })).toBeNull();
    expect(plainCredentials({ kubeconfig: written("", ""), context: "nobody's" })).toBeNull();
    await expect(officialCredentials({ kubeconfig: missing })).rejects.toThrow(/missing cannot be read: ENOENT/);
  });

  it("are read anew: a rotated token counts, a file of another server or half a file does not", async () => {
    const plain = plainCredentials({ kubeconfig: written("", 'token: "first"') });
    const token = async () => (await plain?.read())?.headers["Authorization"];
    expect(await token()).toBe("Bearer first");

    const path = written("", 'token: "second"');
    expect(await token()).toBe("Bearer second");
    writeFileSync(path, "clusters: [");
    expect(await token()).toBe("Bearer second");
    written(', certificate-authority: "ca.pem"', 'token: "third"');
    expect(await token()).toBe("Bearer third");
    const elsewhere = readFileSync(path, "utf8").replace("10.0.0.1", "10.0.0.2");
    writeFileSync(path, elsewhere.replace("third", "fourth"));
    expect(await token()).toBe("Bearer third");
  });

  it("of a pod are its ServiceAccount's, and follow its rotation", async () => {
    const account = join(dir, "account");
    mkdirSync(account);
    const env = { HOME: dir, KUBERNETES_SERVICE_HOST: "fd00::1", KUBERNETES_SERVICE_PORT: "443" };
    const source = () => plainCredentials({ kubeconfig: null, account, env });
    expect(source()).toBeNull();
    writeFileSync(join(account, "token"), "first\n");
    writeFileSync(join(account, "ca.crt"), "the authority");
    writeFileSync(join(account, "namespace"), "nightshift");

    const pod = source();
    expect(pod).toMatchObject({ server: "https://[fd00::1]:443", namespace: "nightshift" });
    expect((await pod?.read())?.headers).toEqual({ Authorization: "Bearer first" });
    writeFileSync(join(account, "token"), "second");
    expect((await pod?.read())?.headers).toEqual({ Authorization: "Bearer second" });
    expect(String((await pod?.read())?.tls["ca"])).toBe("the authority");
    expect(plainCredentials({ kubeconfig: null, account, env: { ...env, KUBECONFIG: "/a:/b" } })).toBeNull();
    expect(
      plainCredentials({ kubeconfig: null, account, env: { ...env, KUBERNETES_SERVICE_PORT: "8080" } }),
    ).toBeNull();
  });
});
