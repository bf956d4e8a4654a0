/**
 * Registries over HTTP: logging in, mirrors, retries, blobs down and up. The converter pulls and pushes by it, the daemon
 * fetches chunks.
 */
export { ioError, SourceError, type SourceErrorCode } from "../../formats/oci/index.ts";
export { RegistryClient, type RepositoryRequest } from "./client.ts";
export { MAX_AUTH_FILE_BYTES } from "./credentials.ts";
export { type BlobRequest, downloadBlob, registryOpener, urlOpener } from "./download.ts";
export type { Authorization, Endpoint } from "./endpoint.ts";
export { type ConvertedImage, type ConvertedRequest, findConverted } from "./find-converted.ts";
export { firstEndpoint, type RepositoryAccess } from "./first-endpoint.ts";
export { type Answer, discard, header, networkError, readBody, send } from "./http.ts";
export type { Connection } from "./login.ts";
export { connectionOf, type RegistryOptions } from "./options.ts";
export { parsed } from "./parsed.ts";
export { pullCredentials, pullCredentialsPath } from "./pull-credentials.ts";
export { type Attachment, attachByTag, listReferrers, referrersTag } from "./referrers.ts";
export { type FetchedManifest, type ManifestName, RepositoryReader } from "./repository-reader.ts";
export { Attempts, DEFAULT_RETRY, PassingError, type RetryPolicy, retrying } from "./retry.ts";
export { type Environment, endpointsOf, parseSettings, readSettings, type Settings } from "./settings.ts";
export { statusError } from "./status.ts";
export { BlobUpload, RepositoryWriter, UploadLost } from "./upload.ts";
export { checkContent, type Expected, StreamCheck, sha256, wrongDigest, wrongLength } from "./verify.ts";
