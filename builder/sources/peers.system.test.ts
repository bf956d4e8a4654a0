/** Sources against the programs that make and keep images: docker-registry, skopeo, umoci, GNU tar. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import type { ServerResponse } from "node:http";
import { join } from "node:path";
import { before, test } from "node:test";
import { Worker } from "node:worker_threads";
import { sha256 } from "../../blobd/registry/index.ts";
import { type Fault, fakeImage, startFakeRegistry } from "../../blobd/registry/testing.ts";
import { type EntrySink, type TarEntry, TarReader } from "../../formats/tar/index.ts";
import { parseSource, type SourceOptions } from "../names/index.ts";
import { EDGE_TAG, pushImage, run, startServer, tempDir, unpackWithUmoci, writeEdgeImage } from "../testkit/index.ts";
import { openLayer, type ResolvedImage, resolveImage, walkDirectory } from "./index.ts";
import type { ReadOptions } from "./options.ts";

const dir = tempDir();
const layout = join(dir, "edge");
/** Digests of the unpacked layers, the same wherever the image is. */
let diffIds: string[];

/** No credentials or settings of the machine the test runs on. */
const env = { HOME: join(dir, "home"), XDG_RUNTIME_DIR: join(dir, "home"), PATH: process.env.PATH };

before(async () => {
  await writeEdgeImage(layout);
  diffIds = (await resolveImage(parseSource(`oci:${layout}`))).layers.map((layer) => layer.diffId!);
  mkdirSync(join(dir, "home"));
});

/** Resolves a source and reads all its layers, which checks them. */
async function readAll(
  text: string,
  source: SourceOptions = {},
  options: ReadOptions = { env },
): Promise<ResolvedImage> {
  const image = await resolveImage(parseSource(text, source), options);
  for (const layer of image.layers) {
    let size = 0;
    for await (const chunk of openLayer(image, layer, options)) size += chunk.length;
    assert.equal(size, layer.size);
  }
  assert.deepEqual(
    image.layers.map((layer) => layer.diffId),
    diffIds,
  );
  return image;
}

/** A docker-registry with these settings beside storage; ends with the file's tests. */
async function startRegistry(settings: object): Promise<string> {
  const root = tempDir();
  const config = { version: "0.1", storage: { filesystem: { rootdirectory: root } }, ...settings };
  writeFileSync(join(root, "config.json"), JSON.stringify(config));
  const server = await startServer(
    "docker-registry",
    ["serve", join(root, "config.json")],
    /listening on (127\.0\.0\.1:\d+)/,
  );
  stops.push(server.stop);
  return server.ready[1]!;
}
const stops: (() => Promise<void>)[] = [];
test.after(async () => {
  for (const stop of stops) await stop();
});

test("docker-registry: OCI and Docker manifests, by tag and by digest", async () => {
  const host = await startRegistry({ http: { addr: "127.0.0.1:0" } });
  await pushImage(layout, EDGE_TAG, `${host}/team/app:oci`);
  await pushImage(layout, EDGE_TAG, `${host}/team/app:docker`, "v2s2");
  for (const tag of ["oci", "docker"]) {
    const image = await readAll(`${host}/team/app:${tag}`);
    assert.deepEqual(image.config.config.cmd, ["/bin/true"]);
    assert.equal((await readAll(image.reference)).manifestDigest, image.manifestDigest);
  }
  await assert.rejects(readAll(`${host}/team/app:none`), { code: "ERR_NOT_FOUND", message: /MANIFEST_UNKNOWN/ });
  await assert.rejects(readAll(`${host}/none`), { code: "ERR_NOT_FOUND" });
});

test("docker-registry: a layer is read in a worker thread with what a message can carry", async () => {
  const host = await startRegistry({ http: { addr: "127.0.0.1:0" } });
  await pushImage(layout, EDGE_TAG, `${host}/app:1`);
  const { spec, access, layers } = await resolveImage(parseSource(`${host}/app:1`), { env });
  const script = `
    import { parentPort, workerData } from "node:worker_threads";
    const { openLayer } = await import(workerData.door);
    let size = 0;
    for await (const chunk of openLayer(workerData.origin, workerData.layer)) size += chunk.length;
    parentPort.postMessage(size);`;
  const url = new URL(`data:text/javascript,${encodeURIComponent(script)}`);
  const door = new URL("./index.js", import.meta.url).href;
  const worker = new Worker(url, { workerData: { door, origin: { spec, access }, layer: layers[0] } });
  const size = await new Promise((resolve, reject) => worker.once("message", resolve).once("error", reject));
  assert.equal(size, layers[0]!.size);
});

