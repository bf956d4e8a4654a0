import { createRequire } from "node:module";
import type { Dispatcher, EnvHttpProxyAgent } from "undici";

type ProxyAgentClass = new (options: EnvHttpProxyAgent.Options) => Dispatcher;

let loaded: ProxyAgentClass | undefined;

/**
 * A new agent of undici, which is loaded at the first one, and only in part. Its index also loads fetch, WebSockets,
 * caches and mocks: 65 to 100 ms of processor time and 19 MiB in every thread, where this takes 25 ms and 11 MiB. The
 * files are no public interface, but the version is pinned and every test of this folder passes through here.
 */
export function newAgent(options: EnvHttpProxyAgent.Options): Dispatcher {
  loaded ??= load();
  return new loaded(options);
}

function load(): ProxyAgentClass {
  const require = createRequire(import.meta.url);
  // As undici's index does: `request` and `connect` become methods of every agent.
  const base: { prototype: object } = require("undici/lib/dispatcher/dispatcher.js");
  Object.assign(base.prototype, require("undici/lib/api/index.js"));
  return require("undici/lib/dispatcher/env-http-proxy-agent.js");
}
