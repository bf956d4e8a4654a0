import type { Metadata, UntypedServiceImplementation } from "@grpc/grpc-js";
import type { Applier } from "./apply.ts";
import type { Comparer, DiffRequest } from "./compare.ts";
import { type Caller, callerOf } from "./content-client.ts";
import { type CallObserver, type DescriptorMessage, type Mount, ServiceError, unary } from "./grpc/index.ts";

interface ApplyRequest {
  readonly diff: DescriptorMessage | null;
  readonly mounts: readonly Mount[];
}

/** containerd.services.diff.v1.Diff. */
export function diffService(
  applier: Applier,
  comparer: Comparer,
  observer: CallObserver,
): UntypedServiceImplementation {
  return {
    apply: unary("Apply", observer, async ({ diff, mounts }: ApplyRequest, metadata) => {
      if (diff === null) throw new ServiceError("invalid argument", "no layer is named");
      return { applied: await applier.apply(diff, mounts, callerOf(metadata)) };
    }),
    diff: unary("Diff", observer, async (request: DiffRequest, metadata, signal) => ({
      diff: await comparer.compare(request, leaseholder(metadata), signal),
    })),
  };
}

/** What is written into containerd's content for nobody is soon collected as garbage: its own differ has to do that. */
function leaseholder(metadata: Metadata): Caller {
  const caller = callerOf(metadata);
  if (caller === null) throw new ServiceError("not implemented", "comparing for a caller without a namespace");
  return caller;
}
