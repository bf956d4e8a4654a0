/** One server that has the repositories of a registry. Plain data. */
export interface Endpoint {
  /** `https://host[:port]`, without a slash at the end. */
  readonly origin: string;
  /** The host its credentials are filed under: `docker.io`, `host:5000`. */
  readonly host: string;
  /** Stands before the repository in paths: "" or `hub/`. */
  readonly prefix: string;
  /** PEM file of further certificate authorities. */
  readonly ca?: string;
}

/** A value for the Authorization header. Plain data. */
export interface Authorization {
  readonly value: string;
  /** When it stops working, in ms since 1970; Infinity for credentials. */
  readonly expiresMs: number;
}
