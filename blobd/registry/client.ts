import { SourceError } from "../../formats/oci/index.ts";
import type { Authorization, Endpoint } from "./endpoint.ts";
import { type Answer, header, type Method, send } from "./http.ts";
import { type Connection, challengesOf, Login } from "./login.ts";
import { PassingError } from "./retry.ts";
import { statusError } from "./status.ts";

/** Registries redirect blobs once, to their storage; a few hops more do no harm. */
const MAX_REDIRECTS = 5;
const REDIRECTS = new Set([301, 302, 303, 307, 308]);

/** A request to a repository. */
export interface RepositoryRequest {
  readonly method: Method;
  /** Below `/v2/REPOSITORY/`, such as `manifests/…`; or a whole URL that the registry gave for what follows. */
  readonly path: string | URL;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Uint8Array;
  /** In place of the connection's. */
  readonly signal?: AbortSignal;
  /** What is fetched or sent, for errors. */
  readonly what: string;
}

/** Speaks with one repository at one endpoint. */
export class RegistryClient {
  readonly endpoint: Endpoint;
  readonly repository: string;
  readonly #connection: Connection;
  readonly #login: Login;

  constructor(endpoint: Endpoint, repository: string, connection: Connection, known?: Authorization) {
    this.endpoint = endpoint;
    this.repository = repository;
    this.#connection = connection;
    this.#login = new Login(endpoint, repository, connection, known);
  }

  /** What requests carry at the moment, for clients in other threads. */
  get authorization(): Authorization | undefined {
    return this.#login.authorization;
  }

  /**
   * The answer to GET `/v2/REPOSITORY/PATH`, logged in if need be, redirects followed. Its status is 200 or 206.
   *
   * @param path `manifests/…` or `blobs/…`, or a URL of this registry.
   * @param what What is fetched, for errors.
   * @throws PassingError, SourceError
   */
  async get(path: string | URL, headers: Readonly<Record<string, string>>, what: string): Promise<Answer> {
    const answer = await this.exchange({ method: "GET", path, headers, what });
    const { statusCode } = answer.response;
    if (statusCode === 200 || statusCode === 206) return answer;
    throw await this.refusal(answer, what);
  }

  /**
   * The answer to a request, logged in if need be, whatever its status; redirects of GET and HEAD are followed. The caller
   * reads or discards its body.
   * @throws PassingError, SourceError
   */
  async exchange(request: RepositoryRequest): Promise<Answer> {
    const url = this.#urlOf(request.path);
    const answer = await this.#follow(url, request);
    if (answer.response.statusCode !== 401 || answer.url.origin !== this.endpoint.origin) return answer;
    if (!(await this.#login.answer(challengesOf(answer)))) return answer;
    await answer.response.body.dump();
    return this.#follow(url, request);
  }

  /** The URL in a Location header of `answer`: never less safe than the registry itself. @throws SourceError */
  locationOf(answer: Answer, what: string): URL {
    const text = header(answer.response, "location") ?? "";
    const url = URL.canParse(text, answer.url.href) ? new URL(text, answer.url) : undefined;
    // A registry behind a proxy that ends TLS often does not know that it is reached by https.
    if (url?.host === answer.url.host) url.protocol = answer.url.protocol;
    return checkedRedirect(answer.url, url, text, what);
  }

  /** What an answer that is no success means. */
  async refusal(answer: Answer, what: string): Promise<SourceError> {
    const { statusCode } = answer.response;
    const denied = statusCode === 401 || statusCode === 403;
    if (answer.url.origin === this.endpoint.origin) {
      // Registries hide what a stranger may not see behind a 404 or a 401.
      return statusError(answer, what, denied ? await this.#login.hint() : "");
    }
    const error = await statusError(answer, what);
    // A signed link that has run out; the registry gives a new one.
    return denied ? new PassingError("ERR_UNAUTHORIZED", error.message) : error;
  }

  #urlOf(path: string | URL): URL {
    const { origin, prefix } = this.endpoint;
    return typeof path === "string" ? new URL(`${origin}/v2/${prefix}${this.repository}/${path}`) : path;
  }

  async #follow(start: URL, { method, headers, body, signal, what }: RepositoryRequest): Promise<Answer> {
    let url = start;
    for (let hops = 0; hops <= MAX_REDIRECTS; hops++) {
      // The token is for the registry alone: whoever it redirects to does not get it.
      const authorization = url.origin === this.endpoint.origin ? this.#login.authorization : undefined;
      const all = { ...headers, ...(authorization && { authorization: authorization.value }) };
      const response = await send({
        url,
        method,
        headers: all,
        body,
        ca: this.endpoint.ca,
        ...this.#connection,
        ...(signal && { signal }),
      });
      const follows = (method === "GET" || method === "HEAD") && REDIRECTS.has(response.statusCode);
      const location = follows ? header(response, "location") : undefined;
      if (location === undefined) return { url, response };
      await response.body.dump();
      const to = URL.canParse(location, url.href) ? new URL(location, url) : undefined;
      url = checkedRedirect(url, to, location, what);
    }
    throw new SourceError("ERR_NETWORK", `${what}: ${start.host} redirects more than ${MAX_REDIRECTS} times`);
  }
}

function checkedRedirect(from: URL, to: URL | undefined, text: string, what: string): URL {
  const allowed = from.protocol === "https:" ? ["https:"] : ["http:", "https:"];
  if (to === undefined || !allowed.includes(to.protocol))
    throw new SourceError(
      "ERR_NETWORK",
      `${what}: ${from.host} redirects to ${JSON.stringify(text.slice(0, 200))}, expected an ${allowed.at(-1)} URL`,
    );
  return to;
}
