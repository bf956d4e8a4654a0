import type { Authorization, Endpoint } from "./endpoint.ts";
import { SourceError } from "./errors.ts";
import { type Answer, header, send } from "./http.ts";
import { type Connection, challengesOf, Login } from "./login.ts";
import { PassingError } from "./retry.ts";
import { statusError } from "./status.ts";

/** Registries redirect blobs once, to their storage; a few hops more do no harm. */
const MAX_REDIRECTS = 5;
const REDIRECTS = new Set([301, 302, 303, 307, 308]);

/** Reads from one repository at one endpoint. */
export class RegistryClient {
  readonly endpoint: Endpoint;
  readonly #repository: string;
  readonly #connection: Connection;
  readonly #login: Login;

  constructor(endpoint: Endpoint, repository: string, connection: Connection, known?: Authorization) {
    this.endpoint = endpoint;
    this.#repository = repository;
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
   * @param path `manifests/…` or `blobs/…`.
   * @param what What is fetched, for errors.
   * @throws PassingError, SourceError
   */
  async get(path: string, headers: Readonly<Record<string, string>>, what: string): Promise<Answer> {
    const { origin, prefix } = this.endpoint;
    const url = new URL(`${origin}/v2/${prefix}${this.#repository}/${path}`);
    let answer = await this.#follow(url, headers, what);
    if (answer.response.statusCode === 401 && answer.url.origin === origin) {
      const challenges = challengesOf(answer);
      if (await this.#login.answer(challenges)) {
        await answer.response.body.dump();
        answer = await this.#follow(url, headers, what);
      }
    }
    const { statusCode } = answer.response;
    if (statusCode === 200 || statusCode === 206) return answer;
    throw await this.#refusal(answer, what);
  }

  async #follow(start: URL, headers: Readonly<Record<string, string>>, what: string): Promise<Answer> {
    let url = start;
    for (let hops = 0; hops <= MAX_REDIRECTS; hops++) {
      // The token is for the registry alone: whoever it redirects to does not get it.
      const authorization = url.origin === start.origin ? this.#login.authorization : undefined;
      const all = { ...headers, ...(authorization && { authorization: authorization.value }) };
      const response = await send({ url, headers: all, ca: this.endpoint.ca, ...this.#connection });
      const location = REDIRECTS.has(response.statusCode) ? header(response, "location") : undefined;
      if (location === undefined) return { url, response };
      await response.body.dump();
      url = redirected(url, location, what);
    }
    throw new SourceError("ERR_NETWORK", `${what}: ${start.host} redirects more than ${MAX_REDIRECTS} times`);
  }

  async #refusal(answer: Answer, what: string): Promise<SourceError> {
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
}

function redirected(from: URL, location: string, what: string): URL {
  const to = URL.canParse(location, from.href) ? new URL(location, from) : undefined;
  const allowed = from.protocol === "https:" ? ["https:"] : ["http:", "https:"];
  if (to === undefined || !allowed.includes(to.protocol))
    throw new SourceError(
      "ERR_NETWORK",
      `${what}: ${from.host} redirects to ${JSON.stringify(location.slice(0, 200))}, expected an ${allowed.at(-1)} URL`,
    );
  return to;
}
