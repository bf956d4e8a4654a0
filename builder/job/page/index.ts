/** The service's web page. */
export { pageRoutes } from "./routes.ts";
