import assert from "node:assert/strict";
import { chmodSync, mkdirSync, writeFileSync } from "node:fs";
import type { IncomingMessage, ServerResponse } from "node:http";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { test } from "node:test";
import { type FakeRegistry, fakeImage, startFakeRegistry, testOptions } from "../../blobd/registry/testing.ts";
import { parseSource } from "../names/index.ts";
import { tempDir } from "../testkit/index.ts";
import { openLayer, resolveImage } from "./index.ts";
import type { ReadOptions } from "./options.ts";

const LAYER = Buffer.from("layer".repeat(10_000));
const IMAGE = fakeImage([LAYER]);

async function pull(registry: FakeRegistry, options: ReadOptions): Promise<Buffer> {
  const image = structuredClone(await resolveImage(parseSource(`${registry.host}/a/b:1`), options));
  const chunks: Uint8Array[] = [];
  for await (const chunk of openLayer(image, image.layers[0]!, options)) chunks.push(chunk);
  return Buffer.concat(chunks);
}

/** An environment whose Docker config has this content. */
function withDockerConfig(config: object): Record<string, string> {
  const directory = tempDir();
  mkdirSync(join(directory, ".docker"));
  writeFileSync(join(directory, ".docker/config.json"), JSON.stringify(config));
  return { HOME: directory };
}

const base64 = (plain: string) => Buffer.from(plain).toString("base64");

function refuse(response: ServerResponse, challenge: string): true {
  response.writeHead(401, { "www-authenticate": challenge }).end('{"errors":[{"code":"UNAUTHORIZED"}]}');
  return true;
}

/** A registry that wants `Bearer TOKEN-n`, with its token server under /token; `valid` decides which n still count. */
async function startTokenRegistry(
  t: Parameters<typeof startFakeRegistry>[0],
  valid: (n: number, request: IncomingMessage) => boolean = () => true,
  check: (request: IncomingMessage) => boolean = () => true,
): Promise<FakeRegistry> {
  let issued = 0;
  const registry = await startFakeRegistry(t, IMAGE, (request, response) => {
    if (request.url!.startsWith("/token")) {
      if (check(request)) response.end(JSON.stringify({ token: `TOKEN-${++issued}`, expires_in: 300 }));
      else response.writeHead(401).end();
      return true;
    }
    const n = Number(/^Bearer TOKEN-(\d+)$/.exec(request.headers.authorization ?? "")?.[1] ?? Number.NaN);
    if (!Number.isNaN(n) && valid(n, request)) return false;
    const scope = "repository:a/b:pull repository:c/d:pull";
    return refuse(
      response,
      `Bearer realm="http://${registry.host}/token?keep=1",service="the service",scope="${scope}"`,
    );
  });
  return registry;
}

test("an anonymous token is fetched once and serves all requests, also those of other threads", async (t) => {
  const registry = await startTokenRegistry(t);
  assert.ok(LAYER.equals(await pull(registry, testOptions())));
  const tokens = registry.requests.filter((r) => r.line.includes("/token"));
  assert.equal(tokens.length, 1);
  const url = new URL(tokens[0]!.line.replace("GET ", ""), "http://x");
  assert.deepEqual(
    [...url.searchParams],
    [
      ["keep", "1"],
      ["service", "the service"],
      ["scope", "repository:a/b:pull"],
      ["scope", "repository:c/d:pull"],
    ],
  );
  assert.equal(tokens[0]!.headers.authorization, undefined);
});

test("a token that runs out between manifest and layer is replaced", async (t) => {
  const registry = await startTokenRegistry(t, (n, request) => n > 1 || !request.url!.endsWith(IMAGE.layers[0]!));
  assert.ok(LAYER.equals(await pull(registry, testOptions())));
  assert.equal(registry.requests.filter((r) => r.line.includes("/token")).length, 2);
});

test("a token that runs out in the middle of a layer is replaced, and the layer goes on", async (t) => {
  let broken = false;
  const registry = await startTokenRegistry(t, (n) => !broken || n > 1);
  const { fault } = registry;
  registry.fault = (request, response, seen) => {
    if (broken || !request.url!.endsWith(IMAGE.layers[0]!)) return fault(request, response, seen);
    broken = true;
    response.writeHead(200, { "content-length": LAYER.length });
    response.write(LAYER.subarray(0, 1000), () => response.destroy());
    return true;
  };
  assert.ok(LAYER.equals(await pull(registry, testOptions())));
  assert.equal(registry.requests.at(-1)!.headers.range, "bytes=1000-");
  assert.equal(registry.requests.at(-1)!.headers.authorization, "Bearer TOKEN-2");
});

