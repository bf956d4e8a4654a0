/**
 * What is attached to a manifest: signatures, converted images. OCI distribution spec 1.1, "Listing Referrers" and
 * "Referrers Tag Schema".
 */
import {
  type Descriptor,
  type Digest,
  digestHex,
  JsonObject,
  MAX_INDEX_ENTRIES,
  MAX_MANIFEST_BYTES,
  OCI_INDEX,
  parseManifest,
  SourceError,
} from "../../formats/oci/index.ts";
import { type Answer, discard, header, readBody } from "./http.ts";
import { parsed } from "./parsed.ts";
import type { FetchedManifest, RepositoryReader } from "./repository-reader.ts";
import { retrying } from "./retry.ts";
import type { RepositoryWriter } from "./upload.ts";

/** Pages of one list of referrers. */
const MAX_PAGES = 16;
/** How often the fallback tag is written when somebody else writes it at the same time. */
const MAX_ATTACHMENTS = 5;

/** The tag under which a registry without the referrers API lists what is attached to a manifest. */
export function referrersTag(subject: Digest): string {
  return `sha256-${digestHex(subject)}`;
}

/**
 * Descriptors of what is attached to a manifest, of one type: by the API, or by the fallback tag where the registry has none.
 * What the list says of them is not verified.
 * @throws SourceError
 */
export async function listReferrers(
  reader: RepositoryReader,
  subject: Digest,
  artifactType: string,
): Promise<readonly Descriptor[]> {
  const found = (await listByApi(reader, subject, artifactType)) ?? (await listByTag(reader, subject));
  return found.filter((one) => one.artifactType === artifactType);
}

/** undefined: the registry has no such API. */
async function listByApi(
  reader: RepositoryReader,
  subject: Digest,
  artifactType: string,
): Promise<Descriptor[] | undefined> {
  const what = `${reader.name}: referrers of ${subject}`;
  const found: Descriptor[] = [];
  let next: string | URL = `referrers/${subject}?artifactType=${encodeURIComponent(artifactType)}`;
  for (let page = 0; page < MAX_PAGES && found.length < MAX_INDEX_ENTRIES; page++) {
    const fetched = await fetchPage(reader, next, what);
    if (fetched === undefined) return page === 0 ? undefined : found;
    const { answer, bytes } = fetched;
    const document = parsed(what, () => parseManifest(bytes, OCI_INDEX));
    if (document.kind === "index") found.push(...document.manifests);
    const link = /<([^>]+)>\s*;\s*rel="?next"?/i.exec(header(answer.response, "link") ?? "")?.[1];
    if (link === undefined || !URL.canParse(link, answer.url.href)) break;
    const url = new URL(link, answer.url);
    // The list goes on where it began, nowhere else.
    if (url.host !== answer.url.host) break;
    url.protocol = answer.url.protocol;
    next = url;
  }
  return found;
}

/** What registries without the API answer: not found, not allowed, not understood, or a page for people. */
const NO_SUCH_API = new Set([400, 401, 403, 404, 405, 406, 410, 415, 501]);

function fetchPage(
  { client, options: { retry, signal } }: RepositoryReader,
  path: string | URL,
  what: string,
): Promise<{ answer: Answer; bytes: Buffer } | undefined> {
  return retrying(retry, signal, async () => {
    const answer = await client.exchange({ method: "GET", path, headers: { accept: OCI_INDEX }, what });
    const { response } = answer;
    const type = header(response, "content-type")?.replace(/;.*/s, "").trim();
    if (NO_SUCH_API.has(response.statusCode) || (response.statusCode === 200 && type !== OCI_INDEX)) {
      discard(response);
      return undefined;
    }
    if (response.statusCode !== 200) throw await client.refusal(answer, what);
    return { answer, bytes: await readBody(answer, MAX_MANIFEST_BYTES, what, signal) };
  });
}

async function listByTag(reader: RepositoryReader, subject: Digest): Promise<readonly Descriptor[]> {
  return entriesOf(await reader.optionalTag(referrersTag(subject)));
}

function entriesOf(found: FetchedManifest | undefined): readonly Descriptor[] {
  return found?.document.kind === "index" ? found.document.manifests : [];
}

/** What is attached, as the list of its subject has it. */
export interface Attachment {
  readonly mediaType: string;
  readonly digest: Digest;
  readonly size: number;
  readonly artifactType: string;
  readonly annotations?: Readonly<Record<string, string>>;
}

/**
 * Adds to the fallback tag of a manifest, before what is there: for registries that do not list by themselves. Everything else
 * in the list stays as it is. Registries have no conditional writes, so the list is read again: who has been overwritten in
 * the same moment adds once more.
 * @throws SourceError
 */
export async function attachByTag(
  reader: RepositoryReader,
  writer: RepositoryWriter,
  subject: Digest,
  attachment: Attachment,
): Promise<void> {
  const tag = referrersTag(subject);
  const look = async () => {
    const found = await reader.optionalTag(tag);
    return { found, isListed: entriesOf(found).some(({ digest }) => digest === attachment.digest) };
  };
  for (let attempt = 0; attempt < MAX_ATTACHMENTS; attempt++) {
    const { found, isListed } = await look();
    if (isListed) return;
    if (found !== undefined && found.document.kind !== "index")
      throw new SourceError(
        "ERR_UNSUPPORTED",
        `${reader.name}: the tag ${tag} is an image, expected a list of what is attached to ${subject}`,
      );
    const before = found && JsonObject.parse(found.bytes, "referrers", MAX_MANIFEST_BYTES).raw;
    const manifests = [attachment, ...((before?.manifests ?? []) as unknown[])];
    const list = { schemaVersion: 2, mediaType: OCI_INDEX, ...before, manifests };
    await writer.putManifest(tag, OCI_INDEX, Buffer.from(JSON.stringify(list)));
  }
  if ((await look()).isListed) return;
  throw new SourceError(
    "ERR_NETWORK",
    `${reader.name}: the tag ${tag} was overwritten ${MAX_ATTACHMENTS} times in a row by somebody else; try again`,
  );
}
