import {
  type handleServerStreamingCall,
  type handleUnaryCall,
  type Metadata,
  type ServerWritableStream,
  status,
} from "@grpc/grpc-js";
import { ServiceError } from "./errors.ts";

/** Told of every call that ended. */
export interface CallObserver {
  ended(method: string, seconds: number, code: number, error: unknown): void;
}

/** Answers one call. */
export type Handler<Request, Response> = (
  request: Request,
  metadata: Metadata,
  signal: AbortSignal,
) => Promise<Response>;

/** A unary method out of a function: errors become gRPC codes, a call that the client gives up aborts `signal`. */
export function unary<Request, Response>(
  method: string,
  observer: CallObserver,
  handler: Handler<Request, Response>,
): handleUnaryCall<Request, Response> {
  return (call, callback) => {
    const startMs = performance.now();
    const abort = new AbortController();
    call.on("cancelled", () => abort.abort(new ServiceError("unavailable", `${method} was given up by its caller`)));
    const end = (code: number, error?: unknown) =>
      observer.ended(method, (performance.now() - startMs) / 1000, code, error);
    handler(call.request, call.metadata, abort.signal).then(
      (response) => {
        end(status.OK);
        callback(null, response);
      },
      (error) => {
        const { code, message } = answerOf(error);
        end(code, error);
        callback({ code, details: message });
      },
    );
  };
}

/** A server-streaming method out of an iterable of messages. */
export function streaming<Request, Response>(
  method: string,
  observer: CallObserver,
  handler: (request: Request) => Iterable<Response>,
): handleServerStreamingCall<Request, Response> {
  return (call: ServerWritableStream<Request, Response>) => {
    const startMs = performance.now();
    const end = (code: number, error?: unknown) =>
      observer.ended(method, (performance.now() - startMs) / 1000, code, error);
    try {
      for (const message of handler(call.request)) call.write(message);
      call.end();
      end(status.OK);
    } catch (error) {
      const { code, message } = answerOf(error);
      end(code, error);
      call.emit("error", { code, details: message });
    }
  };
}

/** What the client is told of an error; one that we did not foresee is UNKNOWN with its message. */
function answerOf(error: unknown): { code: number; message: string } {
  if (error instanceof ServiceError) return error;
  return { code: status.UNKNOWN, message: error instanceof Error ? error.message : String(error) };
}
