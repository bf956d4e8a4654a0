import assert from "node:assert/strict";
import { test } from "node:test";
import { authFilePaths, fromAuths, parseAuthFile } from "./credentials.ts";

const base64 = (plain: string) => Buffer.from(plain).toString("base64");
const file = (value: unknown) => parseAuthFile("auth.json", Buffer.from(JSON.stringify(value)));
const PASSWORD = (username: string, password: string) => ({
  kind: "password",
  username,
  password,
  origin: "auth.json",
});

for (const [name, entry, expected] of [
  ["auth", { auth: base64("user:pass:word") }, PASSWORD("user", "pass:word")],
  ["auth padded with NULs", { auth: base64("user:pass\0\0") }, PASSWORD("user", "pass")],
  ["auth with an empty password", { auth: base64("user:") }, PASSWORD("user", "")],
  ["username and password", { username: "user", password: "pass" }, PASSWORD("user", "pass")],
  [
    "identitytoken",
    { auth: base64("00000000:"), identitytoken: "t" },
    { kind: "identity", token: "t", origin: "auth.json" },
  ],
  ["registrytoken", { registrytoken: "t" }, { kind: "bearer", token: "t", origin: "auth.json" }],
  ["nothing", {}, undefined],
  ["auth without a colon", { auth: base64("user") }, undefined],
] as const)
  test(`credentials: ${name}`, () => {
    assert.deepEqual(fromAuths(file({ auths: { "h:1": entry } }), "h:1", "a/b"), expected);
  });

for (const [key, host] of [
  ["https://index.docker.io/v1/", "docker.io"],
  ["index.docker.io", "docker.io"],
  ["registry-1.docker.io", "docker.io"],
  ["docker.io", "docker.io"],
  ["https://quay.io", "quay.io"],
  ["http://localhost:5000/v2/", "localhost:5000"],
  ["ghcr.io/", "ghcr.io"],
] as const)
  test(`the key ${key} is for ${host}`, () => {
    const found = fromAuths(file({ auths: { [key]: { auth: base64("u:p") } } }), host, "library/alpine");
    assert.deepEqual(found, PASSWORD("u", "p"));
  });

test("the longest key that covers the repository wins", () => {
  const entry = (name: string) => ({ auth: base64(`${name}:p`) });
  const auths = { "quay.io": entry("host"), "quay.io/team": entry("team"), "quay.io/team/app": entry("app") };
  const user = (repository: string) => {
    const found = fromAuths(file({ auths }), "quay.io", repository);
    return found?.kind === "password" ? found.username : undefined;
  };
  assert.equal(user("team/app"), "app");
  assert.equal(user("team/app/part"), "app");
  assert.equal(user("team/application"), "team");
  assert.equal(user("teams"), "host");
  assert.equal(fromAuths(file({ auths }), "quay.io.evil.example", "team/app"), undefined);
});

for (const [name, bytes] of [
  ["not JSON", Buffer.from("auths: secret")],
  ["a secret where an object belongs", Buffer.from('{"auths":{"h":"secret"}}')],
  ["a secret that is no string", Buffer.from('{"auths":{"h":{"auth":["secret"]}}}')],
] as const)
  test(`a credentials file with ${name} is refused without quoting it`, () => {
    assert.throws(
      () => parseAuthFile("auth.json", bytes),
      (error: Error & { code: string }) => {
        assert.equal(error.code, "ERR_CREDENTIALS");
        assert.match(error.message, /^auth\.json: credentials/);
        assert.doesNotMatch(error.message, /secret/);
        return true;
      },
    );
  });

test("credential files are looked for where docker, podman and skopeo keep them", () => {
  assert.deepEqual(authFilePaths({ HOME: "/h", XDG_RUNTIME_DIR: "/r" }), [
    "/h/.docker/config.json",
    "/r/containers/auth.json",
    "/h/.config/containers/auth.json",
  ]);
  assert.deepEqual(
    authFilePaths({
      HOME: "/h",
      XDG_RUNTIME_DIR: "/r",
      REGISTRY_AUTH_FILE: "/a",
      DOCKER_CONFIG: "/d",
      XDG_CONFIG_HOME: "/c",
    }),
    ["/a", "/d/config.json", "/r/containers/auth.json", "/c/containers/auth.json"],
  );
});
