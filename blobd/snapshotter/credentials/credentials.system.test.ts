/** Credentials out of a cluster's pull secrets (an API server of our own, over HTTPS), and out of what kubelet pulls with. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { Client, credentials, Server, ServerCredentials } from "@grpc/grpc-js";
import { findCredentials } from "../../registry/credentials.ts";
import { addImageProxy, CredentialFile, watchSecrets } from "./index.ts";
import { parseKubeconfig } from "./kubeconfig.ts";

const work = mkdtempSync(join(tmpdir(), "credentials-"));
const path = join(work, "credentials.json");
const env = { EROFSIFY_AUTH_FILE: path, HOME: work, XDG_RUNTIME_DIR: work };
const passwordOf = async (host: string, repository: string) => {
  const found = await findCredentials(host, repository, env);
  return found?.kind === "password" ? found.password : found?.kind;
};
const secret = (auths: object) => ({
  data: { ".dockerconfigjson": Buffer.from(JSON.stringify({ auths })).toString("base64") },
});
const auth = (password: string) => ({ auth: Buffer.from(`user:${password}`).toString("base64") });

/** What the API server answers; its token is `let me in`. */
let items: object[] = [];
const [keyFile, certFile] = [join(work, "key.pem"), join(work, "cert.pem")];
const certificate = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", keyFile, "-out", certFile];
const subject = ["-days", "2", "-subj", "/CN=test", "-addext", "subjectAltName=IP:127.0.0.1"];
execFileSync("openssl", [...certificate, ...subject], { stdio: "ignore" });
const api = createServer({ key: readFileSync(keyFile), cert: readFileSync(certFile) }, (request, response) => {
  const isAllowed = request.headers.authorization === "Bearer let me in";
  const isList = request.url === "/api/v1/secrets?fieldSelector=type%3Dkubernetes.io%2Fdockerconfigjson";
  response.writeHead(isAllowed && isList ? 200 : 403, { "content-type": "application/json" });
  response.end(JSON.stringify({ kind: "SecretList", items }));
});
before(() => new Promise<void>((resolve) => api.listen(0, "127.0.0.1", resolve)));
after(() => {
  api.close();
  rmSync(work, { recursive: true });
});

function kubeconfig(token: string): string {
  const file = join(work, "kubeconfig");
  const { port } = api.address() as AddressInfo;
  writeFileSync(
    file,
    `current-context: here
contexts:
- {name: here, context: {cluster: one, user: node}}
clusters:
- name: one
  cluster:
    server: https://127.0.0.1:${port}
    certificate-authority: cert.pem
users:
- name: node
  user: {token: "${token}"}
`,
  );
  return file;
}

async function until(isSo: () => Promise<boolean>): Promise<void> {
  for (let tries = 0; !(await isSo()); tries++) {
    assert.ok(tries < 200, "in time");
    await sleep(20);
  }
}

test("pull secrets are used, renewed, and gone when they go; what is none of them is left out", async () => {
  const spelt = { username: "user", password: "spelt", email: 5 };
  const none = {
    "number.lan": { auth: 5 },
    "list.lan": [],
    "text.lan": "x",
    "null.lan": null,
    "other.lan": { email: "x" },
  };
  items = [secret({ "registry.lan": auth("first"), "spelt.lan": spelt, ...none })];
  items.push({ data: { ".dockerconfigjson": "bm8ganNvbg==" } }, {});
  const stop = new AbortController();
  const warnings: unknown[] = [];
  const file = new CredentialFile(path);
  const watching = watchSecrets(kubeconfig("let me in"), file, (_, error) => warnings.push(error), stop.signal, 30);
  await until(async () => (await passwordOf("registry.lan", "app")) === "first");
  assert.equal(await passwordOf("spelt.lan", "app"), "spelt");
  assert.deepEqual(Object.keys(JSON.parse(readFileSync(path, "utf8")).auths), ["registry.lan", "spelt.lan"]);
  assert.equal(statSync(path).mode & 0o777, 0o600);
  items = [secret({ "registry.lan": auth("second") })];
  await until(async () => (await passwordOf("registry.lan", "app")) === "second");
  kubeconfig("stolen");
  await until(async () => warnings.length > 0);
  assert.match(String(warnings[0]), /answered 403, expected 200/);
  assert.equal(await passwordOf("registry.lan", "app"), "second", "what was known stays");
  kubeconfig("let me in");
  items = [];
  await until(async () => (await passwordOf("registry.lan", "app")) === undefined);
  stop.abort();
  await watching;
});

