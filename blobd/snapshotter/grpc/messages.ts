/** containerd's messages as JavaScript has them (see proto/*.proto and protos.ts): the fields that are used. */

/** containerd's description of a mount, as runtimes and differs get it. */
export interface Mount {
  readonly type: string;
  readonly source: string;
  readonly target?: string;
  readonly options: readonly string[];
}

export interface DescriptorMessage {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
  readonly annotations?: Readonly<Record<string, string>>;
}

export interface Timestamp {
  readonly seconds: number;
  readonly nanos: number;
}

export type KindName = "UNKNOWN" | "VIEW" | "ACTIVE" | "COMMITTED";

export interface InfoMessage {
  readonly name: string;
  readonly parent: string;
  readonly kind: KindName;
  readonly createdAt: Timestamp | null;
  readonly updatedAt: Timestamp | null;
  readonly labels: Readonly<Record<string, string>>;
}