/** The line of an htpasswd file; docker-registry takes bcrypt only. */
function htpasswd(user: string, password: string): string {
  const script = 'print crypt($ARGV[0], q($2y$05$) . "abcdefghijklmnopqrstuu")';
  return `${user}:${execFileSync("perl", ["-e", script, password], { encoding: "utf8" })}\n`;
}

test("docker-registry behind a password, with the credentials that skopeo login stores", async () => {
  const passwords = join(dir, "htpasswd");
  writeFileSync(passwords, htpasswd("user", "pass:word"));
  const auth = { htpasswd: { realm: "test", path: passwords } };
  const host = await startRegistry({ http: { addr: "127.0.0.1:0" }, auth });
  const authFile = join(dir, "auth.json");
  const login = ["login", "--tls-verify=false", "--username", "user", "--password-stdin", host];
  await run("skopeo", login, { input: "pass:word", env: { REGISTRY_AUTH_FILE: authFile } });
  const copy = ["--insecure-policy", "copy", "--quiet", "--dest-tls-verify=false", "--authfile", authFile];
  await run("skopeo", [...copy, `oci:${layout}:${EDGE_TAG}`, `docker://${host}/app:1`]);
  await readAll(`${host}/app:1`, {}, { env: { ...env, REGISTRY_AUTH_FILE: authFile } });
  await assert.rejects(readAll(`${host}/app:1`), {
    code: "ERR_UNAUTHORIZED",
    message: /none are stored for 127\.0\.0\.1/,
  });
  const wrong = { auths: { [host]: { auth: Buffer.from("user:wrong").toString("base64") } } };
  writeFileSync(authFile, JSON.stringify(wrong));
  await assert.rejects(readAll(`${host}/app:1`, {}, { env: { ...env, REGISTRY_AUTH_FILE: authFile } }), {
    code: "ERR_UNAUTHORIZED",
    message: /auth\.json do not allow it/,
  });
});

/** A self-signed certificate for 127.0.0.1; the paths of its PEM files. */
async function makeCertificate(): Promise<{ key: string; certificate: string }> {
  const files = { key: join(dir, "key.pem"), certificate: join(dir, "cert.pem") };
  const subject = ["-subj", "/CN=test", "-addext", "subjectAltName=IP:127.0.0.1"];
  const algorithm = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"];
  await run("openssl", ["req", "-x509", ...algorithm, "-keyout", files.key, "-out", files.certificate, ...subject]);
  return files;
}

/** An environment with these settings. */
function withSettings(registries: object): ReadOptions {
  const settings = join(dir, "settings.json");
  writeFileSync(settings, JSON.stringify({ registries }));
  return { env: { ...env, EROFSIFY_CONFIG: settings } };
}

test("docker-registry over TLS: refused with a stranger's certificate, read with its authority in the settings", async () => {
  const { key, certificate } = await makeCertificate();
  const host = await startRegistry({ http: { addr: "127.0.0.1:0", tls: { certificate, key } } });
  await pushImage(layout, EDGE_TAG, `${host}/app:1`);
  await assert.rejects(readAll(`${host}/app:1`, { plainHttp: false }), {
    code: "ERR_NETWORK",
    message: /NODE_EXTRA_CA_CERTS/,
  });
  await readAll(`${host}/app:1`, {}, withSettings({ [host]: { ca: certificate, plainHttp: false } }));
  const script = `const [{ resolveImage }, { parseSource }] = await Promise.all(process.argv.slice(2).map((door) => import(door)));
    console.log((await resolveImage(parseSource(process.argv[1], { plainHttp: false }))).layers.length);`;
  const doors = ["./index.js", "../names/index.js"].map((door) => new URL(door, import.meta.url).href);
  const args = ["--input-type=module", "-e", script, `${host}/app:1`, ...doors];
  const { stdout } = await run(process.execPath, args, { env: { NODE_EXTRA_CA_CERTS: certificate, HOME: env.HOME } });
  assert.equal(stdout, "3\n");
});