test("a kubeconfig without its parts, or without TLS, is refused", () => {
  const parse = (text: string) => () => parseKubeconfig("config", Buffer.from(text));
  assert.throws(parse(""), /config: contexts has no undefined/);
  const plain = "current-context: a\ncontexts: [{name: a, context: {cluster: a, user: a}}]\n";
  assert.throws(parse(plain), /config: clusters has no a/);
  const http = "clusters: [{name: a, cluster: {server: 'http://x'}}]\nusers: [{name: a, user: {}}]\n";
  assert.throws(parse(plain + http), /found the server http:\/\/x, expected an https URL/);
});

test("what kubelet pulls with is noted for that repository, passed on byte by byte, and kept", async (t) => {
  const socket = join(work, "containerd.sock");
  const received: Buffer[] = [];
  const asIs = (bytes: Buffer) => bytes;
  const definition = {
    path: "/runtime.v1.ImageService/PullImage",
    requestStream: false as const,
    responseStream: false as const,
    requestSerialize: asIs,
    requestDeserialize: asIs,
    responseSerialize: asIs,
    responseDeserialize: asIs,
  };
  const listen = (server: Server, at: string) =>
    new Promise<void>((resolve, reject) =>
      server.bindAsync(`unix:${at}`, ServerCredentials.createInsecure(), (error) =>
        error === null ? resolve() : reject(error),
      ),
    );
  const containerd = new Server();
  containerd.addService(
    { PullImage: definition },
    {
      PullImage: (call: { request: Buffer }, done: (error: null, answer: Buffer) => void) => {
        received.push(call.request);
        done(null, Buffer.from("answer"));
      },
    },
  );
  await listen(containerd, socket);
  const proxy = new Server();
  const warnings: string[] = [];
  const close = addImageProxy(proxy, socket, new CredentialFile(path), (message) => warnings.push(message));
  await listen(proxy, join(work, "proxy.sock"));
  const client = new Client(`unix:${join(work, "proxy.sock")}`, credentials.createInsecure());
  t.after(() => {
    client.close();
    close();
    proxy.forceShutdown();
    containerd.forceShutdown();
  });
  const pull = (bytes: Buffer) =>
    new Promise<Buffer>((resolve, reject) =>
      client.makeUnaryRequest(definition.path, asIs, asIs, bytes, (error, answer) =>
        error === null ? resolve(answer!) : reject(error),
      ),
    );
  // ImageSpec 1: image 1; AuthConfig 2: username 1, password 2; a field of a newer version behind.
  const field = (number: number, content: Buffer | string) =>
    Buffer.concat([Buffer.from([(number << 3) | 2, Buffer.byteLength(content)]), Buffer.from(content)]);
  const image = field(1, field(1, "registry.lan/team/app:1"));
  const request = Buffer.concat([
    image,
    field(2, Buffer.concat([field(1, "user"), field(2, "pulled")])),
    field(9, "x"),
  ]);
  assert.equal((await pull(request)).toString(), "answer");
  assert.deepEqual(received, [request]);
  assert.equal(await passwordOf("registry.lan", "team/app"), "pulled");
  assert.equal(await passwordOf("registry.lan", "other"), undefined);
  const broken = Buffer.from([0x0a, 0xff, 0xff]);
  await pull(broken);
  assert.deepEqual([received[1], warnings.length], [broken, 1], "containerd says what is wrong with it");
  new CredentialFile(path).replaceSecrets(new Map());
  assert.equal(await passwordOf("registry.lan", "team/app"), "pulled", "the next process knows it");
});
