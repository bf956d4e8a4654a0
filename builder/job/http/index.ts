/** What the API's and the page's routes share. */
export { Authorization, isSameOrigin, parseAuthorizationFile } from "./authorization.ts";
export type { ServerContext } from "./context.ts";
export { ApiError, absent, codeOfStatus, conflict, illegal, isId } from "./reply.ts";
export { askFor, asksOf } from "./taking-in.ts";
