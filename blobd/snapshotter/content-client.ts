import {
  type ClientReadableStream,
  credentials,
  type ServiceError as GrpcError,
  Metadata,
  type ServiceClientConstructor,
  status,
} from "@grpc/grpc-js";
import { loadServices, ServiceError, type Timestamp } from "./grpc/index.ts";

/** Headers by which containerd knows for whom a call is, and what keeps its results. */
const NAMESPACE = "containerd-namespace";
const LEASE = "containerd-lease";
/** containerd sends content in messages of 1 MiB and says so in its own limit of 16 MiB. */
const MAX_MESSAGE_BYTES = 16 << 20;
/** How long one call that is no transfer may take, in ms. */
const CALL_MS = 30_000;

/** Content as containerd knows it. */
export interface ContentInfo {
  readonly digest: string;
  readonly size: number;
  readonly labels: Readonly<Record<string, string>>;
  readonly updatedAt?: Timestamp | null;
}

/** For whom a call is. */
export interface Caller {
  readonly namespace: string;
  readonly lease?: string | undefined;
}

/** Who made a call of containerd's to us; null when it does not say: containerd 1.7 tells its plugins nothing. */
export function callerOf(metadata: Metadata): Caller | null {
  const [namespace] = metadata.get(NAMESPACE);
  const [lease] = metadata.get(LEASE);
  if (typeof namespace !== "string" || namespace === "") return null;
  return { namespace, ...(typeof lease === "string" && { lease }) };
}

/** For whom a snapshot is: containerd puts the namespace and a number before the names that its clients give. */
export function callerOfSnapshot(name: string): Caller | null {
  const namespace = /^([^/]+)\/\d+\//.exec(name)?.[1];
  return namespace === undefined ? null : { namespace };
}

type ServiceClient = InstanceType<ServiceClientConstructor>;
type Unary = (
  request: object,
  metadata: Metadata,
  options: object,
  done: (error: GrpcError | null, answer: never) => void,
) => void;

/** containerd's content and introspection services. Errors are ServiceErrors where they have a kind of their own. */
export class ContentClient {
  readonly #content: ServiceClient;
  readonly #introspection: ServiceClient;
  #root: string | null | undefined;

  /** @param address containerd's socket: a path. */
  constructor(address: string) {
    const services = loadServices();
    const options = { "grpc.max_receive_message_length": MAX_MESSAGE_BYTES };
    const target = `unix:${address}`;
    this.#content = new services.content.Client(target, credentials.createInsecure(), options);
    this.#introspection = new services.introspection.Client(target, credentials.createInsecure(), options);
  }

  close(): void {
    this.#content.close();
    this.#introspection.close();
  }