test("from a registry over TLS nothing leads to plain HTTP: no redirect, no token server", async (t) => {
  const { key, certificate } = await makeCertificate();
  const tls = { key: readFileSync(key, "utf8"), cert: readFileSync(certificate, "utf8") };
  const image = fakeImage([Buffer.from("layer")]);
  const plain = await startFakeRegistry(t, image);
  const answers: Record<string, (response: ServerResponse) => void> = {
    ERR_NETWORK: (response) => response.writeHead(307, { location: `http://${plain.host}/v2/a/manifests/latest` }),
    ERR_UNAUTHORIZED: (response) =>
      response.writeHead(401, { "www-authenticate": `Bearer realm="http://${plain.host}/token"` }),
  };
  for (const [code, answer] of Object.entries(answers)) {
    const fault: Fault = (_, response) => {
      answer(response);
      response.end();
      return true;
    };
    const registry = await startFakeRegistry(t, image, fault, tls);
    const options = withSettings({ [registry.host]: { ca: certificate } });
    const found = resolveImage(parseSource(`${registry.host}/a`, { plainHttp: false }), options);
    await assert.rejects(found, { code, message: /expected an https/ });
  }
  assert.deepEqual(plain.requests, []);
});

test("archives that skopeo writes", async () => {
  const copy = (target: string) =>
    run("skopeo", ["--insecure-policy", "copy", "--quiet", `oci:${layout}:${EDGE_TAG}`, target]);
  for (const kind of ["oci-archive", "docker-archive"]) {
    const archive = join(dir, `${kind}.tar`);
    await copy(`${kind}:${archive}:name:1`);
    await readAll(`${kind}:${archive}`);
    await readAll(`${kind}:${archive}:name:1`);
    await run("gzip", ["--keep", archive]);
    await readAll(`${kind}:${archive}.gz`);
    await run("zstd", ["-q", archive]);
    await readAll(`${kind}:${archive}.zst`);
  }
});

test("a layout that umoci makes, whose manifests have no mediaType", async () => {
  const made = join(dir, "umoci");
  await run("umoci", ["init", "--layout", made]);
  await run("umoci", ["new", "--image", `${made}:v1`]);
  const root = join(dir, "umoci-root");
  await run("umoci", ["unpack", "--image", `${made}:v1`, root]);
  writeFileSync(join(root, "rootfs/file"), "content");
  await run("umoci", ["repack", "--image", `${made}:v1`, root]);
  await run("umoci", ["config", "--image", `${made}:v1`, "--config.cmd", "run", "--config.env", "A=b"]);
  const image = await resolveImage(parseSource(`oci:${made}:v1`));
  assert.equal(image.layers.length, 1);
  assert.deepEqual([image.config.config.cmd, image.config.config.env.at(-1)], [["run"], "A=b"]);
  const manifest = readFileSync(join(made, "blobs/sha256", image.manifestDigest!.slice("sha256:".length)));
  assert.equal("mediaType" in JSON.parse(manifest.toString()), false);
});

/** All entries of a tar or walk, and the digest of each one's data. */
function collector() {
  const found: { entry: TarEntry; data: string }[] = [];
  let data: Buffer[] = [];
  const sink: EntrySink = {
    entry: (entry) => found.push({ entry: { ...entry, headerOffset: 0 }, data: "" }),
    data: (bytes, start, end) => data.push(Buffer.from(bytes.subarray(start, end))),
    endEntry: () => {
      found.at(-1)!.data = sha256(Buffer.concat(data));
      data = [];
    },
  };
  return { found, sink };
}

test("walking a tree gives what GNU tar puts into an archive of it", async () => {
  const tree = await unpackWithUmoci(layout, EDGE_TAG, join(dir, "tree"));
  const archive = join(dir, "tree.tar");
  const options = [
    "--format=posix",
    "--pax-option=delete=atime,delete=ctime",
    "--xattrs",
    "--xattrs-include=*",
    "--numeric-owner",
  ];
  await run("tar", ["--create", "--file", archive, "--sort=name", ...options, "--directory", tree, "."]);
  const expected = collector();
  const reader = new TarReader(expected.sink);
  reader.push(readFileSync(archive));
  reader.end();
  const walked = collector();
  await walkDirectory(tree, walked.sink);
  const plain = ({ entry, data }: { entry: TarEntry; data: string }) => {
    const path = entry.path.replace(/^\.\/(?=.)/, "").replace(/(?<=[^.])\/$/, "");
    return {
      ...entry,
      path,
      linkPath: entry.type === "hardlink" ? entry.linkPath.replace(/^\.\//, "") : entry.linkPath,
      data,
    };
  };
  const byPath = (a: { path: string }, b: { path: string }) => (a.path < b.path ? -1 : 1);
  assert.deepEqual(walked.found.map(plain).sort(byPath), expected.found.map(plain).sort(byPath));
  const types = new Set(walked.found.map(({ entry }) => entry.type));
  for (const type of ["char", "block", "fifo", "hardlink", "symlink"] as const) assert.ok(types.has(type), type);
  assert.ok(walked.found.some(({ entry }) => entry.xattrs.length > 0));
});
