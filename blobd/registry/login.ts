/**
 * Answers a registry's 401: credentials straight (Basic), or a token from the token server that the challenge names
 * (Bearer). distribution spec, auth/token and auth/oauth.
 */
import { JsonObject, SourceError } from "../../formats/oci/index.ts";
import { type Challenge, parseChallenges } from "./challenge.ts";
import { type Credentials, findCredentials } from "./credentials.ts";
import type { Authorization, Endpoint } from "./endpoint.ts";
import { type Answer, type HttpRequest, header, readBody, send } from "./http.ts";
import { parsed } from "./parsed.ts";
import { statusError } from "./status.ts";

/** What requests to one endpoint have in common. */
export type Connection = Pick<HttpRequest, "env" | "stallMs" | "signal">;

const MAX_TOKEN_BYTES = 1 << 20;
/** What a token lives when the answer does not say (distribution spec, auth/token). */
const DEFAULT_LIFE_S = 60;
/** A token this near its end is not used any more. */
const LEEWAY_MS = 5000;

/** The state of being logged in at one endpoint, for pulling from one repository. */
export class Login {
  readonly #endpoint: Endpoint;
  readonly #repository: string;
  readonly #connection: Connection;
  #authorization: Authorization | undefined;
  #credentials: Promise<Credentials | undefined> | undefined;

  constructor(endpoint: Endpoint, repository: string, connection: Connection, known?: Authorization) {
    this.#endpoint = endpoint;
    this.#repository = repository;
    this.#connection = connection;
    this.#authorization = known;
  }

  /** What to send now; undefined before the first challenge and after the token's end. */
  get authorization(): Authorization | undefined {
    const known = this.#authorization;
    return known && known.expiresMs - LEEWAY_MS > Date.now() ? known : undefined;
  }

  /** What to tell a user who was refused. */
  async hint(): Promise<string> {
    const { host } = this.#endpoint;
    const credentials = await this.#findCredentials();
    if (credentials) return `the credentials for ${host} in ${credentials.origin} do not allow it`;
    return `it needs credentials: none are stored for ${host} (docker login, podman login or skopeo login stores them)`;
  }

  /**
   * Gets a new authorization for the challenges of a 401.
   * @returns Whether there is one to try.
   * @throws SourceError
   */
  async answer(wwwAuthenticate: string): Promise<boolean> {
    this.#authorization = undefined;
    // They may have been renewed since.
    this.#credentials = undefined;
    const challenges = parseChallenges(wwwAuthenticate);
    const bearer = challenges.find((c) => c.scheme === "bearer");
    const credentials = await this.#findCredentials();
    if (bearer) this.#authorization = await this.#bearer(bearer, credentials);
    else if (challenges.some((c) => c.scheme === "basic") && credentials?.kind === "password")
      this.#authorization = { value: basic(credentials), expiresMs: Number.POSITIVE_INFINITY };
    return this.#authorization !== undefined;
  }

  #findCredentials(): Promise<Credentials | undefined> {
    const { env, signal } = this.#connection;
    this.#credentials ??= findCredentials(this.#endpoint.host, this.#repository, env, signal);
    return this.#credentials;
  }

  async #bearer(challenge: Challenge, credentials: Credentials | undefined): Promise<Authorization> {
    if (credentials?.kind === "bearer")
      return { value: `Bearer ${credentials.token}`, expiresMs: Number.POSITIVE_INFINITY };
    const realm = this.#realm(challenge);
    const parameters = new URLSearchParams();
    const service = challenge.parameters.get("service") ?? "";
    if (service !== "") parameters.set("service", service);
    const scope = challenge.parameters.get("scope") ?? `repository:${this.#endpoint.prefix}${this.#repository}:pull`;
    // One parameter a repository: a mount is a matter of two (distribution spec, auth/token).
    for (const one of scope.split(" ")) if (one !== "") parameters.append("scope", one);
    const answer =
      credentials?.kind === "identity"
        ? await this.#exchange(realm, parameters, credentials.token)
        : await this.#request(realm, parameters, credentials);
    if (answer.response.statusCode !== 200)
      throw await statusError(answer, `token for ${this.#endpoint.host}/${this.#repository}`, await this.hint());
    return readToken(answer, this.#connection.signal);
  }

  /** The token server's URL. Credentials go there, so it may not be less safe than the registry itself. */
  #realm(challenge: Challenge): URL {
    const text = challenge.parameters.get("realm") ?? "";
    const url = URL.canParse(text) ? new URL(text) : undefined;
    const protocols = this.#endpoint.origin.startsWith("http:") ? ["http:", "https:"] : ["https:"];
    if (url === undefined || !protocols.includes(url.protocol))
      throw new SourceError(
        "ERR_UNAUTHORIZED",
        `${this.#endpoint.host}: its login challenge names the token server ${JSON.stringify(text)}, expected an https URL`,
      );
    return url;
  }

  async #request(realm: URL, parameters: URLSearchParams, credentials: Credentials | undefined): Promise<Answer> {
    const url = new URL(realm);
    for (const [name, value] of parameters) url.searchParams.append(name, value);
    const headers = credentials?.kind === "password" ? { authorization: basic(credentials) } : {};
    return { url, response: await send({ url, headers, ca: this.#endpoint.ca, ...this.#connection }) };
  }

  /** An identity token for an access token (OAuth 2 refresh grant). */
  async #exchange(url: URL, parameters: URLSearchParams, token: string): Promise<Answer> {
    const grant = { grant_type: "refresh_token", client_id: "erofsify", refresh_token: token };
    const form = new URLSearchParams(parameters);
    // One field with spaces here, as OAuth 2 has it.
    form.set("scope", parameters.getAll("scope").join(" "));
    for (const [name, value] of Object.entries(grant)) form.set(name, value);
    const body = form.toString();
    const headers = { "content-type": "application/x-www-form-urlencoded" };
    const method = "POST";
    return { url, response: await send({ url, method, headers, body, ca: this.#endpoint.ca, ...this.#connection }) };
  }
}

async function readToken(answer: Answer, signal: AbortSignal | undefined): Promise<Authorization> {
  const what = `token server ${answer.url.host}`;
  const body = await readBody(answer, MAX_TOKEN_BYTES, what, signal);
  return parsed(what, () => {
    const json = JsonObject.parse(body, "token", MAX_TOKEN_BYTES);
    const token = json.optionalString("token") || json.string("access_token");
    const lifeSeconds = json.has("expires_in") ? json.integer("expires_in", Number.MAX_SAFE_INTEGER) : DEFAULT_LIFE_S;
    return { value: `Bearer ${token}`, expiresMs: Date.now() + Math.max(lifeSeconds, DEFAULT_LIFE_S) * 1000 };
  });
}

function basic({ username, password }: { username: string; password: string }): string {
  return `Basic ${Buffer.from(`${username}:${password}`, "utf8").toString("base64")}`;
}

/** The challenges of a 401, as one text. */
export function challengesOf(answer: Answer): string {
  return header(answer.response, "www-authenticate") ?? "";
}