test("a password goes to the token server, the token to the registry", async (t) => {
  const registry = await startTokenRegistry(
    t,
    undefined,
    (r) => r.headers.authorization === `Basic ${base64("u:p:w")}`,
  );
  const env = withDockerConfig({ auths: { [registry.host]: { auth: base64("u:p:w") } } });
  assert.ok(LAYER.equals(await pull(registry, testOptions({ env }))));
});

test("an identity token is exchanged by POST", async (t) => {
  const bodies: Promise<string>[] = [];
  const registry = await startTokenRegistry(t, undefined, (request) => {
    bodies.push(text(request));
    return request.method === "POST";
  });
  const env = withDockerConfig({ auths: { [registry.host]: { identitytoken: "refresh me" } } });
  assert.ok(LAYER.equals(await pull(registry, testOptions({ env }))));
  const form = new URLSearchParams(await bodies[0]!);
  assert.deepEqual(
    ["grant_type", "refresh_token", "service", "scope"].map((name) => form.get(name)),
    ["refresh_token", "refresh me", "the service", "repository:a/b:pull repository:c/d:pull"],
  );
});

test("a registry that wants Basic gets the credentials of the credential helper", async (t) => {
  const directory = tempDir(t);
  const helper = join(directory, "docker-credential-test");
  writeFileSync(
    helper,
    `#!/bin/sh\nread server\necho "{\\"ServerURL\\":\\"$server\\",\\"Username\\":\\"u\\",\\"Secret\\":\\"of $server\\"}"\n`,
  );
  chmodSync(helper, 0o755);
  const registry = await startFakeRegistry(t, IMAGE, (request, response) => {
    const expected = `Basic ${base64(`u:of ${registry.host}`)}`;
    return request.headers.authorization === expected ? false : refuse(response, 'Basic realm="r"');
  });
  const PATH = `${directory}:${process.env.PATH}`;
  for (const config of [{ credHelpers: { [registry.host]: "test" } }, { credsStore: "test" }])
    assert.ok(LAYER.equals(await pull(registry, testOptions({ env: { ...withDockerConfig(config), PATH } }))));
});

for (const [name, script, expected] of [
  ["that knows nothing lets the file decide", "echo 'credentials not found in native keychain'; exit 1", undefined],
  ["that fails is an error with its words", "echo 'keychain is locked' >&2; exit 1", /keychain is locked/],
  ["that answers nonsense is an error", "echo nonsense", /not the JSON object/],
] as const)
  test(`a credential helper ${name}`, async (t) => {
    const directory = tempDir(t);
    writeFileSync(join(directory, "docker-credential-test"), `#!/bin/sh\n${script}\n`, { mode: 0o755 });
    const registry = await startFakeRegistry(t, IMAGE, (request, response) =>
      request.headers.authorization === `Basic ${base64("u:p")}` ? false : refuse(response, 'Basic realm="r"'),
    );
    const config = { credsStore: "test", auths: { [registry.host]: { auth: base64("u:p") } } };
    const env = { ...withDockerConfig(config), PATH: `${directory}:${process.env.PATH}` };
    const result = pull(registry, testOptions({ env }));
    if (expected === undefined) assert.ok(LAYER.equals(await result));
    else await assert.rejects(result, { code: "ERR_CREDENTIALS", message: expected });
  });

test("a helper that is not installed is named", async (t) => {
  const registry = await startFakeRegistry(t, IMAGE, (_, response) => refuse(response, 'Basic realm="r"'));
  const env = withDockerConfig({ credsStore: "no-such-helper" });
  await assert.rejects(pull(registry, testOptions({ env })), {
    code: "ERR_CREDENTIALS",
    message: /docker-credential-no-such-helper is not installed/,
  });
});

test("a refusal without credentials says where they would be stored from", async (t) => {
  const registry = await startFakeRegistry(t, IMAGE, (_, response) => refuse(response, 'Basic realm="r"'));
  await assert.rejects(pull(registry, testOptions()), {
    code: "ERR_UNAUTHORIZED",
    message:
      /answered 401 \(UNAUTHORIZED\): access denied; it needs credentials: none are stored for 127.*docker login/,
  });
  assert.equal(registry.requests.length, 1);
});

