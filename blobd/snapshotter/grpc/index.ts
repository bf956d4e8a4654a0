/** containerd's gRPC API: services, messages, error codes, and methods made of plain functions. */
export { type ErrorKind, ServiceError } from "./errors.ts";
export type { DescriptorMessage, InfoMessage, KindName, Mount, Timestamp } from "./messages.ts";
export { loadServices, type Service } from "./protos.ts";
export { type CallObserver, type Handler, streaming, unary } from "./serve.ts";