  /** @throws ServiceError not found */
  async info(digest: string, caller: Caller): Promise<ContentInfo> {
    const { info } = await call<{ info: ContentInfo }>(this.#content, "info", { digest }, caller);
    return info;
  }

  /** Content that has one of these labels. */
  async list(filters: readonly string[], caller: Caller): Promise<ContentInfo[]> {
    const stream = this.#stream("list", { filters }, caller);
    const found: ContentInfo[] = [];
    for await (const { info } of messages<{ info: ContentInfo[] }>(stream)) found.push(...info);
    return found;
  }

  /** The content's bytes, in messages of about 1 MiB. @throws ServiceError not found */
  async *read(digest: string, caller: Caller): AsyncGenerator<Uint8Array, void, undefined> {
    const stream = this.#stream("read", { digest, offset: 0, size: 0 }, caller);
    try {
      for await (const { data } of messages<{ data: Buffer }>(stream)) yield data;
    } finally {
      stream.cancel();
    }
  }

  /** All of a small content. @throws ServiceError not found, or invalid argument when it is longer than `mostBytes` */
  async readAll(digest: string, mostBytes: number, caller: Caller): Promise<Buffer> {
    const pieces: Uint8Array[] = [];
    let bytes = 0;
    for await (const piece of this.read(digest, caller)) {
      bytes += piece.length;
      if (bytes > mostBytes)
        throw new ServiceError("invalid argument", `content ${digest} is longer than ${mostBytes} bytes`);
      pieces.push(piece);
    }
    return Buffer.concat(pieces);
  }

  /** Sets a label, keeping the others. */
  async setLabel(digest: string, name: string, value: string, caller: Caller): Promise<void> {
    const updateMask = { paths: [`labels.${name}`] };
    await call(this.#content, "update", { info: { digest, labels: { [name]: value } }, updateMask }, caller);
  }

  /** Stores content, unless it is there. @throws ServiceError */
  async write(
    ref: string,
    { digest, size, labels }: ContentInfo,
    bytes: AsyncIterable<Uint8Array>,
    caller: Caller,
  ): Promise<void> {
    const stream = (this.#content.write as unknown as (metadata: Metadata) => WriteStream)(metadataOf(caller));
    const answers = stream[Symbol.asyncIterator]();
    const ask = async (message: object) => {
      stream.write({ ref, total: size, ...message });
      return await answers.next();
    };
    try {
      let offset = 0;
      for await (const data of bytes) {
        await ask({ action: "WRITE", offset, data });
        offset += data.length;
      }
      await ask({ action: "COMMIT", offset, expected: digest, labels });
      stream.end();
    } catch (error) {
      stream.cancel();
      throw serviceErrorOf(error);
    }
  }

  /** Forgets an unfinished write. */
  async abort(ref: string, caller: Caller): Promise<void> {
    await call(this.#content, "abort", { ref }, caller);
  }

  /** Where containerd's own content store keeps its files; null when there is none. Asked once. */
  async contentRoot(): Promise<string | null> {
    if (this.#root !== undefined) return this.#root;
    const filters = ["type==io.containerd.content.v1,id==content"];
    const { plugins } = await call<{ plugins: readonly { exports: Record<string, string> }[] }>(
      this.#introspection,
      "plugins",
      { filters },
      null,
    );
    this.#root = plugins[0]?.exports.root ?? null;
    return this.#root;
  }

  #stream(method: string, request: object, caller: Caller): ClientReadableStream<never> {
    const open = this.#content[method] as unknown as (
      request: object,
      metadata: Metadata,
    ) => ClientReadableStream<never>;
    return open.call(this.#content, request, metadataOf(caller));
  }
}

type WriteStream = AsyncIterable<unknown> & { write(message: object): void; end(): void; cancel(): void };

async function* messages<T>(stream: ClientReadableStream<never>): AsyncGenerator<T, void, undefined> {
  try {
    for await (const message of stream) yield message as T;
  } catch (error) {
    throw serviceErrorOf(error);
  }
}

function call<T>(client: ServiceClient, method: string, request: object, caller: Caller | null): Promise<T> {
  return new Promise((resolve, reject) => {
    const invoke = client[method] as unknown as Unary;
    invoke.call(client, request, metadataOf(caller), { deadline: Date.now() + CALL_MS }, (error, answer) =>
      error === null ? resolve(answer as T) : reject(serviceErrorOf(error)),
    );
  });
}

function metadataOf(caller: Caller | null): Metadata {
  const metadata = new Metadata();
  if (caller !== null) metadata.set(NAMESPACE, caller.namespace);
  if (caller?.lease !== undefined) metadata.set(LEASE, caller.lease);
  return metadata;
}

const KINDS = {
  [status.NOT_FOUND]: "not found",
  [status.ALREADY_EXISTS]: "already exists",
  [status.UNAVAILABLE]: "unavailable",
} as const;

function serviceErrorOf(error: unknown): Error {
  const { code, details } = error as Partial<GrpcError>;
  const kind = KINDS[code as keyof typeof KINDS];
  return kind === undefined ? (error as Error) : new ServiceError(kind, `containerd: ${details}`, { cause: error });
}