test("a refusal in spite of credentials names their file, and not the secret", async (t) => {
  const registry = await startFakeRegistry(t, IMAGE, (_, response) => refuse(response, 'Basic realm="r"'));
  const env = withDockerConfig({ auths: { [registry.host]: { auth: base64("user:secret") } } });
  await assert.rejects(pull(registry, testOptions({ env })), (error: Error & { code: string }) => {
    assert.equal(error.code, "ERR_UNAUTHORIZED");
    assert.match(error.message, /config\.json do not allow it/);
    assert.doesNotMatch(`${error.message} ${error.stack}`, /secret/);
    return true;
  });
});

test("a token server that refuses is named", async (t) => {
  const registry = await startTokenRegistry(t, undefined, () => false);
  await assert.rejects(pull(registry, testOptions()), {
    code: "ERR_UNAUTHORIZED",
    message: /^token for 127\.0\.0\.1:\d+\/a\/b: .* answered 401/,
  });
});

for (const answer of ["", "[]", "{}", '{"token":1}', '{"token":"x","expires_in":-1}'])
  test(`a token server that answers ${JSON.stringify(answer)} is refused`, async (t) => {
    const registry = await startFakeRegistry(t, IMAGE, (request, response) => {
      if (!request.url!.startsWith("/token")) return refuse(response, `Bearer realm="http://${registry.host}/token"`);
      response.end(answer);
      return true;
    });
    await assert.rejects(pull(registry, testOptions()), { code: "ERR_BAD_MANIFEST", message: /^token server 127/ });
  });

for (const realm of ["", "token", "file:///etc/passwd", "ftp://x/"])
  test(`the token server ${JSON.stringify(realm)} is refused`, async (t) => {
    const registry = await startFakeRegistry(t, IMAGE, (_, response) => refuse(response, `Bearer realm="${realm}"`));
    await assert.rejects(pull(registry, testOptions()), { code: "ERR_UNAUTHORIZED", message: /expected an https URL/ });
  });

test("a redirect to another host takes the range along, but no credentials", async (t) => {
  const storage = await startFakeRegistry(t, IMAGE, (_request, response, seen) => {
    if (seen > 0) return false;
    response.writeHead(200, { "content-length": LAYER.length });
    response.write(LAYER.subarray(0, 1000), () => response.destroy());
    return true;
  });
  const registry = await startFakeRegistry(t, IMAGE, (request, response) => {
    if (request.headers.authorization !== `Basic ${base64("u:p")}`) return refuse(response, 'Basic realm="r"');
    if (!request.url!.includes("/blobs/")) return false;
    response.writeHead(307, { location: `http://${storage.host}${request.url}?signed=1` }).end();
    return true;
  });
  const env = withDockerConfig({
    auths: { [registry.host]: { auth: base64("u:p") }, [storage.host]: { auth: "eDp5" } },
  });
  assert.ok(LAYER.equals(await pull(registry, testOptions({ env, retry: { tries: 9 } }))));
  assert.ok(storage.requests.some((r) => r.headers.range === "bytes=1000-"));
  for (const { line, headers } of storage.requests) assert.equal(headers.authorization, undefined, line);
});

test("a host redirected to does not get credentials by asking for them", async (t) => {
  const thief = await startFakeRegistry(t, IMAGE, (request, response) =>
    request.url!.startsWith("/steal") ? false : refuse(response, `Bearer realm="http://${thief.host}/steal"`),
  );
  const registry = await startFakeRegistry(t, IMAGE, (request, response) => {
    response.writeHead(302, { location: `http://${thief.host}${request.url}` }).end();
    return true;
  });
  const env = withDockerConfig({ auths: { [registry.host]: { auth: base64("u:p") } } });
  await assert.rejects(pull(registry, testOptions({ env, retry: { tries: 2 } })), { code: "ERR_UNAUTHORIZED" });
  for (const { line, headers } of thief.requests) {
    assert.equal(headers.authorization, undefined, line);
    assert.ok(!line.includes("steal"), line);
  }
});

test("redirects in a circle, and to what is not the web, are refused", async (t) => {
  const locations = ["", "file:///etc/passwd", "http://["];
  for (const location of locations) {
    const registry = await startFakeRegistry(t, IMAGE, (_, response) => {
      response.writeHead(302, { location: location || "/again" }).end();
      return true;
    });
    await assert.rejects(pull(registry, testOptions()), {
      code: "ERR_NETWORK",
      message: /redirects (?:more than 5|to)/,
    });
    assert.equal(registry.requests.length, location === "" ? 6 : 1);
  }
});
